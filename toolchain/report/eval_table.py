"""What `mlship eval` prints."""

from __future__ import annotations

from toolchain.evaluation import dataset
from toolchain.evaluation.run import EvalResult, cell
from toolchain.report import terminal


def show(result: EvalResult) -> None:
    """A row a model or rule, and set."""
    known = {name for row in result.rows for name in row.metrics}
    metrics = [m for m in dataset.find(result.model).metrics if m.name in known]
    heads = [f"{m.name} {'↑' if m.higher else '↓'}" for m in metrics]
    title = f"{result.model} on {result.backend} ({result.weights})"
    made = terminal.table(title, "who", "set", "n", *heads, right=("n", *heads))
    for row in result.rows:
        made.add_row(row.who, row.set, str(row.samples), *(cell(row, m) for m in metrics))
    terminal.show(made)
