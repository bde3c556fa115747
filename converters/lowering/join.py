"""Concatenation as the targets like it."""

from __future__ import annotations

from collections.abc import Sequence

from converters.lowering.call import Target
from converters.lowering.tf import Tensor, gen_array_ops

XNNPACK_INPUTS = 5


def joined(target: Target, tensors: Sequence[Tensor], axis: int) -> Tensor:
    """One concatenation; for TFLite nested, since XNNPACK takes no more than five inputs."""
    tensors = list(tensors)
    while target == "tflite" and len(tensors) > XNNPACK_INPUTS:
        tensors = [
            joined(target, tensors[i : i + XNNPACK_INPUTS], axis)
            for i in range(0, len(tensors), XNNPACK_INPUTS)
        ]
    return tensors[0] if len(tensors) == 1 else gen_array_ops.concat_v2(tensors, axis)
