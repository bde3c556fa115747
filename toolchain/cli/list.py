"""`mlship list`: what can be built by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from toolchain.cli.command import command, print_json

if TYPE_CHECKING:
    from model_defs.catalogue import CatalogueRow


@command
def list_(as_json: bool) -> int:
    """List the models and products that can be built by name."""
    from model_defs import catalogue

    rows = catalogue.read()
    if as_json:
        print_json([row.to_json() for row in rows])
    else:
        _show(rows)
    return 0


def _show(rows: Sequence[CatalogueRow]) -> None:
    from toolchain.report import terminal

    columns = ("model", "parameters", "GMAC", "input", "output", "part of", "what")
    made = terminal.table("", *columns, right=("parameters", "GMAC"))
    for row in rows:
        made.add_row(
            row.name,
            f"{row.parameters:,}",
            f"{row.macs / 1e9:.2f}",
            _shapes(row.inputs),
            _shapes(row.outputs),
            ", ".join(row.products),
            terminal.styled(row.summary, (" (baseline)" if row.baseline else "", "dim")),
        )
    untrained = [row.name for row in rows if not row.trained]
    names = "all of them" if len(untrained) == len(rows) else ", ".join(untrained)
    terminal.show(made, *([f"untrained (weights drawn under seed 0): {names}"] if names else []))


def _shapes(tensors: Mapping[str, list[int]]) -> str:
    return "\n".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in tensors.items())
