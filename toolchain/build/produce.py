"""An artifact for one target: converted, and proved to be what PyTorch computes."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from converters.lowering import DEFAULT_VIA
from converters.progress import Say
from model_defs.errors import BadArtifact, ConversionFailed
from toolchain.bundle.parity_report import ParityReport, ParityRow, case_at
from toolchain.recipes.targets import Target

if TYPE_CHECKING:
    from converters.api import Artifact
    from converters.processes.worker import Worker
    from toolchain.build.prepare import Prepared
    from toolchain.parity.reference import Reference
    from toolchain.recipes.recipes import Recipe


def convert(prepared: Prepared, target: Target, worker: Worker, stage: Path, say: Say) -> Artifact:
    """The artifact in its place in `stage`."""
    via = prepared.request.via
    options = {} if via == DEFAULT_VIA else {"via": via}
    hears = functools.partial(say, f"{prepared.name}-{target.name}")
    further = {name: size.export for name, size in prepared.further.items()}
    artifact = worker.convert(prepared.export, stage, options, hears, further)
    path = stage / f"{prepared.name}{target.made.suffix}"
    artifact.path.rename(path)
    return replace(artifact, path=path)


def prove(artifact: Artifact, prepared: Prepared) -> ParityReport:
    """Each size of the artifact compared with its reference, on its format's main backend."""
    backend, rows = _prove(artifact, prepared.reference.result(), prepared.recipe)
    for name, size in prepared.further.items():
        _, found = _prove(artifact.at(name), size.reference.result(), prepared.recipe)
        rows += tuple(replace(row, case=case_at(row.case, name)) for row in found)
    return ParityReport(rows, required=(backend,))


def _prove(
    artifact: Artifact, reference: Reference, recipe: Recipe
) -> tuple[str, tuple[ParityRow, ...]]:
    """The backend that ran it, and what it made of every case."""
    from converters import formats
    from toolchain.parity import compare

    try:
        runner = formats.open_runner(artifact)
    except BadArtifact as error:  # of our own making: no input of the user's is to blame
        what = f"the {artifact.format} converter wrote what does not run: {error.what}"
        raise ConversionFailed(what, where=error.where, do=error.do) from error
    try:
        rows = compare.check(
            runner,
            reference.outputs,
            reference.cases,
            reference.expected,
            exact=recipe.exact,
            roundings=reference.roundings,
            state=reference.state,
        )
    finally:
        runner.close()
    return runner.backend, rows
