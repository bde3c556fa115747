"""The zoo's largest nets for smaller pictures: the same layers, in the time that CI has."""

from __future__ import annotations

from dataclasses import replace

from model_defs import zoo
from model_defs.spec import ModelSpec, TensorSpec


def at(name: str, height: int, width: int) -> ModelSpec:
    """A model of the zoo that takes and gives pictures of that size."""

    def sized(spec: TensorSpec) -> TensorSpec:
        return replace(spec, shape=(*spec.shape[:2], height, width))

    spec = zoo.load(name)
    return replace(
        spec,
        inputs=tuple(map(sized, spec.inputs)),
        outputs=tuple(map(sized, spec.outputs)),
    )


inpaint = at("inpaint", 64, 64)
inpaint_lite = at("inpaint-lite", 128, 128)
inpaint_reflect = at("inpaint-reflect", 200, 200)  # its padding needs 196
inpaint_pconv = at("inpaint-pconv", 256, 256)  # it halves the size eight times
