"""`mlship list`: what can be built by name."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from model_defs import zoo
from toolchain.cli.command import command


@command
def list_(as_json: bool) -> int:
    """List the models and products that can be built by name."""
    found = _rows()
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _show(found)
    return 0


def _rows() -> list[dict[str, Any]]:
    """A row a model: name, summary, parameters (counted), tensors, trained or not."""
    from model_defs.counting import count

    found = []
    for name in zoo.MODELS:
        spec = zoo.load(name)
        found.append(
            {
                "name": name,
                "summary": spec.summary,
                **asdict(count(spec)),
                "inputs": {t.name: list(t.shape) for t in spec.inputs},
                "outputs": {t.name: list(t.shape) for t in spec.outputs},
                "trained": spec.weights is not None,
                "baseline": spec.baseline,
                "products": [p.name for p in zoo.PRODUCTS.values() if name in p.models],
            }
        )
    return found


def _show(found: list[dict[str, Any]]) -> None:
    """The rows as a table."""
    from toolchain.report import terminal

    columns = ("model", "parameters", "GMAC", "input", "output", "part of", "what")
    made = terminal.table("", *columns, right=("parameters", "GMAC"))
    for row in found:
        made.add_row(
            row["name"],
            f"{row['parameters']:,}",
            f"{row['macs'] / 1e9:.2f}",
            _shapes(row["inputs"]),
            _shapes(row["outputs"]),
            ", ".join(row["products"]),
            row["summary"] + (" [dim](baseline)[/]" if row["baseline"] else ""),
        )
    untrained = [row["name"] for row in found if not row["trained"]]
    names = "all of them" if len(untrained) == len(found) else ", ".join(untrained)
    terminal.show(made, *([f"untrained (weights drawn under seed 0): {names}"] if names else []))


def _shapes(tensors: dict[str, list[int]]) -> str:
    return "\n".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in tensors.items())
