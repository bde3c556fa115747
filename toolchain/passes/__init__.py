"""Transformations of a program, one a file; `PASSES` is the only list of them."""

from __future__ import annotations

from typing import ClassVar, Protocol

from converters.api import Program

PASSES: dict[str, str] = {
    "fold-batchnorm": "toolchain.passes.fold_batchnorm:FoldBatchnorm",
    "weights-fp16": "toolchain.passes.weights_fp16:WeightsFp16",
    "weights-int8": "toolchain.passes.weights_int8:WeightsInt8",
    "weights-int6": "toolchain.passes.weights_int6:WeightsInt6",
    "weights-int4": "toolchain.passes.weights_int4:WeightsInt4",
    "palettize": "toolchain.passes.palettize:Palettize",
    "weights-uint16": "toolchain.passes.weights_uint16:WeightsUint16",
    "weights-uint8": "toolchain.passes.weights_uint8:WeightsUint8",
}


class Pass(Protocol):
    """A frozen dataclass whose fields are its options.

    Called with a program it returns a new one, or the same object where it changed nothing.
    An `exact` pass leaves the outputs as they are, up to float32 rounding.
    """

    name: ClassVar[str]
    exact: ClassVar[bool]

    def __call__(self, program: Program) -> Program: ...
