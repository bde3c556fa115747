"""What the outputs of a file that computes in integers may differ by.

Each runtime rounds what lies between two codes its own way, and a deep net makes of one code that
differs as much as of a grid: nothing tells PyTorch's rounding from another that is as good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from converters.api import Tensors
from model_defs.spec import TensorSpec

TWICE = 2.0
"""PyTorch's grids and the file's may move an output to either side."""


def widened(
    outputs: Sequence[TensorSpec], model: Mapping[str, Tensors], shipped: Mapping[str, Tensors]
) -> tuple[TensorSpec, ...]:
    """The outputs with a tolerance of twice what the grids move them by, or their own if larger.

    `model` has PyTorch's answers to each case before the passes, `shipped` those after them.
    """
    return tuple(_widened(spec, model, shipped) for spec in outputs)


def _widened(
    spec: TensorSpec, model: Mapping[str, Tensors], shipped: Mapping[str, Tensors]
) -> TensorSpec:
    moved = max(float(np.abs(model[c][spec.name] - shipped[c][spec.name]).max()) for c in model)
    return replace(spec, tolerance=max(spec.tolerance or 0.0, TWICE * moved))


def notes(before: Sequence[TensorSpec], after: Sequence[TensorSpec]) -> tuple[str, ...]:
    """What a manifest says of the outputs whose tolerance was widened."""
    return tuple(
        f"computes in integers: '{new.name}' is held to {new.tolerance:.3g}, twice what the grids "
        f"move it by, not to {old.tolerance:g}"
        for old, new in zip(before, after, strict=True)
        if new.tolerance != old.tolerance
    )
