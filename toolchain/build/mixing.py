"""What is tried where float16 may be what breaks a build: the layers that need it stay float32."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from converters.progress import Say
from model_defs.errors import MlshipError
from toolchain.build import produce
from toolchain.build.prepare import Prepared, prepare
from toolchain.build.request import Built, title
from toolchain.bundle.parity_report import ParityReport, case_and_size

if TYPE_CHECKING:
    from model_defs.spec import ModelSpec
    from toolchain.recipes.recipes import Recipe

NOT_OF_HALF = "it is off with every layer in float32 as well: float16 is not the cause"


def failed_cases(built: Iterable[Built]) -> set[str]:
    """The cases that failed on any target, without the sizes that they failed at."""
    names = [case for one in built if one.report for case in one.report.failed_cases]
    return {case_and_size(name)[0] for name in names}


def lost_in_float32(
    model: str | ModelSpec,
    prepared: Prepared,
    built: Iterable[Built],
    pool: Executor,
    say: Say,
) -> dict[str, Built]:
    """By target, what fails in the same cases with every layer in float32; its rows say so.

    A search of minutes ends where this does.
    """
    from converters.processes.worker import Worker
    from toolchain.recipes.mixed_precision import keep_all

    failed = {one.target: one for one in built if failed_cases([one])}
    request, found = prepared.request, dict[str, Built]()
    whole = replace(
        request,
        targets=tuple(t for t in request.targets if t.name in failed),
        recipe=keep_all(request.recipe, prepared.captured),
        evaluator=None,
    )
    say(title(model), "not equal to PyTorch: trying every layer in float32")
    with ExitStack() as stack:
        workers = {t.name: stack.enter_context(Worker(t.format)) for t in whole.targets}
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlship-")))
        again = prepare(model, whole, work, pool, say)
        for target in whole.targets:
            stage, what = work / f"stage-{target.name}", f"{again.name}-{target.name}"
            stage.mkdir()
            say(what, "converting in float32")
            try:
                artifact = produce.convert(again, target, workers[target.name], stage, say)
                report = produce.prove(artifact, again)
            except MlshipError:  # what is not known ends no search
                continue
            finally:
                say(what, "")
            one = failed[target.name]
            if one.report and set(one.report.failed_cases) & set(report.failed_cases):
                found[target.name] = replace(one, report=_explained(one.report))
    say(title(model), "")
    return found


def _explained(report: ParityReport) -> ParityReport:
    rows = (
        replace(row, hint=NOT_OF_HALF) if row.verdict == "failed" and not row.hint else row
        for row in report.rows
    )
    return replace(report, rows=tuple(rows))


def mixed(prepared: Prepared, failed: set[str], say: Say) -> Recipe:
    """The recipe with more layers in float32; the same layers where none is left to try."""
    from toolchain.recipes.mixed_precision import SHARES, mix
    from toolchain.recipes.sensitivity import Judge

    recipe, reference = prepared.recipe, prepared.reference.result()
    what = f"choosing layers for float32, attempt {recipe.attempt + 1} of {len(SHARES)}"
    say(prepared.name, what)
    better = mix(
        recipe,
        prepared.captured,
        prepared.program,
        Judge(reference.cases, reference.expected),
        failed,
        lambda done, total: say(prepared.name, f"{what}: {done} of {total} weighed"),
    )
    say(prepared.name, "")
    return better
