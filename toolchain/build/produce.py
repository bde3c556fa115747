"""An artifact for one target: converted, and proved to be what PyTorch computes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from converters.lowering import DEFAULT_VIA
from converters.progress import Say
from model_defs.errors import REPORT, BadArtifact, ConversionFailed
from toolchain.bundle.parity_report import ParityReport, ParityRow, Question, case_at
from toolchain.recipes.targets import Target

if TYPE_CHECKING:
    from converters.api import Artifact, Runner
    from converters.processes.worker import Worker
    from toolchain.build.prepare import Prepared
    from toolchain.parity.reference import Reference


def convert(prepared: Prepared, target: Target, worker: Worker, stage: Path, say: Say) -> Artifact:
    """The artifact in its place in `stage`."""
    hears = functools.partial(say, f"{prepared.name}-{target.name}")
    further = {name: size.export for name, size in prepared.further.items()}
    artifact = worker.convert(prepared.export, stage, options(prepared), hears, further)
    path = stage / f"{prepared.name}{target.made.suffix}"
    artifact.path.rename(path)
    return replace(artifact, path=path)


def options(prepared: Prepared) -> dict[str, str]:
    """What a converter is told beside the export."""
    via = prepared.request.via
    return {} if via == DEFAULT_VIA else {"via": via}


def prove(artifact: Artifact, prepared: Prepared) -> ParityReport:
    """Each size of the artifact compared with its references.

    On its format's main backend, and where that does not compute in float32 also on the first that
    does: there it shows whether the file is faithful.
    """
    from toolchain.parity import constants

    required: dict[str, None] = {}
    rows: list[ParityRow] = []
    with _of_our_making(artifact):
        numbers = constants.compare(artifact, prepared.program)
    for name, reference in prepared.references.items():
        at = artifact.at(name) if name else artifact
        for backend, found in _prove(at, reference.result().of_file(numbers.lost)):
            required[backend] = None
            rows += [replace(r, case=case_at(r.case, name)) for r in found] if name else found
    asked: tuple[Question, ...] = ("accurate", "faithful")
    return ParityReport(tuple(rows), tuple(required), asked, numbers.report)


def _prove(artifact: Artifact, reference: Reference) -> Iterator[tuple[str, tuple[ParityRow, ...]]]:
    """Each backend that ran it, and what it made of every case."""
    from converters import backends, formats
    from toolchain.parity import compare

    with _opened(formats.open_runner, artifact) as runner:
        precise = backends.in_float32(runner.backend, artifact.precision)
        yield runner.backend, compare.check(runner, reference.each if precise else (reference,))
    if not precise:
        with _opened(formats.open_in_float32, artifact) as runner:
            yield runner.backend, compare.check(runner, reference.of("faithful"))


@contextmanager
def _opened(opener: Callable[[Artifact], Runner], artifact: Artifact) -> Iterator[Runner]:
    with _of_our_making(artifact):
        runner = opener(artifact)
    try:
        yield runner
    finally:
        runner.close()


@contextmanager
def _of_our_making(artifact: Artifact) -> Iterator[None]:
    """A file that cannot be opened is the converter's fault: no input of the user's is to blame."""
    try:
        yield
    except BadArtifact as error:
        what = f"the {artifact.format} converter wrote what does not run: {error.what}"
        raise ConversionFailed(what, where=error.where, do=REPORT) from error


def prove_unrounded(artifact: Artifact, reference: Reference) -> tuple[ParityRow, ...]:
    """What a conversion without any pass computes, held to the model to rounding level."""
    from converters import formats
    from toolchain.parity import compare

    with _opened(formats.open_in_float32, artifact) as runner:
        return compare.check(runner, (reference,))
