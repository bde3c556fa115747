"""An artifact for one target: converted, and proved to be what PyTorch computes."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from converters.lowering import DEFAULT_VIA
from converters.progress import Say
from model_defs.errors import BadArtifact, ConversionFailed
from toolchain.bundle.parity_report import ParityReport
from toolchain.recipes.targets import Target

if TYPE_CHECKING:
    from converters.api import Artifact
    from converters.processes.worker import Worker
    from toolchain.build.prepare import Prepared


def convert(prepared: Prepared, target: Target, worker: Worker, stage: Path, say: Say) -> Artifact:
    """The artifact in its place in `stage`."""
    via = prepared.request.via
    options = {} if via == DEFAULT_VIA else {"via": via}
    hears = functools.partial(say, f"{prepared.name}-{target.name}")
    artifact = worker.convert(prepared.export, stage, options, hears)
    path = stage / f"{prepared.name}{target.made.suffix}"
    artifact.path.rename(path)
    return replace(artifact, path=path)


def prove(artifact: Artifact, prepared: Prepared) -> ParityReport:
    """The artifact compared with its reference, on its format's main backend."""
    from converters import formats
    from toolchain.parity import compare

    reference = prepared.reference.result()
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
            exact=prepared.recipe.exact,
        )
    finally:
        runner.close()
    return ParityReport(rows, required=(runner.backend,))
