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
    ("conv", "bias"),
    ("conv", "pad_type"),
    ("max_pool", "pad_type"),
    ("pad", "mode"),
    ("pad", "constant_val"),
    ("conv_transpose", "bias"),
    ("conv_transpose", "pad"),
    ("conv_transpose", "pad_type"),
    ("conv_transpose", "output_shape"),
    ("upsample_bilinear", "scale_factor_width"),
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


SILENT = {
    ("max_pool", "ceil_mode"): "the sizes are even: the same windows",
    ("max_pool", "pad_type"): "there is no padding",
    ("pad", "constant_val"): "a reflection reads no constant",
    ("conv_transpose", "pad"): "of type valid, which reads no padding",
    ("conv_transpose", "pad_type"): "a stride as large as the kernel has nothing to cut",
}
"""Attributes that mean nothing in this net, and why."""

WEIGHTS = {("conv", "weight"), ("conv_transpose", "weight")}
"""The two blobs of `test_perturbing_a_weight_shows`."""


def test_no_attribute_is_left_out(package: Path) -> None:
    block = mil.open_package(package).main.block
    constants = {o.results[0].name for o in block.operations if o.type == "const"}
    given = {
        (operation.type, argument)
        for operation in block.operations
        if operation.type != "const"
        for argument, values in operation.arguments.items()
        if any(not isinstance(value, str) or value in constants for value in values)
    }
    assert given == set(ATTRIBUTES) | WEIGHTS


@pytest.mark.parametrize(("kind", "argument"), ATTRIBUTES)
def test_flipping_an_attribute_shows(
    kind: str, argument: str, package: Path, image: np.ndarray, truth: np.ndarray
) -> None:
    assert not differs(package, image, truth)
    flip_constant(package, kind, argument)
    assert differs(package, image, truth) == ((kind, argument) not in SILENT)


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
