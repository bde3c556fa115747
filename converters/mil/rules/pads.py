"""Padding."""

from __future__ import annotations

from converters.mil.rules.rule import (
    CHROMIUM,
    EP,
    FLOATS,
    CoreMlRule,
    RuledCall,
    Shape,
    dtypes,
    mil,
)

PAD = f"{EP}pad_op_builder.cc"
WEBNN = "webmachinelearning/webnn#739"


def _by_axis(call: RuledCall) -> tuple[Shape, list[tuple[int, int]]]:
    """The sizes of the axes that are padded, and how much before and after each."""
    pads, shape = call.numbers("pad"), call.shape("x")
    pairs = list(zip(pads[::2], pads[1::2], strict=False))
    if shape is None or len(pairs) > len(shape):
        return (), []
    return shape[len(shape) - len(pairs) :], pairs


def _outside_last_two(call: RuledCall) -> str | None:
    _, pairs = _by_axis(call)
    if call.text("mode", "constant") != "constant" and any(map(any, pairs[:-2])):
        return f"'{call.text('mode')}' on an axis before the last two: {call.numbers('pad')}"
    return None


def _beyond(mode: str, less: int, call: RuledCall) -> str | None:
    if call.text("mode", "constant") != mode:
        return None
    for size, pair in zip(*_by_axis(call), strict=True):
        if size is not None and max(pair) > size - less:
            return f"{max(pair)} elements at an edge of an axis of {size}"
    return None


def _reflects_too_far(call: RuledCall) -> str | None:
    return _beyond("reflect", 1, call)


def _replicates_too_far(call: RuledCall) -> str | None:
    return _beyond("replicate", 0, call)


def _negative(call: RuledCall) -> str | None:
    pads = call.numbers("pad")
    return f"pads of {pads}" if min(pads, default=0) < 0 else None


def _no_constant(call: RuledCall) -> str | None:
    return None if call.given("constant_val") else "constant_val is left out"


def _computed(call: RuledCall) -> str | None:
    pads, rank = call.shape("pad"), call.rank("x")
    if call.computed("pad") and pads and rank and pads[0] != 2 * rank:
        return f"{pads[0]} computed pads for {rank} axes"
    return None


RULES = (
    CoreMlRule(
        "pad-before-last-two",
        "loader",
        ("pad",),
        (
            "apple/coremltools#2571",
            "apple/coremltools#2576",
            "apple/coremltools#2701",
            "pytorch/executorch#11708",
            "pytorch/executorch#11709",
            WEBNN,
        ),
        "reflects and replicates on the last two axes only",
        "an axis after the other, each turned to the end",
        _outside_last_two,
    ),
    CoreMlRule(
        "pad-reflect-size",
        "loader",
        ("pad",),
        (WEBNN, PAD, *mil("iOS15.tensor_operation.pad")),
        "reflects as many elements as there are but one",
        "PyTorch has the same limit",
        _reflects_too_far,
    ),
    CoreMlRule(
        "pad-replicate-size",
        "loader",
        ("pad",),
        (WEBNN, *mil("iOS15.tensor_operation.pad")),
        "replicates an edge as often as there are elements",
        "several pads, one after the other",
        _replicates_too_far,
    ),
    CoreMlRule(
        "pad-negative",
        "loader",
        ("pad",),
        (PAD, *mil("iOS15.tensor_operation.pad")),
        "adds elements and takes none away",
        "a slice",
        _negative,
    ),
    CoreMlRule(
        "pad-constant-value",
        "loader",
        ("pad",),
        (PAD,),
        "wants constant_val in every mode, whatever its documentation says",
        "constant_val, always",
        _no_constant,
    ),
    CoreMlRule(
        "pad-computed",
        "loader",
        ("pad",),
        mil("iOS15.tensor_operation.pad"),
        "wants computed pads for every axis",
        "constant pads",
        _computed,
    ),
    CoreMlRule(
        "pad-of-integers",
        "loader",
        ("pad",),
        (CHROMIUM, PAD),
        "pads floats only",
        "a cast before and after",
        dtypes(FLOATS, "x"),
    ),
)
