"""The measurements of `benchmarks.studies.recipes` as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "results" / "recipes.md"
ZOO = PAGE.with_name("zoo.json")
AIMS = {"small": (0.27, 0.005), "smallest": (0.15, 0.02)}
"""Recipe -> the share of float32's bytes, and of the metric lost, that it aims at."""

FAST = 1 / 1.6
"""The share of float32's time in LiteRT that `fast` aims at, with as much lost as `smallest`."""

BASELINES = {"select": "select-baseline", "saliency": "saliency-resnet"}
"""Model -> the published net that it stands in for, which is untrained and not shipped."""


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The table in Markdown."""
    lines = [
        "# What each recipe is worth",
        "",
        "`python -m benchmarks.studies.recipes`: bytes of the artifact, and as an app or a page "
        "fetches "
        "them (deflate; Brotli), with their shares of float32's; the metric of `mlship eval` on "
        "held-out scenes (how many), of the file itself, and what it lost of float32's; time in "
        f"LiteRT against float32 (one thread, interleaved). Aims: {_aims()}; `fast` "
        f"{1 / FAST:.1f} times as fast in LiteRT with 2% lost. On the web the bytes that are "
        "fetched count, against those of float32's file: a file for it pads codes of 4 bits to "
        "bytes, which compression takes out again. (It makes float32's smaller too, for the zoo's "
        "weights were stored in float16.) The last column is how many times smaller the file is, "
        "on disk and on the wire, than the float32 numbers of the published net that the model "
        "stands in for.",
        "",
        "| model | recipe | target | bytes | of fp32 | fetched | of fp32 | of its numbers | metric "
        "| lost | time | | baseline |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    plain = {(r["model"], r["target"]): r for r in rows if r["recipe"] == "fp32" and "disk" in r}
    lines += [_line(row, plain) for row in rows]
    return "\n".join(lines) + "\n"


def _aims() -> str:
    return "; ".join(
        f"`{name}` {size:.0%} of the bytes and {lost:.1%} of the metric"
        for name, (size, lost) in AIMS.items()
    )


def _line(row: dict[str, Any], plain: Mapping[tuple[str, str], dict[str, Any]]) -> str:
    head = f"| `{row['model']}` | `{row['recipe']}` |"
    if "failed" in row:
        return f"{head} failed: {row['failed']} |" + " |" * 10
    base = plain.get((row["model"], row["target"]), row)
    shares = {way: row[way] / base[way] for way in ("disk", "wire")}
    share = row["wire" if row["target"] == "web" else "disk"] / base["disk"]
    lost = drop(base, row)
    time = f"{row['latency']:.2f}x" if "latency" in row else ""
    return (
        f"{head} {row['target']} | {row['disk']:,} | {shares['disk']:.1%} | "
        f"{row['wire']:,} | {shares['wire']:.1%} | "
        f"{row['disk'] / row['ideal']:.3f} | "
        f"{row['metric']} {row['value']:.4f} ({row['questions']}) | {lost:.2%} | "
        f"{time} | {_verdict(row, share, lost)} | {_against_baseline(row)} |"
    )


def _verdict(row: Mapping[str, Any], share: float, lost: float) -> str:
    """Whether a row is what its recipe aims at; nothing where it aims at nothing."""
    if row["recipe"] in AIMS:
        size, most = AIMS[row["recipe"]]
        return "aim met" if share <= size and lost <= most else "aim missed"
    if row["recipe"] == "fast" and "latency" in row:
        most = AIMS["smallest"][1]
        return "aim met" if row["latency"] <= FAST and lost <= most else "aim missed"
    return ""


def _against_baseline(row: Mapping[str, Any]) -> str:
    if row["model"] not in BASELINES:
        return ""
    name = BASELINES[row["model"]]
    (parameters,) = (r["parameters"] for r in sizes() if r["name"] == name)
    return ", ".join(f"{4 * parameters / row[how]:.0f}x" for how in ("disk", "wire"))


@cache
def sizes() -> tuple[dict[str, Any], ...]:
    """The rows of the zoo's table."""
    return tuple(json.loads(ZOO.read_text(encoding="utf-8")))


LESS_IS_BETTER = ("AbsRel", "L1")


def drop(base: Mapping[str, Any], row: Mapping[str, Any]) -> float:
    """The share of the metric that was lost; below zero where it is better."""
    lost = base["value"] - row["value"]
    return float((-lost if row["metric"] in LESS_IS_BETTER else lost) / base["value"])
