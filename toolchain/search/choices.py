"""What each layer may be stored as: the bytes that it takes, and what the outputs lose."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import nn

from converters.api import Program
from converters.encodings import HALF, Encoding
from converters.reference import ReferenceRunner
from toolchain.data import calibration
from toolchain.quantization.gptq import collect_moments
from toolchain.quantization.grids import LAYERS, TRANSPOSED, round_kernel
from toolchain.quantization.kinds import KINDS
from toolchain.recipes.targets import Target

LOOKED_AT = 4
"""Of the pictures for calibration, on how many the outputs are compared."""

Remember = Callable[[str, Callable[[], float]], float]
"""(what is measured, how) -> the number, which may have been measured before."""


@dataclass(frozen=True)
class StorageChoice:
    """A layer stored as `kind`: its kernel's bytes, and the mean squared error of the outputs.

    The error is in tolerances, while all other layers are as they were.
    """

    layer: str
    kind: str
    bytes: int
    error: float


def list_kinds(targets: Sequence[Target]) -> tuple[str, ...]:
    """The types that all of these targets store."""
    return tuple(kind for kind in KINDS if all(kind in target.made.stores for target in targets))


def measure_choices(
    program: Program,
    allowed: Sequence[str],
    remember: Remember,
    report: Callable[[int, int], None],
    only: slice = slice(None),
) -> dict[str, list[StorageChoice]]:
    """Layer -> its choices, float16 first; of a program whose BatchNorms are folded.

    `only` some of the layers, by their order.
    """
    program = replace(program, module=copy.deepcopy(program.module))
    outputs, seen = _Outputs.of(program), collect_moments(program)
    named = [(p, m) for p, m in program.module.named_modules() if isinstance(m, LAYERS)]
    layers, found = named[only], {}
    for number, (path, layer) in enumerate(layers):
        report(number, len(layers))
        kernel = layer.weight.detach().numpy().copy()
        choices = [StorageChoice(path, HALF.dtype, HALF.bytes(kernel.size), 0.0)]
        for kind in allowed if kernel.any() else ():
            grid = KINDS[kind](path, kernel, 1 if isinstance(layer, TRANSPOSED) else 0)
            # Of a small kernel, the scales or the palette may take more than the codes save.
            if grid.bytes(kernel.size) < choices[0].bytes:
                try_it = partial(_error, layer, grid, seen.get(f"{path}.weight"), outputs)
                lost = remember(f"{path} {kind}", try_it)
                choices.append(StorageChoice(path, kind, grid.bytes(kernel.size), lost))
        found[path] = choices
    return found


def _error(layer: nn.Module, grid: Encoding, seen: np.ndarray | None, outputs: _Outputs) -> float:
    """The outputs' error while one layer's kernel is on a grid."""
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    kernel = weight.detach().clone()
    weight.copy_(torch.from_numpy(round_kernel(kernel.numpy(), grid, seen)))
    try:
        return outputs.error()
    finally:
        weight.copy_(kernel)


@dataclass(frozen=True)
class _Outputs:
    """What a program gave for some inputs before its kernels were touched."""

    program: Program
    inputs: Sequence[Mapping[str, np.ndarray]]
    before: Sequence[Mapping[str, np.ndarray]]

    @classmethod
    def of(cls, program: Program) -> _Outputs:
        inputs = calibration.inputs_for(program)
        some = inputs[:: max(1, len(inputs) // LOOKED_AT)][:LOOKED_AT]
        runner = ReferenceRunner(program)
        return cls(program, some, [runner.run(given) for given in some])

    def error(self) -> float:
        """The mean square of what the outputs have moved by since, in tolerances."""
        runner, errors = ReferenceRunner(self.program), []
        for given, old in zip(self.inputs, self.before, strict=True):
            new = runner.run(given)
            for spec in self.program.spec.outputs:
                moved = (new[spec.name] - old[spec.name]) / (spec.noticeable or 1.0)
                errors.append(float(np.square(moved, dtype=np.float64).mean()))
        return float(np.mean(errors))
