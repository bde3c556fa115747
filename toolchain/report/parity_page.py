"""A parity run as one page that holds everything in itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.measure.units import bytes_text
from toolchain.parity.harness import Example, Outcome
from toolchain.parity.lines import Line, ran
from toolchain.report import pictures
from toolchain.report.parity_table import absences, constants_text, failures, metric_text
from toolchain.report.pictures import Tile
from toolchain.report.render import render

DECADES = 3
"""How far below the tolerance the bars begin, in powers of ten."""


def page(outcomes: Sequence[Outcome]) -> str:
    """The page of a run: verdicts, problems, and the worst cases as pictures."""
    bad = sum(not outcome.report.ok for outcome in outcomes)
    rows = [row for outcome in outcomes for row in outcome.report.rows]
    verdicts = ("passed", "failed", "skipped")
    return render(
        "parity.html.j2",
        title="Parity with PyTorch",
        kind="failed" if bad else "passed",
        verdict=f"{bad} of {len(outcomes)} bundles failed" if bad else "all bundles passed",
        counts=", ".join(f"{sum(row.verdict == v for row in rows)} {v}" for v in verdicts),
        sections=[_section(outcome) for outcome in outcomes],
        metrics=_metrics,
        width=_width,
    )


def _section(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.subject.name,
        "kind": "passed" if outcome.report.ok else "failed",
        "facts": _facts(outcome),
        "problems": failures(outcome),
        "lines": ran(outcome.report.rows),
        "constants": constants_text(outcome.report),
        "absences": absences([outcome]),
        "worst": [_worst(outcome, example) for example in _shown(outcome)],
    }


def _facts(outcome: Outcome) -> str:
    subject, seconds = outcome.subject, sum(outcome.seconds.values())
    manifest = subject.bundle.manifest
    return (
        f"{manifest.artifact.path}, {bytes_text(subject.bundle.artifact_bytes)}, "
        f"recipe {manifest.recipe.name}, compared with {subject.reference.name} "
        f"in {seconds:.0f} s"
    )


def _metrics(line: Line) -> str:
    return ", ".join(metric_text(name, value) for name, value in line.metrics.items())


def _width(line: Line) -> float | None:
    """The error on a logarithmic scale, in per cent; the tolerance stands at three quarters."""
    row = line.worst
    if row.error is None or not row.tolerance:
        return None
    share = math.log10(max(row.error / row.tolerance, 1e-9))
    return min(100.0, max(0.0, (share + DECADES) / DECADES * 75))


def _shown(outcome: Outcome) -> list[Example]:
    """Every failed output, and of those that passed the worst one of each output."""
    failed = [e for e in outcome.examples.values() if e.row.verdict == "failed"]
    best: dict[str, Example] = {}
    for example in outcome.examples.values():
        old = best.get(example.row.output)
        if example.row.verdict == "passed" and (old is None or _share(example) > _share(old)):
            best[example.row.output] = example
    names = {example.row.output for example in failed}
    return failed + [example for name, example in best.items() if name not in names]


def _share(example: Example) -> float:
    return (example.row.error or 0.0) / (example.row.tolerance or 1.0)


def _worst(outcome: Outcome, example: Example) -> tuple[str, list[Tile]]:
    """A title, and as pictures: the inputs, both outputs, what they differ by."""
    row, bundle = example.row, outcome.subject.bundle
    asked = "" if row.question == "accurate" else f", {row.question}"
    title = f"{row.output} on {row.backend}{asked}, case {row.case}: {row.verdict}"
    inputs = [(spec, np.asarray(example.inputs[spec.name])) for spec in bundle.inputs]
    tiles = [
        Tile(pictures.of_tensor(spec, values), spec.name)
        for spec, values in inputs
        if values.ndim == 4
    ]
    if example.want.ndim != 4:
        return title, tiles
    spec = next(t for t in bundle.outputs if t.name == row.output)
    tiles.append(Tile(pictures.of_tensor(spec, example.want), "PyTorch"))
    tiles.append(Tile(pictures.of_tensor(spec, example.got, example.want), row.backend))
    uri, top = pictures.of_difference(example.want, example.got, row.tolerance or 0.0)
    return title, [*tiles, Tile(uri, f"difference, darkest is {top:.2g}")]
