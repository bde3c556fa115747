"""timm's families, lowered, run in LiteRT and in TF.js, and compared with PyTorch.

`python -m tests.converters.timm_coverage [FAMILY ...]` remakes rows of the table that is
committed as `converters/lowering/FAMILIES.md`, all of them where none is named.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.api import Artifact
from converters.capture import capture, example
from converters.export import export
from converters.tfjs.convert import convert as to_tfjs
from converters.tflite.convert import convert as to_tflite
from converters.tflite.partitions import partitions
from tests.converters.tf_checks import Arrays, operations, tfjs_outputs, tflite_outputs
from tests.converters.timm_families import FAMILIES, TOLERANCE, spec_of

TABLE = Path(__file__).parents[2] / "converters" / "lowering" / "FAMILIES.md"
HEAD = """# Families of networks, lowered

Architectures of timm and torchvision with random weights (seed 0), lowered, run in LiteRT and
in TF.js (WASM) and compared with PyTorch: the largest error as a share of the largest score.
More than {tolerance:g} fails a test. Transposes, partitions (of XNNPACK) and what fell out of
them are those of the .tflite file. Made by `python -m tests.converters.timm_coverage`.

| family | architecture | size | operations | transposes | partitions | fell out | LiteRT | TF.js |
|---|---|---:|---:|---:|---:|---|---:|---:|
"""
MEASURED = 2
"""How many cells of a row are errors, which differ a little between machines."""


@dataclass(frozen=True)
class Row:
    """What became of a family."""

    family: str
    operations: int
    transposes: int
    partitions: int
    fell_out: str
    errors: tuple[float, float]

    def cells(self) -> list[str]:
        family = FAMILIES[self.family]
        facts = (self.operations, self.transposes, self.partitions, self.fell_out)
        errors = [f"{error:.0e}" for error in self.errors]
        return [self.family, family.architecture, str(family.size), *map(str, facts), *errors]


def row(name: str, directory: Path) -> Row:
    """Lower a family for both formats and run both; a fallback to onnx2tf is an error."""
    program = capture(spec_of(name))
    inputs = example(program.spec)
    given = {program.spec.inputs[0].name: inputs[0].numpy()}
    wanted = program.module(*inputs).numpy()
    written = export(program, directory)
    on_tflite, on_tfjs = to_tflite(written, directory), to_tfjs(written, directory)
    parts = partitions(on_tflite.path)
    found = operations(on_tflite.path)
    errors = (
        _error(on_tflite, tflite_outputs(on_tflite, given), wanted),
        _error(on_tfjs, tfjs_outputs(on_tfjs, given), wanted),
    )
    return Row(name, len(found), found.count("TRANSPOSE"), parts.count, parts.outside, errors)


def _error(artifact: Artifact, outputs: Arrays, wanted: np.ndarray) -> float:
    assert artifact.notes == (), artifact.notes
    (scores,) = outputs.values()
    assert np.isfinite(scores).all()
    assert wanted.std() > 1e-3, "scores that are all alike show nothing"
    return float(np.abs(scores - wanted).max() / max(np.abs(wanted).max(), 1))


def committed() -> dict[str, list[str]]:
    """The cells of the committed table, by family."""
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")][1:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {cells[0]: cells for cells in rows}


def table(rows: dict[str, list[str]]) -> str:
    lines = [f"| {' | '.join(rows[name])} |\n" for name in FAMILIES if name in rows]
    return HEAD.format(tolerance=TOLERANCE) + "".join(lines)


def main() -> None:
    rows = committed() if TABLE.exists() else {}
    for name in sys.argv[1:] or FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = row(name, Path(folder)).cells()
        print(*rows[name], flush=True)
        TABLE.write_text(table(rows))


if __name__ == "__main__":
    main()
