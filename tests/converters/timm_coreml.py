"""timm's families through Core ML, executed by the MIL interpreter, compared with PyTorch.

`python -m tests.converters.timm_coreml [FAMILY ...]` remakes rows of the table that is
committed as `converters/mil/FAMILIES.md`, all of them where none is named.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from converters import coreml, mil
from converters.api import Export
from converters.capture import capture, example, export
from tests.converters.timm_families import FAMILIES, spec_of

TABLE = Path(mil.__file__).with_name("FAMILIES.md")
EXACT = 1e-5
HALF = 3e-2
"""Of the range of the scores; in half precision random weights are no better than this."""

BEYOND = {"mobileone": (1e-4, 2e-1)}
"""Worse, and by how much at most. Why is not known yet: eager PyTorch's own error in float32 is
4e-6 of the range, and LiteRT's is as large as ours."""


def limits(name: str) -> tuple[float, float]:
    """The largest errors that a family may have in float32 and float16."""
    return BEYOND.get(name, (EXACT, HALF))


HEAD = f"""# Families of networks, as Core ML packages

Architectures of timm and torchvision with random weights (seed 0), converted, executed by the
MIL interpreter and compared with PyTorch: the largest error as a share of the range of the
scores. More than {EXACT:g} in float32 or {HALF:g} in float16, rounded after every operation,
fails a test, but for {", ".join(BEYOND)}, which is worse for a reason not known yet (LiteRT's
error is as large). Families without a row were not measured yet. None of it ran on Core ML
itself. Made by `python -m tests.converters.timm_coreml`.

| family | architecture | size | operations | float32 | float16 |
|---|---|---:|---:|---:|---:|
"""
MEASURED = 2
"""How many cells of a row are errors, which differ a little between machines."""


@dataclass(frozen=True)
class Row:
    """What became of a family."""

    family: str
    operations: int
    exact: float
    half: float

    def cells(self) -> list[str]:
        family = FAMILIES[self.family]
        errors = [f"{error:.0e}" for error in (self.exact, self.half)]
        facts = (family.architecture, family.size, self.operations)
        return [self.family, *map(str, facts), *errors]


def row(name: str, directory: Path) -> Row:
    """Convert a family in both precisions, and run both."""
    program = capture(spec_of(name))
    inputs = example(program.spec)
    given = {program.spec.inputs[0].name: inputs[0].numpy()}
    wanted = program.module(*inputs).numpy()
    written = export(program, directory, onnx=False)
    errors = {}
    for precision in ("float32", "float16"):
        folder = directory / precision
        folder.mkdir()
        errors[precision], count = _error(written, precision, folder, given, wanted)
    return Row(name, count, errors["float32"], errors["float16"])


def _error(
    written: Export, precision: str, folder: Path, given: dict[str, np.ndarray], wanted: np.ndarray
) -> tuple[float, int]:
    """The largest error as a share of the range, and how many operations there are."""
    artifact = coreml.convert(replace(written, precision=precision), folder)
    operations = mil.open_package(artifact.path).main.block.operations
    (scores,) = coreml.MilRunner(artifact).run(given).values()
    assert np.isfinite(scores).all()
    assert wanted.std() > 1e-3, "scores that are all alike show nothing"
    error = float(np.abs(scores - wanted).max() / np.ptp(wanted))
    return error, sum(o.type != "const" for o in operations)


def committed() -> dict[str, list[str]]:
    """The cells of the committed table, by family."""
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")][1:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {cells[0]: cells for cells in rows}


def table(rows: dict[str, list[str]]) -> str:
    return HEAD + "".join(f"| {' | '.join(rows[name])} |\n" for name in FAMILIES if name in rows)


def main() -> None:
    rows = committed() if TABLE.exists() else {}
    for name in sys.argv[1:] or FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = row(name, Path(folder)).cells()
        print(*rows[name], flush=True)
        TABLE.write_text(table(rows))


if __name__ == "__main__":
    main()
