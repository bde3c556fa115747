"""The results of the peers' runs for people: a page, its plots, and a table in the README."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.studies.peers import plots
from benchmarks.studies.peers.rows import FIGURES, RESULTS, WRONG, Entries, ratios
from benchmarks.studies.peers.tables import OTHERS, errors, latency, memory, summary, table

PAGE = RESULTS.with_suffix(".md")
README = Path(__file__).resolve().parents[3] / "README.md"
BEGIN, END = "<!-- peers: python -m benchmarks.studies.peers -->", "<!-- /peers -->"
PLOTS = {"latency": "Latency of one run on one thread", "build": "Seconds of a cold build"}
"""Figure -> the title of its plot."""

HOW = """Each tool makes a file of each model, with the same weights, in float32, in a cold process
of its own: seconds by the clock, and the most memory of all its processes together. `mlship` also
runs its file on several cases and compares it with PyTorch before it writes it; onnx2tf also
writes a SavedModel and a float16 file, and the TF.js converter's seconds are those of onnx2tf,
whose SavedModel it takes, and its own. The files run on the same inputs, on one thread, side by
side in shuffled rounds: .tflite in LiteRT with XNNPACK, whoever made it, ExecuTorch and ONNX
Runtime in their own runtimes, TF.js on WASM with SIMD in Node. Milliseconds are of CPU time: the
median of the rounds, of each round the best. Errors are the largest of all outputs, as a share of
the output's range, against PyTorch in float64 on inputs that no tool has traced with; Core ML
packages run in our interpreter for that, whose latency would be no device's.

In brackets: the tool's figure over that of ours for the same platform: above 1, ours is less.
"""


def page(entries: Entries) -> str:
    """The whole of peers.md."""
    pictures = [f"![{title}]({plot_file(figure).name})" for figure, title in PLOTS.items()]
    sections = [
        "# Beside other tools",
        f"{machines(entries)}. {_versions(entries)}. Remake: `python -m benchmarks.studies.peers`.",
        HOW.rstrip(),
        summary(entries),
        *pictures,
        "## Latency, milliseconds",
        "`peak` is what the multiply-adds alone take at the speed of a product of matrices, "
        "measured in the same rounds; `of peak` its share in ours, above 100% where a rewrite "
        "computes the same with fewer of them.",
        latency(entries),
        "## Build, seconds",
        table(entries, "build", "{:.1f}"),
        "## Build, peak MB of memory",
        table(entries, "build memory", "{:.0f}", unit=1e6),
        "## File, kB",
        table(entries, "bytes", "{:.0f}", unit=1e3),
        "## Process that runs it, peak MB of memory",
        "With the runtime and the language that it is called from: ExecuTorch's Python loads "
        "PyTorch. The last row is the median of what the processes took beyond that.",
        memory(entries),
        "## Largest error, share of the range",
        errors(entries),
        "## What failed",
        "\n".join(failures(entries)) or "Nothing.",
    ]
    return "\n\n".join(sections) + "\n"


def machines(entries: Entries) -> str:
    return "; ".join(sorted({entry.machine for entry in entries.values()}))


def _versions(entries: Entries) -> str:
    """Each tool with the versions that were measured."""
    found = {
        tool.name: sorted({e.versions[tool.name] for e in entries.values() if e.versions})
        for tool in OTHERS
    }
    return ", ".join(f"{name} {' and '.join(v)}" for name, v in found.items() if v)


def failures(entries: Entries) -> Iterator[str]:
    """A line for each file that was not made, does not run, or is wrong."""
    for name, entry in entries.items():
        for tool, row in entry.rows.items():
            if row.failed:
                yield f"- `{name}`, {tool}: {row.failed.replace('|', '/')[:200]}"
            elif row.wrong:
                yield f"- `{name}`, {tool}: converts and runs, but is off by {row.error:.1%}"


def plot_file(figure: str) -> Path:
    return RESULTS.with_name(f"peers-{figure}.svg")


def plot(entries: Entries, figure: str) -> str:
    """The ratios of a figure as SVG."""
    every = {tool.name: ratios(entries, tool, FIGURES[figure]) for tool in OTHERS}
    found = {name: row for name, row in every.items() if row}
    models = [name for name in entries if any(name in row for row in found.values())]
    return plots.dots(f"{PLOTS[figure]}: the other tool's over ours", models, found)


def section(entries: Entries) -> str:
    """What stands between the README's markers."""
    return (
        f"{BEGIN}\n{summary(entries)}\n\n{machines(entries)}, one thread, float32. Theirs over "
        f"ours: the median over {len(entries)} models, and from the least to the most; above 1, "
        f"ours is less. `right`: converts, runs, and is within {WRONG:.1%} of the output's range "
        f"of PyTorch.\n{END}"
    )


def in_readme(text: str, entries: Entries) -> str:
    """The README's text with the section of these results."""
    before, rest = text.split(BEGIN)
    return before + section(entries) + rest.split(END)[1]


def write(entries: Entries) -> None:
    """The page, its plots and the README's table."""
    PAGE.write_text(page(entries), encoding="utf-8")
    for figure in PLOTS:
        plot_file(figure).write_text(plot(entries, figure), encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    README.write_text(in_readme(text, entries), encoding="utf-8")
