"""Inputs of shapes that a package does not declare are refused, as Core ML refuses them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from converters.mil.declared import Declared, read_declared
from converters.mil.messages import messages
from converters.mil.runtime import Interpreter
from model_defs.errors import BadArtifact
from tests.converters.mil.mil_programs import Builder, tensor

ENUMERATED = Declared(shapes=((1, 3, 4), (1, 3, 8)))
RANGED = Declared(bounds=((1, 1), (3, 3), (4, 8)))
UNBOUNDED = Declared(bounds=((1, None), (3, 3), (4, None)))


def run(declared: dict[str, Declared], **shapes: tuple[int, ...]) -> None:
    flexible = tensor(*[None] * 3)
    built = Builder(dict.fromkeys(shapes, flexible))
    for name in shapes:
        built.add("relu", flexible, x=f"%{name}")
    function = replace(built.function(), declared=declared)
    Interpreter(function, "exact").run({n: np.ones(s, np.float32) for n, s in shapes.items()})


@pytest.mark.parametrize(
    ("declared", "shape", "why"),
    [
        (ENUMERATED, (1, 3, 6), r"not in the enumerated set of shapes: \(1, 3, 4\), \(1, 3, 8\)"),
        (RANGED, (1, 3, 9), "9 is outside its range, 4 to 8"),
        (RANGED, (1, 3, 3), "3 is outside its range, 4 to 8"),
        (RANGED, (2, 3, 4), "2 is outside its range, 1 to 1"),
        (UNBOUNDED, (0, 3, 4), "0 is outside its range, 1 to any"),
    ],
)
def test_refuses_a_shape_that_is_not_declared(
    declared: Declared, shape: tuple[int, ...], why: str
) -> None:
    with pytest.raises(BadArtifact, match=f"input 'x' has shape .*{why}"):
        run({"x": declared}, x=shape)


@pytest.mark.parametrize(
    ("declared", "shape"),
    [
        (ENUMERATED, (1, 3, 8)),
        (RANGED, (1, 3, 4)),
        (RANGED, (1, 3, 8)),
        (UNBOUNDED, (7, 3, 9000)),
    ],
)
def test_runs_a_shape_that_is_declared(declared: Declared, shape: tuple[int, ...]) -> None:
    run({"x": declared}, x=shape)


def test_enumerated_inputs_change_together() -> None:
    declared = {"x": ENUMERATED, "y": Declared(shapes=((2, 2, 2), (2, 2, 3)))}
    run(declared, x=(1, 3, 8), y=(2, 2, 3))
    with pytest.raises(BadArtifact, match="enumerated, but not together: 'x' .*8.*, 'y' .*2"):
        run(declared, x=(1, 3, 8), y=(2, 2, 2))


def described(**features: str) -> Any:
    description = messages("Model_pb2").ModelDescription()
    for name, kind in features.items():
        feature = description.input.add(name=name)
        array, image = feature.type.multiArrayType, feature.type.imageType
        if kind == "enumerated":
            for size in (4, 8):
                array.enumeratedShapes.shapes.add().shape.extend([1, 3, size])
        elif kind == "ranged":
            for low, high in ((1, 1), (3, 3), (4, -1)):
                array.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)
        elif kind == "image":
            image.enumeratedSizes.sizes.add(width=8, height=4)
        elif kind == "image-range":
            image.imageSizeRange.heightRange.lowerBound = 4
            image.imageSizeRange.heightRange.upperBound = 8
            image.imageSizeRange.widthRange.lowerBound = 2
            image.imageSizeRange.widthRange.upperBound = -1
        else:
            array.shape.extend([1, 3, 4])
    return description


def test_reads_what_a_package_declares() -> None:
    kinds = {"a": "enumerated", "b": "ranged", "c": "image", "d": "image-range", "e": "fixed"}
    assert read_declared(described(**kinds), "main") == {
        "a": ENUMERATED,
        "b": Declared(bounds=((1, 1), (3, 3), (4, None))),
        "c": Declared(shapes=((4, 8),)),
        "d": Declared(bounds=((4, 8), (2, None))),
    }


def test_reads_the_description_of_a_function() -> None:
    description = described(x="enumerated")
    own = description.functions.add(name="other")
    own.input.extend(described(x="fixed").input)
    assert read_declared(description, "other") == {}
    assert read_declared(description, "main") == {"x": ENUMERATED}


def test_pictures_are_judged_by_their_height_and_width() -> None:
    assert Declared(shapes=((4, 8),)).refusal((1, 3, 4, 8)) == ""
    assert Declared(shapes=((4, 8),)).refusal((1, 3, 8, 4))
    assert Declared(bounds=((4, 8), (2, None))).refusal((1, 3, 8, 900)) == ""
    assert Declared(bounds=((4, 8), (2, None))).refusal((1, 3, 9, 900))
