"""Shapes: how many axes, slices, repetitions, parts."""

from __future__ import annotations

import math

from converters.mil.rules.rule import (
    ANY,
    EP,
    FLOATS,
    CoreMlRule,
    RuledCall,
    dtypes,
    mil,
    ranks,
)
from converters.mil.types import TensorType

MOST_BYTES = 2**31


def _more_than_five(call: RuledCall) -> str | None:
    for declared in call.results:
        if isinstance(declared, TensorType) and declared.shape and len(declared.shape) > 5:
            return f"a result of {len(declared.shape)} axes"
    return None


def _empty(call: RuledCall) -> str | None:
    for declared in call.results:
        if isinstance(declared, TensorType) and declared.shape and 0 in declared.shape:
            return f"a result of no elements, {declared}"
    return None


def _repeats(call: RuledCall) -> str | None:
    reps, rank = call.numbers("reps"), call.rank("x")
    if reps and (min(reps) < 1 or (rank is not None and len(reps) != rank)):
        return f"{reps} repetitions of {rank} axes"
    return None


def _two_unknown(call: RuledCall) -> str | None:
    shape = call.numbers("shape")
    return f"a shape of {shape}" if shape.count(-1) > 1 else None


def _of_one_type(call: RuledCall) -> str | None:
    types = {v.type.dtype for v in call.values("values") if isinstance(v.type, TensorType)}
    return f"parts of {' and '.join(sorted(types))}" if len(types) > 1 else None


def _divides(call: RuledCall) -> str | None:
    shape, axis = call.shape("x"), call.number("axis", 0)
    parts = call.number("num_splits", 0)
    if call.given("split_sizes") or not shape or not -len(shape) <= axis < len(shape):
        return None
    size = shape[axis]
    return f"{parts} parts of {size}" if size is not None and parts and size % parts else None


def _unnamed_split(call: RuledCall) -> str | None:
    if call.given("num_splits") or call.given("split_sizes"):
        return None
    return "neither num_splits nor split_sizes"


def _channels(call: RuledCall) -> str | None:
    shape = call.shape("x")
    factor = call.number("upscale_factor", call.number("block_size", 1))
    if not shape or len(shape) != 4 or shape[1] is None or factor < 1:
        return None
    return f"{shape[1]} channels by {factor}" if shape[1] % (factor * factor) else None


def _weighs_too_much(call: RuledCall) -> str | None:
    (declared,) = call.results[:1] or (None,)
    if not isinstance(declared, TensorType) or not declared.shape or None in declared.shape:
        return None
    if declared.dtype == "string":
        return None
    size = math.prod(declared.fixed) * declared.numpy.itemsize
    return f"a constant of {size / 2**30:.1f} GiB" if size >= MOST_BYTES else None


RULES = (
    CoreMlRule(
        "five-axes",
        "loader",
        (ANY,),
        (
            "apple/coremltools#832",
            "apple/coremltools#1723",
            "pytorch/executorch#11694",
        ),
        "has tensors of at most 5 axes",
        "axes taken together",
        _more_than_five,
    ),
    CoreMlRule(
        "empty-slice",
        "loader",
        ("slice_by_index", "slice_by_size"),
        (f"{EP}slice_op_builder.cc", "thewh1teagle/kokoro-onnx#16"),
        "compiles no slice without elements",
        "nothing: such parts are left out",
        _empty,
    ),
    CoreMlRule(
        "tile-repeats",
        "loader",
        ("tile",),
        (f"{EP}tile_op_builder.cc", *mil("iOS15.tensor_operation.tile")),
        "repeats every axis once or more",
        "a count for each axis",
        _repeats,
    ),
    CoreMlRule(
        "reshape-unknown-sizes",
        "loader",
        ("reshape",),
        mil("iOS15.tensor_transformation.reshape"),
        "finds out one size of -1",
        "sizes that are known",
        _two_unknown,
    ),
    CoreMlRule(
        "concat-types",
        "loader",
        ("concat", "stack"),
        mil("iOS15.tensor_operation.concat", "iOS15.tensor_operation.stack"),
        "joins tensors of one type",
        "a cast before",
        _of_one_type,
    ),
    CoreMlRule(
        "split-sizes",
        "loader",
        ("split",),
        mil("iOS15.tensor_operation.split"),
        "splits into equal parts where no sizes are given",
        "split_sizes",
        _divides,
    ),
    CoreMlRule(
        "split-unknown",
        "loader",
        ("split",),
        mil("iOS15.tensor_operation.split"),
        "wants num_splits or split_sizes",
        "split_sizes",
        _unnamed_split,
    ),
    CoreMlRule(
        "pixel-shuffle-rank",
        "loader",
        ("depth_to_space", "pixel_shuffle", "pixel_unshuffle", "space_to_depth"),
        mil("iOS15.tensor_transformation.pixel_shuffle"),
        "shuffles pictures of 4 axes",
        "reshapes and a transpose",
        ranks(4, 4),
    ),
    CoreMlRule(
        "pixel-shuffle-channels",
        "loader",
        ("depth_to_space", "pixel_shuffle"),
        mil("iOS15.tensor_transformation.pixel_shuffle"),
        "wants channels that the square of the factor divides",
        "PyTorch has the same limit",
        _channels,
    ),
    CoreMlRule(
        "pixel-shuffle-of-integers",
        "loader",
        ("depth_to_space", "pixel_shuffle", "pixel_unshuffle", "space_to_depth"),
        mil("iOS15.tensor_transformation.pixel_shuffle"),
        "shuffles floats only",
        "reshapes and a transpose",
        dtypes(FLOATS, "x"),
    ),
    CoreMlRule(
        "space-to-batch-rank",
        "loader",
        ("batch_to_space", "space_to_batch"),
        mil("iOS15.tensor_transformation.space_to_batch"),
        "takes pictures of 4 axes apart",
        "never written",
        ranks(4, 4),
    ),
    CoreMlRule(
        "constant-size",
        "loader",
        ("const",),
        ("apple/coremltools#1807",),
        "loads no constant of 2 GiB and more",
        "nothing: refused",
        _weighs_too_much,
    ),
)
