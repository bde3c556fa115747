"""Round every weight to float16, the type that it is then stored in."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from model_defs.errors import BadWeights
from toolchain.passes.base import Pass

if TYPE_CHECKING:
    from torch import Tensor

    from converters.api import Program

LARGEST = 65504.0
"""The largest float16."""


@dataclass(frozen=True)
class WeightsFp16(Pass):
    """Each float parameter and buffer that has no encoding yet becomes the nearest float16 number.

    Before: float32 weights
    After:  float32 weights that float16 stores exactly, encoded "float16"
    Those of the layers in `keep` stay, encoded "float32".
    Blocked (BadWeights) by a weight beyond 65504, which would become infinite.
    """

    name: ClassVar[str] = "weights-fp16"
    exact: ClassVar[bool] = False
    near: ClassVar[bool] = True

    keep: tuple[str, ...] = ()

    @property
    def stores(self) -> tuple[str, ...]:
        return ("float16",)

    def __call__(self, program: Program) -> Program:
        import torch

        from converters.encodings import Encoding
        from converters.program_graph import with_module

        module = copy.deepcopy(program.module)
        encodings = dict(program.encodings)
        with torch.no_grad():
            for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
                if not tensor.is_floating_point() or name in encodings:
                    continue
                if name.rpartition(".")[0] in self.keep:
                    encodings[name] = Encoding("float32")
                    continue
                self._check_range(name, tensor)
                tensor.copy_(tensor.half().float())
                encodings[name] = Encoding("float16")
        if encodings == program.encodings:
            return program
        return with_module(program, module, encodings=encodings)

    def _check_range(self, name: str, tensor: Tensor) -> None:
        largest = float(tensor.abs().max()) if tensor.numel() else 0.0
        if largest > LARGEST:
            raise BadWeights(
                f"{name} holds {largest:g}, beyond float16's {LARGEST:g}",
                do="use --recipe fp32, or scale the layer",
            )
