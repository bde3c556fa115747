"""The measurements of `benchmarks.lowering` as Markdown."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / "results" / "lowering.md"
PEERS = ("onnx2tf", "litert-torch", "TinyNeuralNetwork")
WEB, OFFICIAL = "mlship (TF.js)", "tensorflowjs"
Entries = dict[str, dict[str, Any]]


def page(entries: Entries) -> str:
    """Two tables, TFLite and TF.js, and what did not convert."""
    machines = sorted({entry["machine"] for entry in entries.values()})
    lines = [
        "# Latency of lowered networks, float32, one thread",
        "",
        f"{'; '.join(machines)}. CPU milliseconds of one run: the median over shuffled rounds,",
        "one process a file and round. `peak` is the time that the multiply-adds alone take at the",
        "speed of a product of matrices, measured in the same rounds; `of peak` its share in ours,",
        "above 100% where a rewrite computes the same with fewer of them.",
        "`ratio` is the best other converter's time over ours: above 1, ours is faster.",
        "Remake: `python -m benchmarks.lowering`.",
        "",
        "## TFLite (LiteRT, XNNPACK)",
        "",
        "| model | rounds | peak | mlship | of peak | " + " | ".join(PEERS) + " | ratio |",
        "|---|---:|---:|---:|---:|" + "---:|" * (len(PEERS) + 1),
        *(_tflite(name, entry) for name, entry in entries.items()),
        "",
        "## TF.js (WASM with SIMD, Node)",
        "",
        "| model | mlship | official converter on onnx2tf | ratio | mlship kB | official kB |",
        "|---|---:|---:|---:|---:|---:|",
        *(_tfjs(name, entry) for name, entry in entries.items()),
        "",
        "## What failed",
        "",
        *(_failures(entries) or ["Nothing."]),
    ]
    return "\n".join(lines) + "\n"


def medians(entry: dict[str, Any]) -> dict[str, float]:
    """Converter -> its median over the rounds."""
    return {name: statistics.median(values) for name, values in entry["milliseconds"].items()}


def ratio(entry: dict[str, Any], ours: str, others: tuple[str, ...]) -> float | None:
    """The best other's time over ours; None where there is nothing to compare."""
    found = medians(entry)
    rivals = [found[name] for name in others if name in found]
    return min(rivals) / found[ours] if rivals and ours in found else None


def _tflite(name: str, entry: dict[str, Any]) -> str:
    found = medians(entry)
    peak = entry["macs"] / entry["peak_gmacs"] / 1e6
    share = f"{peak / found['mlship']:.0%}" if "mlship" in found else "-"
    numbers = [_cell(found.get(who), "{:.1f}") for who in ("mlship", *PEERS)]
    cells = [f"{peak:.1f}", numbers[0], share, *numbers[1:]]
    compared = _cell(ratio(entry, "mlship", PEERS), "{:.2f}x")
    return f"| `{name}` | {entry['rounds']} | {' | '.join(cells)} | {compared} |"


def _tfjs(name: str, entry: dict[str, Any]) -> str:
    found, sizes = medians(entry), entry["bytes"]
    cells = [_cell(found.get(who), "{:.1f}") for who in (WEB, OFFICIAL)]
    compared = _cell(ratio(entry, WEB, (OFFICIAL,)), "{:.2f}x")
    bytes_of = [f"{sizes[who] / 1e3:.0f}" if who in sizes else "-" for who in (WEB, OFFICIAL)]
    return f"| `{name}` | {' | '.join([*cells, compared, *bytes_of])} |"


def _cell(number: float | None, form: str) -> str:
    return "-" if number is None else form.format(number)


def _failures(entries: Entries) -> list[str]:
    return [
        f"- `{name}`, {who}: {why.replace('|', '/')[:200]}"
        for name, entry in entries.items()
        for who, why in entry["failed"].items()
    ]
