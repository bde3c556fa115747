"""A model at each of the sizes that its inputs may have: one module, programs of fixed shapes.

Fixed, because that is what the runtimes are fast at, and what is proved: each size is the same
kind of program as a model that has one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from model_defs.errors import BadModule, BadSpec, MlshipError, UnknownName
from model_defs.spec import ModelSpec, TensorSpec, size_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from converters.api import Program


def sized(inputs: Sequence[TensorSpec], name: str) -> tuple[TensorSpec, ...]:
    """The inputs at the size of that name, "512x512", which they then have alone."""
    known = size_names(inputs)
    if name not in known:
        raise UnknownName.among("size", name, known)
    index = known.index(name)
    return tuple(
        replace(one, shape=(*one.shape[:2], *one.sizes[index]), sizes=()) if one.sizes else one
        for one in inputs
    )


ONE_SIZE = "is_of_one_size"
"""What a module has that computes with shapes which were found once: it would run at another size,
and compute something else."""


def at(program: Program, name: str) -> Program:
    """The program at the size of that name; the shapes of its outputs are found by running it.

    Raises BadModule, with the size and the line, where the module does not run at that size: its
    parameters may be of one size, or its forward may say one; and of what an exported file holds.
    """
    import torch

    from converters.capture import example_of, user_code
    from converters.signature import outputs_of

    spec = program.spec
    inputs = sized(spec.inputs, name)
    if getattr(program.module, ONE_SIZE, False):
        raise BadModule(
            f"at {name}: {spec.name} is a file, whose shapes were fixed when it was read",
            do="build the module that it was exported from, or a file of each size",
        )
    with torch.no_grad(), at_size(name, HELP), user_code(f"{spec.name}: forward failed"):
        found = outputs_of(spec, program.module(*example_of(inputs)))
        shapes = [tuple(tensor.shape) for tensor in found]
        outputs = tuple(map(_at_shape, spec.outputs, shapes))
    return replace(program, spec=replace(spec, inputs=inputs, outputs=outputs))


HELP = "interpolate what belongs to a size in forward, or leave the size out of `sizes`"


def _at_shape(output: TensorSpec, shape: tuple[int, ...]) -> TensorSpec:
    if len(shape) != len(output.shape):
        raise BadSpec(
            f"output '{output.name}' has shape {shape}, and {output.shape} at the default"
        )
    return replace(output, shape=shape)


@contextlib.contextmanager
def at_size(name: str, do: str = "") -> Iterator[None]:
    """Errors inside are of the size of that name, and say so."""
    try:
        yield
    except MlshipError as error:
        what = f"at {name}: {error.what}"
        raise type(error)(what, where=error.where, do=error.do or do) from error


def with_sizes(spec: ModelSpec, sizes: Sequence[tuple[int, int]]) -> ModelSpec:
    """The specification with further sizes of its first picture, whose own stays the default.

    Inputs of the same height and width, such as a mask, have them too. BadSpec where no input has
    a height and a width, or where the specification names sizes already.
    """
    if not sizes:
        return spec
    if size_names(spec.inputs):
        raise BadSpec(
            f"{spec.name} has sizes of its own: {', '.join(size_names(spec.inputs))}",
            do="leave --size away, or change its specification",
        )
    planes = [one for one in spec.inputs if len(one.shape) == 4]
    takers = [one for one in planes if one.kind == "image"] or planes
    if not takers:
        raise BadSpec(f"no input of {spec.name} has a height and a width, and so no sizes")
    height, width = takers[0].shape[2:]
    every = tuple(dict.fromkeys([(height, width), *sizes]))
    inputs = tuple(
        replace(one, sizes=every) if one.shape[2:] == (height, width) else one
        for one in spec.inputs
    )
    return replace(spec, inputs=inputs)
