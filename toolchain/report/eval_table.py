"""What `mlship eval` prints."""

from __future__ import annotations

from toolchain.evaluation import dataset
from toolchain.evaluation.run import EvalResult, cell
from toolchain.report import terminal


def show(result: EvalResult) -> None:
    """A row an answerer and set."""
    marked = {name for row in result.rows for name in row.marks}
    measures = [m for m in dataset.find(result.model).measures if m.name in marked]
    heads = [f"{m.name} {'↑' if m.higher else '↓'}" for m in measures]
    title = f"{result.model} on {result.backend} ({result.weights})"
    made = terminal.table(title, "who", "asked about", "n", *heads, right=("n", *heads))
    for row in result.rows:
        made.add_row(row.who, row.set, str(row.questions), *(cell(row, m) for m in measures))
    terminal.show(made)
