"""Tables in Markdown of the results of `benchmarks.studies.peers`."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from benchmarks.studies.peers.rows import FIGURES, Entries, ModelFigures, PeerRow, ratio, ratios
from benchmarks.studies.peers.tools import TOOLS, Tool

OTHERS = tuple(tool for tool in TOOLS.values() if not tool.ours)


def summary(entries: Entries) -> str:
    """Of each other tool the median ratio over the models, with the least and the most."""
    lines = [
        "| theirs / ours | right | " + " | ".join(FIGURES) + " | worst error |",
        "|---|---:|" + "---:|" * (len(FIGURES) + 1),
        *(_summed(entries, tool) for tool in OTHERS),
    ]
    return "\n".join(lines)


def _summed(entries: Entries, tool: Tool) -> str:
    found = [entry.rows.get(tool.name, PeerRow()) for entry in entries.values()]
    rows = [row for row in found if row.judged]
    right = sum(not row.failed and not row.wrong for row in rows)
    cells = [_range(list(ratios(entries, tool, figure).values())) for figure in FIGURES.values()]
    worst = max((row.error for row in rows if row.error is not None), default=None)
    error = "-" if worst is None else f"{worst:.0e}"
    return f"| {tool.name} | {right} of {len(rows)} | {' | '.join(cells)} | {error} |"


def _range(values: list[float]) -> str:
    if not values:
        return "-"
    return f"**{statistics.median(values):.2f}x** ({min(values):.2f} to {max(values):.2f})"


Extra = tuple[str, Callable[[ModelFigures], str]]


def table(
    entries: Entries, figure: str, form: str, extra: tuple[Extra, ...] = (), unit: float = 1.0
) -> str:
    """A line a model, a column a tool that was asked; `extra` columns stand first."""
    shown = [t for t in TOOLS.values() if t.timed or figure not in ("latency", "memory")]
    heads = [name for name, _ in extra] + [tool.name for tool in shown]
    lines = [f"| model | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for name, entry in entries.items():
        cells = [cell(entry) for _, cell in extra]
        cells += [_cell(entry, tool, figure, form, unit) for tool in shown]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(entry: ModelFigures, tool: Tool, figure: str, form: str, unit: float) -> str:
    value = FIGURES[figure](entry.rows.get(tool.name, PeerRow()))
    if value is None:
        return "-"
    compared = ratio(entry, tool, FIGURES[figure])
    return form.format(value / unit) + ("" if compared is None else f" ({compared:.2f}x)")


def latency(entries: Entries) -> str:
    """The table of milliseconds, beside what the machine can do."""
    return table(entries, "latency", "{:.1f}", (("peak", _peak), ("of peak", _of_peak)))


def _peak(entry: ModelFigures) -> str:
    return f"{entry.peak_ms:.1f}"


def _of_peak(entry: ModelFigures) -> str:
    ours = entry.rows.get("mlship", PeerRow()).ms
    return f"{entry.peak_ms / ours:.0%}" if ours else "-"


def memory(entries: Entries) -> str:
    """The table of what the processes that run the files take."""
    return f"{table(entries, 'memory', '{:.0f}', unit=1e6)}\n{_own(entries)}"


def _own(entries: Entries) -> str:
    """The last row of the table of memory."""
    cells = []
    for tool in TOOLS.values():
        if tool.timed:
            rows = [entry.rows.get(tool.name, PeerRow()) for entry in entries.values()]
            found = [row.own for row in rows if row.own is not None]
            cells.append(f"{statistics.median(found) / 1e6:.0f}" if found else "-")
    return f"| beyond the runtime | {' | '.join(cells)} |"


def errors(entries: Entries) -> str:
    """A line a model, a column a tool; bold where the file computes something else."""
    lines = ["| model | " + " | ".join(TOOLS) + " |", "|---|" + "---:|" * len(TOOLS)]
    for name, entry in entries.items():
        cells = [_error(entry.rows.get(tool, PeerRow())) for tool in TOOLS]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _error(row: PeerRow) -> str:
    if row.error is None:
        return "-"
    return f"**{row.error:.1e}**" if row.wrong else f"{row.error:.1e}"
