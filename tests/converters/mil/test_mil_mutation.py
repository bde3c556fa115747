"""A changed program computes other numbers: nothing in it is ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mil_mutation import (
    edit,
    flip_constant,
    operation,
    perturb_weights,
    records,
    weight_file,
)

from converters import mil
from model_defs.errors import MlshipError


def differs(path: Path, image: np.ndarray, truth: np.ndarray) -> bool:
    """Whether the program is refused or gives visibly other numbers."""
    try:
        ours = mil.open_package(path).main.run({"in_0": image})["y"]
    except MlshipError:
        return True
    return ours.shape != truth.shape or bool(np.abs(ours - truth).max() > 1e-4)


ATTRIBUTES = [
    ("conv", "strides"),
    ("conv", "pad"),
    ("conv", "dilations"),
    ("conv", "groups"),
    ("leaky_relu", "alpha"),
    ("max_pool", "kernel_sizes"),
    ("max_pool", "strides"),
    ("max_pool", "pad"),
    ("max_pool", "ceil_mode"),
    ("pad", "pad"),
    ("conv_transpose", "strides"),
    ("conv_transpose", "dilations"),
    ("conv_transpose", "groups"),
    ("upsample_bilinear", "scale_factor_height"),
    ("upsample_bilinear", "align_corners"),
    ("reduce_mean", "axes"),
    ("reduce_mean", "keep_dims"),
    ("concat", "axis"),
    ("concat", "interleave"),
    ("softmax", "axis"),
]


@pytest.mark.parametrize(("kind", "argument"), ATTRIBUTES)
def test_flipping_an_attribute_shows(
    kind: str, argument: str, package: Path, image: np.ndarray, truth: np.ndarray
) -> None:
    assert not differs(package, image, truth)
    flip_constant(package, kind, argument)
    if (kind, argument) == ("max_pool", "ceil_mode"):  # sizes are even: the same windows
        assert not differs(package, image, truth)
    else:
        assert differs(package, image, truth)


@pytest.mark.parametrize("record", range(2))
def test_perturbing_a_weight_shows(
    record: int, package: Path, image: np.ndarray, truth: np.ndarray
) -> None:
    assert len(list(records(weight_file(package).read_bytes()))) == 2
    perturb_weights(package, record)
    assert differs(package, image, truth)


def test_swapping_two_arguments_shows(package: Path, image: np.ndarray, truth: np.ndarray) -> None:
    def change(model: Any) -> None:
        values = operation(model, "concat").inputs["values"].arguments
        first, second = values[0].name, values[1].name
        values[0].name, values[1].name = second, first

    edit(package, change)
    assert differs(package, image, truth)
