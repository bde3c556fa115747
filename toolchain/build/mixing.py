"""What is tried where float16 is what breaks a build: the layers that need it stay float32."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from converters import backends
from converters.progress import Say
from toolchain.build.prepare import Prepared
from toolchain.build.request import Built
from toolchain.bundle.parity_report import ParityReport, case_and_size

if TYPE_CHECKING:
    from toolchain.recipes.recipes import Recipe


def failed_cases(built: Iterable[Built]) -> set[str]:
    """The cases that rounding failed on any target, without the sizes that they failed at."""
    reports = [one.report for one in built if one.report and one.report.is_program]
    return {case_and_size(name)[0] for report in reports for name in report.failed_cases}


def not_of_rounding(report: ParityReport) -> bool:
    """Whether a file is wrong in another way than that its rounding costs too much."""
    return not report.ok and not (report.is_program and report.failed_cases)


def computed_in_half(built: Iterable[Built]) -> bool:
    """Whether what rounding failed on any target was computed in float16, not only stored so."""
    reports = [one.report for one in built if one.report and one.report.is_program]
    failed = {row.backend for report in reports for row in report.rows if row.verdict == "failed"}
    return not all(backends.in_float32(name, "float16") for name in failed)


def mixed(prepared: Prepared, built: Collection[Built], say: Say) -> Recipe:
    """The recipe with more layers in float32; the same layers where none is left to try."""
    from toolchain.parity.metrics import used
    from toolchain.recipes.mixed_precision import SHARES, mix
    from toolchain.recipes.sensitivity import Judge

    recipe, reference = prepared.recipe, prepared.reference.result()
    what = f"choosing layers for float32, attempt {recipe.attempt + 1} of {len(SHARES)}"
    say(prepared.name, what)
    better = mix(
        recipe,
        prepared.captured,
        Judge(reference.cases, reference.expected, used),
        failed_cases(built),
        arithmetic=computed_in_half(built),
        report=lambda done, total: say(prepared.name, f"{what}: {done} of {total} weighed"),
    )
    say(prepared.name, "")
    return better
