"""A run of `mlship ci` as one page that holds everything in itself."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from model_defs.spec import TensorSpec
from toolchain.ci.checks import Check
from toolchain.ci.differences import LayerChange
from toolchain.ci.run import CiResult, CiRun
from toolchain.ci.snapshots import Snapshot
from toolchain.report import pictures
from toolchain.report.ci_text import (
    SHOWN,
    TITLES,
    cells,
    headline,
    rows,
    side,
    tables,
    verdicts,
    worse,
)
from toolchain.report.pictures import Tile
from toolchain.report.render import render

CLASSES = {"passed": "passed", "failed": "failed", "warned": "skipped", "skipped": "skipped"}
MOST_LAYERS = 10
WIDTH, ROW, LEFT, RIGHT = 1000, 34, 250, 190
SCALE = {"width": WIDTH, "row": ROW, "left": LEFT, "said": WIDTH - RIGHT + 16}


def page(ran: CiRun) -> str:
    """What got worse, then a line a bundle, then everything that is known of each."""
    return render(
        "ci.html.j2",
        title="mlship ci",
        kind={0: "passed", 3: "skipped"}.get(ran.exit_code, "failed"),
        headline=headline(ran),
        machine=ran.state.machine,
        worse=worse(ran),
        titles=[TITLES[key] for key in SHOWN],
        rows=[
            {"name": name, "verdict": verdict, "cells": cells(ran, name)}
            for name, verdict in rows(ran).items()
        ],
        pictures=[_strip(one) for one in ran.snapshots if one.state != "same"],
        sections=[_section(ran, name, verdict) for name, verdict in verdicts(ran).items()],
        classes=CLASSES,
        width=_width,
        scale=SCALE,
    )


def _strip(one: Snapshot) -> tuple[str, list[Tile]]:
    """A picture that is not as its golden one: before, after and difference."""
    tiles = []
    shape = (1, 1, 1, 1) if one.before is None else one.before.shape
    spec = one.spec or TensorSpec("gone", shape, "mask", low=one.low, high=one.high)
    if one.before is not None:
        tiles.append(Tile(pictures.of_tensor(spec, one.before), "golden"))
    if one.after is not None:
        like = one.after if one.before is None else one.before
        tiles.append(Tile(pictures.of_tensor(spec, one.after, like), "now"))
    if one.before is not None and one.after is not None and one.before.shape == one.after.shape:
        uri, top = pictures.of_difference(one.before, one.after, one.tolerance)
        tiles.append(Tile(uri, f"difference, darkest is {top:.2g}"))
    return f"{one.model}, {one.name}: {one.state}", tiles


def _section(ran: CiRun, name: str, verdict: str) -> dict[str, Any]:
    return {
        "name": name,
        "verdict": verdict,
        "checks": [check for check in ran.checks if check.bundle == name],
        "result": _result(ran.results[name]) if name in ran.results else None,
    }


def _width(check: Check) -> float | None:
    """The share of what is allowed, in per cent; the limit stands at three quarters."""
    return None if check.share is None else min(100.0, max(0.0, 75 * check.share))


def _result(result: CiResult) -> dict[str, Any]:
    """The blocks of both runs on one scale, and the layers that changed."""
    before, after = result.difference.before, result.difference.after
    sides = [("now", after.blocks)] if after.blocks else []
    if sides and before is not None and before.blocks and before.artifact != after.artifact:
        sides.insert(0, ("baseline", before.blocks))
    charts = [
        {
            "title": title,
            "rows": _bars(changes[:MOST_LAYERS], what),
            "more": max(len(changes) - MOST_LAYERS, 0),
        }
        for title, what, changes in tables(result.difference)
    ]
    dots = _dots(sides)
    return {"why": result.latency.why, "runtime": after.runtime, "dots": dots, "charts": charts}


def _dots(sides: Sequence[tuple[str, Sequence[float]]]) -> list[dict[str, Any]]:
    top = max((value for _, values in sides for value in values), default=1.0) * 1.05
    scale = (WIDTH - LEFT - RIGHT) / top
    return [
        {
            "y": index * ROW + ROW / 2,
            "name": name,
            "dots": [(LEFT + ms * scale, f"{ms:.3f} ms") for ms in values],
            "middle": LEFT + statistics.median(values) * scale,
            "said": f"{statistics.median(values):.2f} ms",
        }
        for index, (name, values) in enumerate(sides)
    ]


def _bars(changes: Sequence[LayerChange], what: str) -> list[dict[str, Any]]:
    top = max(max(c.before or 0, c.after or 0) for c in changes)
    scale = (WIDTH - LEFT - RIGHT) / top if top else 0.0
    return [
        {
            "y": index * ROW + ROW / 2,
            "name": _short(change.name),
            "before": (change.before or 0) * scale,
            "after": (change.after or 0) * scale,
            "grew": change.delta > 0,
            "said": f"{side(change.before, what)} → {side(change.after, what)}",
        }
        for index, change in enumerate(changes)
    ]


def _short(name: str) -> str:
    return name if len(name) <= 34 else f"…{name[-33:]}"
