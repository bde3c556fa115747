"""Convolution and its transpose."""

from __future__ import annotations

from converters.mil.rules.rule import (
    CHROMIUM,
    EP,
    FLOATS,
    CoreMlRule,
    RuledCall,
    constants,
    dtypes,
    mil,
    ranks,
)

BOTH = ("conv", "conv_transpose")
TRANSPOSED = f"{EP}convtranspose_op_builder.cc"


def _dilated_by_computed(call: RuledCall) -> str | None:
    if call.computed("weight") and any(n > 1 for n in call.numbers("dilations")):
        return f"dilations {call.numbers('dilations')} of a computed weight"
    return None


def _groups(call: RuledCall) -> str | None:
    shape, weight = call.shape("x"), call.shape("weight")
    groups = call.number("groups", 1)
    if not shape or not weight or len(shape) < 2 or len(weight) < 2 or shape[1] is None:
        return None
    if groups < 1 or shape[1] % groups:
        return f"{shape[1]} channels in {groups} groups"
    wanted = weight[1] if call.type == "conv" else weight[0]
    have = shape[1] // groups if call.type == "conv" else shape[1]
    return None if wanted == have else f"a weight for {wanted} channels, not {have}"


def _same_lower(call: RuledCall) -> str | None:
    if call.version < 6 and call.text("pad_type") == "same_lower":
        return "padding 'same_lower' before iOS 16"
    return None


def _unevenly_cut(call: RuledCall) -> str | None:
    pads = call.numbers("pad") if call.text("pad_type") == "custom" else []
    return f"padding {pads}" if pads[::2] != pads[1::2] else None


def _output_shape(call: RuledCall) -> str | None:
    """coremltools gives it always: what matters is one that the sizes do not give."""
    wanted, shape, weight = call.numbers("output_shape"), call.shape("x"), call.shape("weight")
    if not wanted or not shape or not weight or call.text("pad_type").startswith("same"):
        return None
    axes = len(shape) - 2
    ones = [1] * axes
    pads = call.numbers("pad") if call.text("pad_type") == "custom" else []
    how = zip(
        shape[2:],
        weight[2:],
        call.numbers("strides") or ones,
        call.numbers("dilations") or ones,
        (pads or [0] * 2 * axes)[::2],
        (pads or [0] * 2 * axes)[1::2],
        wanted[2:],
        strict=False,
    )
    for size, kernel, stride, dilation, before, after, want in how:
        if size is None or kernel is None:
            continue
        given = (size - 1) * stride + (kernel - 1) * dilation + 1 - before - after
        if given != want:
            return f"{want} elements of {given}"
    return None


RULES = (
    CoreMlRule(
        "conv-rank",
        "loader",
        BOTH,
        (CHROMIUM, *mil("iOS15.conv.conv")),
        "convolves 3 to 5 axes, of which one to three are spatial",
        "one picture as a batch of one",
        ranks(3),
    ),
    CoreMlRule(
        "conv-of-integers",
        "loader",
        BOTH,
        (CHROMIUM, *mil("iOS15.conv.conv")),
        "convolves floats only",
        "a cast before and after",
        dtypes(FLOATS, "x", "weight", "bias"),
    ),
    CoreMlRule(
        "conv-dilation-of-computed-weight",
        "loader",
        ("conv",),
        mil("iOS15.conv.conv"),
        "dilates kernels that are constants only",
        "nothing: refused",
        _dilated_by_computed,
    ),
    CoreMlRule(
        "conv-computed-bias",
        "loader",
        BOTH,
        ("crbug/338529226", TRANSPOSED, *mil("iOS15.conv.conv", "iOS17.conv.conv")),
        "takes a computed bias from iOS 17 on",
        "an addition",
        constants("bias", before=7),
    ),
    CoreMlRule(
        "conv-transpose-computed-weight",
        "loader",
        ("conv_transpose",),
        (TRANSPOSED, *mil("iOS15.conv.conv_transpose", "iOS17.conv.conv_transpose")),
        "takes a computed kernel of a transposed convolution from iOS 17 on",
        "nothing: refused",
        constants("weight", before=7),
    ),
    CoreMlRule(
        "conv-groups",
        "loader",
        BOTH,
        mil("iOS15.conv.conv"),
        "wants channels that the groups divide, and a kernel for as many",
        "PyTorch has the same limit",
        _groups,
    ),
    CoreMlRule(
        "same-lower",
        "loader",
        (*BOTH, "avg_pool", "l2_pool", "max_pool"),
        mil("iOS15.conv.conv", "iOS15.pool.avg_pool"),
        "has padding 'same_lower' from iOS 16 on",
        "padding 'custom'",
        _same_lower,
    ),
    CoreMlRule(
        "conv-transpose-uneven",
        "unit",
        ("conv_transpose",),
        (TRANSPOSED,),
        "cuts a transposed convolution unevenly on the CPU as told, elsewhere otherwise",
        "a warning",
        _unevenly_cut,
    ),
    CoreMlRule(
        "conv-transpose-output-shape",
        "unit",
        ("conv_transpose",),
        (TRANSPOSED,),
        "places a result of other sizes within output_shape on the CPU otherwise than elsewhere",
        "a warning",
        _output_shape,
    ),
)
