"""The shapes that a package declares for an input, beyond which Core ML does not run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_defs.errors import BadArtifact

Shape = tuple[int, ...]
Bounds = tuple[int, int | None]


@dataclass(frozen=True)
class Declared:
    """Shapes that are enumerated, or the least and the largest size of each of the last axes."""

    shapes: tuple[Shape, ...] = ()
    bounds: tuple[Bounds, ...] = ()

    def places(self, shape: Shape) -> tuple[int, ...]:
        """Which of the enumerated shapes it is."""
        return tuple(i for i, one in enumerate(self.shapes) if shape[-len(one) :] == one)

    def refusal(self, shape: Shape) -> str:
        """Why Core ML takes no such input; nothing where it does."""
        if self.shapes and not self.places(shape):
            known = ", ".join(map(str, self.shapes))
            return f"which is not in the enumerated set of shapes: {known}"
        for size, (low, high) in zip(shape[-len(self.bounds) :], self.bounds, strict=False):
            if size < low or (high is not None and size > high):
                return f"of which {size} is outside its range, {low} to {high or 'any'}"
        return ""


def read_declared(description: Any, function: str) -> dict[str, Declared]:
    """The declared shapes of a function's inputs, by name, where they are flexible."""
    described = next((f for f in description.functions if f.name == function), description)
    found = {feature.name: _declared(feature.type) for feature in described.input}
    return {name: declared for name, declared in found.items() if declared is not None}


def _declared(kind: Any) -> Declared | None:
    of = kind.WhichOneof("Type")
    if of == "multiArrayType":
        array = kind.multiArrayType
        flexible = array.WhichOneof("ShapeFlexibility")
        if flexible == "enumeratedShapes":
            return Declared(shapes=tuple(tuple(s.shape) for s in array.enumeratedShapes.shapes))
        if flexible == "shapeRange":
            return Declared(bounds=_bounds(array.shapeRange.sizeRanges))
    if of == "imageType":
        image = kind.imageType
        flexible = image.WhichOneof("SizeFlexibility")
        if flexible == "enumeratedSizes":
            return Declared(shapes=tuple((s.height, s.width) for s in image.enumeratedSizes.sizes))
        if flexible == "imageSizeRange":
            ranges = image.imageSizeRange
            return Declared(bounds=_bounds((ranges.heightRange, ranges.widthRange)))
    return None


def _bounds(ranges: Sequence[Any]) -> tuple[Bounds, ...]:
    """An upper bound below 0 is none."""
    return tuple((r.lowerBound, None if r.upperBound < 0 else r.upperBound) for r in ranges)


def check_shapes(shapes: Mapping[str, Shape], declared: Mapping[str, Declared]) -> None:
    """BadArtifact for a shape that is not declared, and for shapes not enumerated together.

    Several enumerated inputs are fed with the shapes at one place of their lists
    (apple/coremltools#2271).
    """
    common: set[int] | None = None
    for name, one in declared.items():
        shape = shapes.get(name)
        if shape is None:
            continue
        refusal = one.refusal(shape)
        if refusal:
            raise BadArtifact(f"input '{name}' has shape {shape}, {refusal}")
        if one.shapes:
            places = set(one.places(shape))
            common = places if common is None else common & places
    if common is not None and not common:
        raise BadArtifact(
            "the inputs have shapes that are enumerated, but not together: "
            + ", ".join(f"'{n}' {shapes[n]}" for n, one in declared.items() if one.shapes)
        )
