"""Specifications refuse to contradict themselves, and survive JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from model_defs.errors import ERRORS, BadSpec, UnknownName
from model_defs.spec import ModelSpec, Postprocess, Preprocess, TensorSpec

IMAGE = TensorSpec("image", (1, 3, 4, 6), "image", low=0, high=1, preprocess=Preprocess())
MAP = TensorSpec("depth", (1, 1, 4, 6), "map", tolerance=0.01, postprocess=Postprocess())


SIZED = replace(IMAGE, sizes=((4, 6), (8, 12)))


@pytest.mark.parametrize("spec", [IMAGE, MAP, SIZED])
def test_a_tensor_survives_json(spec: TensorSpec) -> None:
    assert TensorSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Bad Name"}, "does not work in every format"),
        ({"kind": "picture"}, "unknown kind"),
        ({"shape": (1, 3, -1, 6)}, "not fixed and positive"),
        ({"shape": ()}, "not fixed and positive"),
        ({"low": 2.0}, "not below high"),
        ({"tolerance": 0.0}, "not positive"),
        ({"tolerance": float("inf")}, "not positive and finite"),
        ({"shape": (1, 1, 4, 6)}, "RGB picture does not fit"),
        ({"preprocess": Preprocess(mean=(0.0,))}, "3 values each"),
        ({"preprocess": Preprocess(std=(0.0, 1.0, 1.0))}, "std not 0"),
        ({"sizes": ((8, 8), (4, 6))}, "sizes begin with 8x8, and the shape is"),
        ({"sizes": ((8, 8),)}, "sizes begin with 8x8"),
        ({"sizes": ((4, 6), (8, 8), (8, 8))}, "the size 8x8 stands twice"),
        ({"sizes": ((4, 6), (8, 0))}, r"\(8, 0\) is no size"),
        ({"sizes": ((4, 6), (8, -8))}, r"\(8, -8\) is no size"),
        ({"sizes": ((4, 6), (8, 8, 8))}, "is no size"),
        ({"sizes": [(4, 6), (8, 8)]}, "no tuple"),
        ({"sizes": ((4, 6), 8)}, "8 is no size"),
        ({"sizes": ((4, 6), (True, 8))}, "is no size"),
        ({"shape": (1, 3), "sizes": ((1, 3),), "preprocess": None}, "no height and width"),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSpec, match=message):
        replace(IMAGE, **changes)


@pytest.mark.parametrize("data", [{}, {"name": "x"}, {**IMAGE.to_json(), "colour": "red"}])
def test_json_that_is_no_tensor_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(BadSpec, match="not a tensor specification"):
        TensorSpec.from_json(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "my net"}, "file name"),
        ({"inputs": ()}, "at least one input"),
        ({"outputs": ()}, "at least one input and one output"),
        ({"outputs": (replace(MAP, name="image"),)}, "used twice: image"),
        ({"outputs": (replace(MAP, tolerance=None),)}, "no tolerance"),
        ({"outputs": (replace(MAP, sizes=((4, 6), (8, 12))),)}, "output 'depth' has sizes"),
        (
            {"inputs": (SIZED, replace(IMAGE, name="other", sizes=((4, 6),)))},
            "different numbers of sizes: 2 of 'image', 1 of 'other'",
        ),
        ({"inputs": (SIZED,), "fed_by": "trunk"}, "its inputs are what 'trunk' gives"),
    ],
)
def test_a_model_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    spec = ModelSpec("net", lambda: None, (IMAGE,), (MAP,))  # type: ignore[arg-type, return-value]
    with pytest.raises(BadSpec, match=message):
        replace(spec, **changes)


def test_the_sizes_of_a_model_are_called_after_its_first_input_that_has_any() -> None:
    low = TensorSpec("low", (1, 3, 2, 3), "image", sizes=((2, 3), (4, 6)))
    spec = ModelSpec("net", lambda: None, (TensorSpec("seed", (1, 4), "features"), SIZED), (MAP,))  # type: ignore[arg-type, return-value]
    assert replace(spec, inputs=(*spec.inputs, low)).size_names == ("4x6", "8x12")
    assert replace(spec, inputs=(IMAGE,)).size_names == ()


def test_an_unknown_name_suggests_the_nearest() -> None:
    error = UnknownName.among("model", "dept", ["select", "depth"])
    assert "unknown model 'dept'" in str(error)
    assert "did you mean 'depth'?" in str(error)
    assert "select, depth" in str(error)


def test_an_unknown_name_far_from_all_lists_them() -> None:
    assert "did you mean" not in str(UnknownName.among("model", "xyz", ["select", "depth"]))


def test_every_error_is_in_the_tree_of_the_docstring() -> None:
    from model_defs import errors

    assert all(f" {name} " in (errors.__doc__ or "") for name in ERRORS)
