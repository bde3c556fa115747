"""PyTorch: the truth that every backend is compared with."""

from __future__ import annotations

import numpy as np
import torch

from converters.api import Program, Tensors
from converters.program_graph import tensors_of
from converters.signature import outputs_of


class ReferenceRunner:
    """Runs a program's module: logical arrays in and out, by the spec's names."""

    backend = "pytorch"

    def __init__(self, program: Program) -> None:
        self._program = program

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        spec = self._program.spec
        tensors = tensors_of(self._program, inputs)
        with torch.no_grad():
            outputs = outputs_of(spec, self._program.module(*tensors))
        return {t.name: y.numpy() for t, y in zip(spec.outputs, outputs, strict=True)}

    def close(self) -> None:
        """Nothing to free."""
