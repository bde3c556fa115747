"""What is known of the zoo's models without building a net: what `mlship list` shows.

    python -m model_defs.catalogue        counts them again, and writes catalogue.json

A net takes 0.1 to 1 s to be built and counted, and PyTorch 3 s to be imported: the figures are
kept in a file, and a test says that it is current.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model_defs import zoo
from model_defs.spec import ModelSpec

FILE = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class CatalogueRow:
    """A model of the zoo: its size and work (for one picture), its tensors' shapes by name."""

    name: str
    summary: str
    parameters: int
    macs: int
    inputs: Mapping[str, list[int]]
    outputs: Mapping[str, list[int]]
    trained: bool
    baseline: bool

    @property
    def products(self) -> list[str]:
        """The products that it is part of."""
        return [product.name for product in zoo.PRODUCTS.values() if self.name in product.models]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "products": self.products}


def read() -> list[CatalogueRow]:
    """Every model of the zoo, as the file has it."""
    return [CatalogueRow(**row) for row in json.loads(FILE.read_text(encoding="utf-8"))]


def compute() -> list[CatalogueRow]:
    """Every model of the zoo, built and counted now."""
    return [_row(zoo.load(name)) for name in zoo.MODELS]


def _row(spec: ModelSpec) -> CatalogueRow:
    from model_defs.counting import count

    figures = count(spec)
    return CatalogueRow(
        name=spec.name,
        summary=spec.summary,
        parameters=figures.parameters,
        macs=figures.macs,
        inputs={tensor.name: list(tensor.shape) for tensor in spec.inputs},
        outputs={tensor.name: list(tensor.shape) for tensor in spec.outputs},
        trained=spec.weights is not None,
        baseline=spec.baseline,
    )


def text_of(rows: list[CatalogueRow]) -> str:
    """The file of these rows: a line a row."""
    return "[\n" + ",\n".join(json.dumps(asdict(row)) for row in rows) + "\n]\n"


if __name__ == "__main__":
    FILE.write_text(text_of(compute()), encoding="utf-8")
