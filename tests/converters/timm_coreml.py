"""timm's families through Core ML, executed by the MIL interpreter, compared with PyTorch.

`python -m tests.converters.timm_coreml [FAMILY ...]` remakes rows of the table that is
committed as `converters/mil/FAMILIES.md`, all of them where none is named.
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from converters import mil
from converters.api import Export
from converters.capture import capture, example
from converters.coreml import convert
from converters.coreml.runner import MilRunner
from converters.export import export
from tests.converters.timm_families import FAMILIES, spec_of

TABLE = Path(mil.__file__).with_name("FAMILIES.md")
EXACT = 1e-5
HALF = 3e-2
"""Of the range of the scores; in half precision random weights are no better than this."""

NOISE = 2
"""Times PyTorch's own error, a package may differ from PyTorch: both of them round."""

HEAD = f"""# Families of networks, as Core ML packages

Architectures of timm and torchvision with random weights (seed 0), converted, executed by the
MIL interpreter and compared with PyTorch in float32: the largest error as a share of the range
of the scores. Beside it is PyTorch's own error in that precision, against its float64. More than
{EXACT:g} in float32 or {HALF:g} in float16, rounded after every operation, fails a test, unless
it is within {NOISE} times PyTorch's own: random weights enlarge what is rounded, layer by layer
(mobileone by a sixth in each of its 43), whoever computes. mobileone's package is no further
from float64 than PyTorch is: 3e-05. None of it ran on Core ML itself. Made by
`python -m tests.converters.timm_coreml`.

| family | architecture | size | operations | float32 | PyTorch's | float16 | PyTorch's |
|---|---|---:|---:|---:|---:|---:|---:|
"""
MEASURED = 4
"""How many cells of a row are errors, which differ a little between machines."""


def sound(errors: Sequence[float]) -> bool:
    """Whether the errors of a row are within the limits."""
    single, own_single, half, own_half = errors
    return single <= max(EXACT, NOISE * own_single) and half <= max(HALF, NOISE * own_half)


@dataclass(frozen=True)
class Row:
    """What became of a family."""

    family: str
    operations: int
    errors: tuple[float, float, float, float]
    """In float32, PyTorch's own; in float16, PyTorch's own."""

    def cells(self) -> list[str]:
        family = FAMILIES[self.family]
        facts = (family.architecture, family.size, self.operations)
        return [self.family, *map(str, facts), *(f"{error:.0e}" for error in self.errors)]


def row(name: str, directory: Path) -> Row:
    """Convert a family in both precisions, and run both."""
    program = capture(spec_of(name))
    inputs = example(program.spec)
    given = {program.spec.inputs[0].name: inputs[0].numpy()}
    single, half, double = (
        eager(program.module, inputs, dtype)
        for dtype in (torch.float32, torch.float16, torch.float64)
    )
    assert double.std() > 1e-3, "scores that are all alike show nothing"
    written = export(program, directory, onnx=False)
    errors: list[float] = []
    for precision, own in (("float32", single), ("float16", half)):
        folder = directory / precision
        folder.mkdir()
        scores, count = _executed(replace(written, precision=precision), folder, given)
        errors += [share(scores, single), share(own, double)]
    return Row(name, count, (errors[0], errors[1], errors[2], errors[3]))


def eager(module: nn.Module, inputs: tuple[Tensor, ...], dtype: torch.dtype) -> np.ndarray:
    """The scores that PyTorch computes in a precision."""
    scores = copy.deepcopy(module).to(dtype)(*(x.to(dtype) for x in inputs))
    return scores.double().numpy()


def share(scores: np.ndarray, wanted: np.ndarray) -> float:
    """The largest error as a share of the range."""
    return float(np.abs(scores - wanted).max() / np.ptp(wanted))


def _executed(
    written: Export, folder: Path, given: dict[str, np.ndarray]
) -> tuple[np.ndarray, int]:
    """The scores that the package computes, and how many operations there are."""
    artifact = convert.convert(written, folder)
    operations = mil.open_package(artifact.path).main.block.operations
    (scores,) = MilRunner(artifact).run(given).values()
    assert np.isfinite(scores).all()
    return scores, sum(o.type != "const" for o in operations)


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
