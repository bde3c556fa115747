"""A sweep as a page: scores by step, scores against what they cost, the pick, what mattered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.measure.units import bytes_text
from toolchain.report import charts
from toolchain.report.charts import Chart, ChartLine, ChartMark
from toolchain.report.render import render
from toolchain.report.sweep_table import figure_text
from toolchain.sweep import choice
from toolchain.sweep.row import Row
from toolchain.sweep.sweep import Swept
from toolchain.sweep.sweep_file import Figure

COSTS: tuple[tuple[Figure, str, Callable[[float], str]], ...] = (
    ("bytes", "size of the artifact", lambda value: bytes_text(int(value))),
    ("ms", "milliseconds", lambda value: f"{value:g}"),
    ("macs", "multiply-adds, millions", lambda value: f"{value:g}"),
)
MEGA = {"macs": 1e6}


def page(swept: Swept) -> str:
    """Self-contained HTML."""
    pick = swept.pick
    found = [_by_step(swept, pick), *(_against(swept, pick, *cost) for cost in COSTS)]
    return render(
        "sweep.html.j2",
        title=f"Sweep of {swept.sweep.task.rpartition('/')[2]}",
        swept=swept,
        counts=_counts(swept.rows),
        pick=pick,
        rule=choice.rule_text(swept.sweep.pick),
        charts=[chart for chart in found if chart.every],
        effects=[_effect(effect) for effect in swept.effects],
        rows=[_row(row, pick) for row in sorted(swept.rows, key=_order)],
        targets=list(swept.sweep.targets),
        width=charts.WIDTH,
        height=charts.HEIGHT,
        left=charts.LEFT,
        floor=charts.HEIGHT - charts.BOTTOM,
        right=charts.WIDTH - charts.RIGHT,
    )


def _counts(rows: Sequence[Row]) -> str:
    names = dict.fromkeys(row.status for row in rows)
    return ", ".join(f"{sum(row.status == name for row in rows)} {name}" for name in names)


def _order(row: Row) -> tuple[bool, float, int]:
    score = row.figures.get("score", row.trained or 0.0)
    return not row.shipped, -score, row.number


def _by_step(swept: Swept, pick: Row | None) -> Chart:
    """The picked one last, so that it lies above the others."""
    rows = sorted((row for row in swept.rows if row.curve), key=lambda row: row is pick)
    lines = [
        ChartLine(
            row.curve, f"{row.variant.name}: {row.trained:.4f} ({row.status})", _kind(row, pick)
        )
        for row in rows
        if row.trained is not None
    ]
    title = f"{swept.metric} on held-out examples, by training step"
    return Chart(title, "steps", swept.metric, lines=lines)


def _kind(row: Row, pick: Row | None, front: Sequence[Row] = ()) -> str:
    if row is pick:
        return "picked"
    return "front" if row in front or (not front and row.shipped) else "other"


def _against(
    swept: Swept, pick: Row | None, name: Figure, axis: str, text: Callable[[float], str]
) -> Chart:
    """Scores of the files against a figure, with the Pareto front of the two as a line."""
    rows = [row for row in swept.rows if {"score", name} <= row.figures.keys()]
    front = choice.front(rows, ("score", name))
    unit = MEGA.get(name, 1)

    def at(row: Row) -> charts.Point:
        return row.figures[name] / unit, row.figures["score"]

    marks = [ChartMark(at(row), _said(row), _kind(row, pick, front)) for row in rows]
    line = ChartLine(sorted(map(at, front)), "the Pareto front", "front")
    title = f"{swept.metric} against {axis}"
    lines = [line] if len(front) > 1 else []
    return Chart(title, axis, swept.metric, marks, lines, text)


def _said(row: Row) -> str:
    found = row.figures
    parts = [row.variant.name, f"score {found['score']:.4f}", bytes_text(int(found["bytes"]))]
    times = [t for t in row.targets.values() if t.interval]
    parts += [
        f"{t.ms:.2f} ms ({t.interval[0]:.2f} to {t.interval[1]:.2f})" for t in times if t.interval
    ]
    return ", ".join(parts)


def _effect(effect: choice.MainEffect) -> dict[str, Any]:
    means = [
        (n, figure_text(effect.figure, mean), count) for n, (mean, count) in effect.means.items()
    ]
    worth = figure_text(effect.figure, effect.worth)
    return {"of": effect, "means": means, "worth": worth, "share": f"{100 * effect.share:.0f}"}


def _row(row: Row, pick: Row | None) -> dict[str, Any]:
    return {
        "row": row,
        "status": "picked" if row is pick else row.status,
        "style": "passed" if row is pick else "failed" if row.failed else "",
        "targets": [_target(found) for found in row.targets.values()],
        "gmac": "" if row.macs is None else f"{row.macs / 1e9:.3f}",
    }


def _target(found: Any) -> dict[str, str]:
    low, high = found.interval or (0.0, 0.0)
    return {
        "score": "" if found.score is None else f"{found.score:.4f}",
        "bytes": found.problem if found.bytes is None else bytes_text(found.bytes),
        "ms": "" if found.ms is None else f"{found.ms:.2f} ({low:.2f} to {high:.2f})",
    }
