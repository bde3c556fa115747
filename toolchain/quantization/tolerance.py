"""What the outputs of a file that computes in integers may differ by.

Each runtime rounds what lies between two codes its own way, and a deep net makes of one code that
differs many: PyTorch's rounding is but one of those that are as good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from converters.api import Program, Tensors
from model_defs.spec import TensorSpec
from toolchain.quantization import activations
from toolchain.quantization.activations import OnGrids

JITTER = 0.05
"""What runtimes differ by before they round, as a share of a step: float16 by that much."""

TWICE = 2.0
"""Another draw may move an output further."""

MOST = 0.1
"""The largest share of labels that rounding is let to change."""


def jittered(program: Program) -> Program:
    """The program as another runtime may round it."""
    module = program.module
    assert isinstance(module, OnGrids), "a program that computes in integers"
    return replace(program, module=activations.jittered(module, JITTER))


def widened(
    outputs: Sequence[TensorSpec], expected: Mapping[str, Tensors], other: Mapping[str, Tensors]
) -> tuple[TensorSpec, ...]:
    """The outputs with a tolerance of twice what other roundings move them by, or their own.

    `expected` and `other` have PyTorch's answers to each case, the second ones jittered.
    """
    return tuple(_widened(spec, expected, other) for spec in outputs)


def _widened(
    spec: TensorSpec, expected: Mapping[str, Tensors], other: Mapping[str, Tensors]
) -> TensorSpec:
    if not spec.is_float:
        differ = max(
            float((expected[c][spec.name] != other[c][spec.name]).mean()) for c in expected
        )
        return replace(spec, tolerance=max(spec.tolerance or 0.0, min(TWICE * differ, MOST)))
    if spec.tolerance is None:
        return spec  # its measure alone judges it
    moved = (np.abs(expected[case][spec.name] - other[case][spec.name]).max() for case in expected)
    return replace(spec, tolerance=max(spec.tolerance, TWICE * float(max(moved))))


def widest(*outputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """The first ones with the largest tolerance that each has among all: of several sizes one.

    None where its measure alone judges an output.
    """
    return tuple(
        replace(
            same[0],
            tolerance=max((t for o in same if (t := o.tolerance) is not None), default=None),
        )
        for same in zip(*outputs, strict=True)
    )


def moved(spec: TensorSpec, before: Mapping[str, Tensors], after: Mapping[str, Tensors]) -> float:
    """How far an output is from what it was, over all cases in the mean; of labels, the share."""
    pairs = [(before[case][spec.name], after[case][spec.name]) for case in before]
    if not spec.is_float:
        return float(np.mean([(a != b).mean() for a, b in pairs]))
    return float(np.mean([np.abs(a.astype(np.float64) - b).mean() for a, b in pairs]))


def moved_numbers(own: Tensors, other: Tensors) -> dict[str, np.ndarray]:
    """How far each number of outputs is from another draw's; of labels, 1 where it is another."""
    return {
        name: np.abs(other[name] - array) if array.dtype.kind == "f" else other[name] != array
        for name, array in own.items()
    }


def notes(before: Sequence[TensorSpec], after: Sequence[TensorSpec]) -> tuple[str, ...]:
    """What a manifest says of the outputs whose tolerance was widened."""
    return tuple(
        f"computes in integers: '{new.name}' is held to {new.tolerance:.3g}, twice what rounding "
        f"ties otherwise moves it by, not to {old.tolerance:g}"
        for old, new in zip(before, after, strict=True)
        if new.tolerance != old.tolerance
    )
