"""The measurements of `benchmarks.studies.quantisers` as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.studies.recipes_page import drop

PAGE = Path(__file__).parents[1] / "results" / "quantisers.md"
OURS = "mlship"
FORMATS = {"ios": "Core ML", "android": "TFLite"}

EQUAL = 1.01
"""Files count as of equal bytes where ours has at most 1% more."""

NOISE = {"IoU": 0.002}
NOISIER = 0.01
"""A metric counts as no worse where it lost less than this share more than another's.

AbsRel, for one, moves by this much either way as outputs come nearer to float32's.
"""

Rows = Sequence[Mapping[str, Any]]


def page(rows: Rows) -> str:
    """A table for each model and format, and what came of it all."""
    better, asked = count(rows)
    lines = [
        "# Our recipes beside other quantisers",
        "",
        "`python -m benchmarks.studies.quantisers`: files made from the same trained float32 net, "
        "their "
        "bytes, and the metric of `mlship eval` on held-out scenes (how many), of the file itself. "
        "Lost: of float32's metric. For each file of another tool the last column names the best "
        f"of ours of at most {EQUAL - 1:.0%} more bytes. Metrics that differ by less than "
        f"{NOISIER:.0%} count as equal, and those of {_exceptions()}.",
        "",
        f"Of {asked} files of other tools, {asked - better} have one of ours that is no larger "
        f"and no worse{_those(rows)}.",
    ]
    for model, target in dict.fromkeys((r["model"], r["target"]) for r in rows):
        own = [r for r in rows if (r["model"], r["target"]) == (model, target)]
        lines += ["", f"## `{model}`, {FORMATS[target]}", "", *_table(own)]
    return "\n".join(lines) + "\n"


def _exceptions() -> str:
    return ", ".join(f"{metric} by less than {share:.1%}" for metric, share in NOISE.items())


def count(rows: Rows) -> tuple[int, int]:
    """(files of others that none of ours equals, all files of others)"""
    others = [r for r in rows if r["who"] != OURS and "bytes" in r]
    return sum(not is_equalled(r, rows) for r in others), len(others)


def is_equalled(row: Mapping[str, Any], rows: Rows) -> bool:
    """Whether one of our files is no larger than a peer's, and no worse."""
    rival = best(row, rows)
    return rival is not None and drop(row, rival) < NOISE.get(row["metric"], NOISIER)


def best(row: Mapping[str, Any], rows: Rows) -> Mapping[str, Any] | None:
    """Of our files of the same model and format that are no larger, the one that lost least."""
    place = row["model"], row["target"]
    ours = [
        r
        for r in rows
        if r["who"] == OURS
        and (r["model"], r["target"]) == place
        and "bytes" in r
        and r["bytes"] <= EQUAL * row["bytes"]
    ]
    return min(ours, key=lambda r: drop(row, r), default=None)


def _those(rows: Rows) -> str:
    left = [r for r in rows if r["who"] != OURS and "bytes" in r and not is_equalled(r, rows)]
    names = [f"`{r['model']}` {r['who']} {r['how']}{_luck(r, rows)}" for r in left]
    return f"; the others: {'; '.join(names)}" if names else ""


def _luck(row: Mapping[str, Any], rows: Rows) -> str:
    """What was rounded knows nothing that the float32 net did not know."""
    return ", by chance better than float32" if drop(_float32(row, rows), row) < 0 else ""


def _float32(row: Mapping[str, Any], rows: Rows) -> Mapping[str, Any]:
    """The row of the float32 net of the same model and format."""
    wanted = row["model"], row["target"], OURS, "fp32"
    (base,) = (r for r in rows if (r["model"], r["target"], r["who"], r["how"]) == wanted)
    return base


def _table(own: Rows) -> list[str]:
    base = _float32(own[0], own)
    lines = [
        f"| by | how | bytes | of fp32 | {base['metric']} ({base['questions']}) | lost "
        "| ours at that size |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    made = sorted((r for r in own if "bytes" in r), key=lambda r: -int(r["bytes"]))
    lines += [_line(row, base, own) for row in made]
    lines += [
        f"| {r['who']} | {r['how']} | failed: {r['failed'].replace('|', '/')} | | | | |"
        for r in own
        if "failed" in r
    ]
    return lines


def _line(row: Mapping[str, Any], base: Mapping[str, Any], own: Rows) -> str:
    mine = row["who"] == OURS
    how = f"`{row['how']}`" if mine else row["how"]
    return (
        f"| {'**mlship**' if mine else row['who']} | {how} | {row['bytes']:,} | "
        f"{row['bytes'] / base['bytes']:.1%} | {row['value']:.4f} | {drop(base, row):.2%} | "
        f"{'' if mine else _rival(row, base, own)} |"
    )


def _rival(row: Mapping[str, Any], base: Mapping[str, Any], own: Rows) -> str:
    rival = best(row, own)
    if rival is None:
        return "**none**"
    shown = f"`{rival['how']}`, {rival['bytes'] / row['bytes']:.1%}, {drop(base, rival):.2%} lost"
    return shown if is_equalled(row, own) else f"**worse**: {shown}"
