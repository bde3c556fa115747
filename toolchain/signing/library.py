"""model-signing: signs the files of a folder, and holds a folder to a signature.

Always with a key or certificates that are on disk: its way through Sigstore's servers is never
taken, and no file is left out of what is signed but the signatures themselves.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_defs.errors import BadKey, BadSignature
from toolchain.bundle.files import file_digest
from toolchain.bundle.reading import DataFile, json_object, read_text
from toolchain.signing.extra import quiet
from toolchain.signing.keys import SigningKey, TrustedKey, fingerprint

if TYPE_CHECKING:
    from model_signing import hashing

MOST_BYTES = 1 << 26
FALLS = (ValueError, KeyError, TypeError, AttributeError, IndexError)
"""What a changed signature makes of code that believes its form."""


@dataclass(frozen=True)
class SignatureFile:
    """What a signature's file says, not yet believed: SHA-256 by path, and who signed.

    `certificate` is the signer's, in DER; empty where a bare key signed, of which `key` is the
    SHA-256 of the public half in PEM.
    """

    path: Path
    files: Mapping[str, str]
    certificate: bytes
    key: str = ""

    @property
    def signer(self) -> str:
        """The subject of the signer's certificate; empty for a bare key."""
        from cryptography.x509 import load_der_x509_certificate

        if not self.certificate:
            return ""
        return load_der_x509_certificate(self.certificate).subject.rfc4514_string()


def sign(folder: Path, key: SigningKey, to: Path, unsigned: Collection[str] = ()) -> None:
    """Write the signature of all files of a folder but those, in Sigstore's bundle format."""
    with quiet():
        from model_signing import signing

        config = signing.Config().set_hashing_config(_hashing(unsigned))
        if key.certificate is None:
            config.use_elliptic_key_signer(private_key=key.private)
        else:
            config.use_certificate_signer(
                private_key=key.private,
                signing_certificate=key.certificate,
                # It takes no empty chain; the certificate again says nothing new.
                certificate_chain=key.chain or (key.certificate,),
            )
        config.sign(folder, to)


def _hashing(unsigned: Collection[str]) -> hashing.Config:
    from model_signing import hashing

    # Left to itself it would leave .git, .github, .gitignore and .gitattributes unsigned.
    return hashing.Config().set_ignored_paths(paths=unsigned, ignore_git_paths=False)


def read(path: Path) -> SignatureFile:
    """What a signature says. Raises BadSignature for none, and for what is no signature."""
    file = DataFile("the signature", str(path), BadSignature)
    data = json_object(read_text(path, file, MOST_BYTES, follow=False), file)
    try:
        payload = json_object(_decoded(data["dsseEnvelope"]["payload"]).decode(), file)
        who = data["verificationMaterial"]
        chain = who.get("x509CertificateChain")
        return SignatureFile(
            path,
            {one["name"]: one["digest"] for one in payload["predicate"]["resources"]},
            _decoded(chain["certificates"][0]["rawBytes"]) if chain else b"",
            "" if chain else who["publicKey"]["hint"],
        )
    except FALLS as error:
        raise file.refuse("it is not of Sigstore's form, or damaged") from error


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def problem_of(
    folder: Path, signature: SignatureFile, key: TrustedKey, unsigned: Collection[str] = ()
) -> str:
    """Why a folder is not what the key signed; empty where it is.

    Raises BadKey where a certificate signed and a key is given, or the other way round.
    """
    _check_kind(signature, key)
    if key.public is not None and signature.key != fingerprint(key.public):
        return "another key signed it"
    with quiet():
        from cryptography.exceptions import InvalidSignature
        from model_signing import verifying
        from OpenSSL import crypto

        config = verifying.Config().set_hashing_config(_hashing(unsigned))
        if key.public is not None:
            config.use_elliptic_key_verifier(public_key=key.public)
        else:
            config.use_certificate_verifier(certificate_chain=key.roots)
        try:
            config.verify(folder, signature.path)
        except InvalidSignature:
            return "the signature is not one by this key of what it says"
        except crypto.X509StoreContextError as error:
            return f"the signer's certificate is not one that these vouch for: {error}"
        except (*FALLS, crypto.Error, OSError):
            return "the signature is damaged, or not of the form that mlship signs in"
    return ""


def _check_kind(signature: SignatureFile, key: TrustedKey) -> None:
    where = str(signature.path)
    if signature.certificate and key.public is not None:
        do = "pass the root that vouches for it: --certificate root.pem"
        raise BadKey("it was signed with a certificate, not a bare key", where=where, do=do)
    if not signature.certificate and key.public is None:
        do = "pass the public key: --key public.pem"
        raise BadKey("it was signed with a bare key, not a certificate", where=where, do=do)


def changes(
    folder: Path, signed: Mapping[str, str], unsigned: Collection[str] = ()
) -> dict[str, str]:
    """What a folder has otherwise than a signature says: by path, in a word."""
    found = {name: p for p in folder.rglob("*") if (name := _name(p, folder)) not in unsigned}
    said = {name: "is missing" for name in signed if name not in found}
    for name, path in sorted(found.items()):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            said[name] = "is neither a file nor a folder"
        elif path.is_dir():
            continue
        elif name not in signed:
            said[name] = "was added"
        elif file_digest(path) != signed[name]:
            said[name] = "was changed"
    return said


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
