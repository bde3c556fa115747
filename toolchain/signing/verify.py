"""Holds a bundle to its signature, and what is said of it to the bundle."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from model_defs.errors import BadBundle, BadSignature
from toolchain.bundle import bundle as bundles
from toolchain.bundle.reading import DataFile, json_object, read_text
from toolchain.signing import extra, library
from toolchain.signing.facts import BuildFacts, differences
from toolchain.signing.keys import TrustedKey
from toolchain.signing.library import SignatureFile
from toolchain.signing.sign import READERS, SIGNATURES, place_of


@dataclass(frozen=True)
class SignatureFinding:
    """One thing that was held to a signature: a file, or the signature as a whole; why not."""

    what: str
    verdict: Literal["passed", "failed"]
    note: str = ""


@dataclass(frozen=True)
class SignatureReport:
    """What came of one bundle; `signer` is the subject of the certificate that signed."""

    bundle: str
    signer: str
    findings: tuple[SignatureFinding, ...]

    @property
    def failures(self) -> list[SignatureFinding]:
        return [one for one in self.findings if one.verdict == "failed"]

    def to_json(self) -> dict[str, Any]:
        found = [asdict(one) for one in self.findings]
        return {
            "bundle": self.bundle,
            "ok": not self.failures,
            "signer": self.signer,
            "findings": found,
        }


def verify(folder: Path, key: TrustedKey) -> SignatureReport:
    """Hold a bundle, and the documents beside its signature, to what the key signed.

    Raises BackendUnavailable without the extra, BadKey, BadSignature for none and for what cannot
    be read, BadBundle for a bundle that is as signed and yet not whole.
    """
    extra.require()
    key.check()
    if not folder.is_dir():
        raise BadBundle("there is no bundle here", where=str(folder), do="check the path")
    home, place = folder.resolve(), place_of(folder)
    if not place.is_dir():
        raise BadSignature("the bundle has no signature", where=str(place))
    of_bundle, of_documents = (library.read(place / name) for name in SIGNATURES)
    findings = [
        *_held(home, of_bundle, key),
        *_held(place, of_documents, key, SIGNATURES),
    ]
    if all(one.verdict == "passed" for one in findings):
        findings += _agree(home, place)
    return SignatureReport(str(folder), of_bundle.signer, tuple(findings))


def _held(
    folder: Path, signature: SignatureFile, key: TrustedKey, unsigned: Collection[str] = ()
) -> Iterator[SignatureFinding]:
    """Each file that is not as signed; the signature, where that is not the key's."""
    problem = library.problem_of(folder, signature, key, unsigned)
    changed = library.changes(folder, signature.files, unsigned)
    yield from (SignatureFinding(name, "failed", why) for name, why in changed.items())
    if changed:
        return
    verdict: Literal["passed", "failed"] = "failed" if problem else "passed"
    yield SignatureFinding(signature.path.name, verdict, problem)


def _agree(home: Path, place: Path) -> Iterator[SignatureFinding]:
    """Whether each document says of the bundle what it is."""
    facts = BuildFacts.of(bundles.read(home))
    for name, read in READERS.items():
        file = DataFile("the document", str(place / name), BadSignature)
        data = json_object(read_text(place / name, file), file)
        try:
            other = [*differences(read(data), facts)]
        except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
            raise file.refuse("it is none of ours, or damaged") from error
        note = f"it says otherwise than the bundle: {', '.join(other)}" if other else ""
        yield SignatureFinding(name, "failed" if other else "passed", note)
