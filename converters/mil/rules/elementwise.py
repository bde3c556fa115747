"""Activations, arithmetic, comparison, casts."""

from __future__ import annotations

from converters.mil.rules.rule import (
    CHROMIUM,
    EP,
    FLOATS,
    NUMBERS,
    Check,
    CoreMlRule,
    RuledCall,
    dtypes,
    mil,
    ranks,
)
from converters.mil.types import TensorType

ACTIVATIONS = (
    *("clamped_relu", "elu", "gelu", "leaky_relu", "linear_activation", "prelu", "relu", "relu6"),
    *("scaled_tanh", "sigmoid", "sigmoid_hard", "silu", "softplus", "softplus_parametric"),
    *("softsign", "thresholded_relu"),
)
FUNCTIONS = (
    *("acos", "asin", "atan", "atanh", "ceil", "cos", "cosh", "erf", "exp", "exp2", "floor"),
    *("inverse", "log", "round", "rsqrt", "sin", "sinh", "sqrt", "tan", "tanh"),
)
ARITHMETIC = ("add", "floor_div", "maximum", "minimum", "mod", "mul", "pow", "real_div", "sub")
COMPARISONS = ("equal", "greater", "greater_equal", "less", "less_equal", "not_equal")
REDUCTIONS = (
    *("reduce_argmax", "reduce_argmin", "reduce_l1_norm", "reduce_l2_norm", "reduce_log_sum"),
    *("reduce_log_sum_exp", "reduce_max", "reduce_mean", "reduce_min", "reduce_prod"),
    *("reduce_sum", "reduce_sum_square"),
)
CASTS = ("bool", "fp16", "fp32", "int32")
SMALL_CASTS = ("int8", "uint8", "int16", "uint16")
"""From iOS 17 on."""


def _slopes(call: RuledCall) -> str | None:
    slopes = call.numbers("alpha")
    if call.rank("x") in (3, 5) and slopes and max(slopes) - min(slopes) > 1e-5:
        return f"slopes from {min(slopes):.3g} to {max(slopes):.3g} on {call.rank('x')} axes"
    return None


def _slope_a_channel(call: RuledCall) -> str | None:
    shape, slopes = call.shape("x"), call.shape("alpha")
    if shape and len(shape) > 1 and slopes is not None and slopes != (shape[1],):
        return f"slopes {list(slopes)} for {shape[1]} channels"
    return None


def _bounds(call: RuledCall) -> str | None:
    low, high = call.number("alpha", 0), call.number("beta", 1)
    if call.version >= 7 and call.array("alpha") is not None and low >= high:
        return f"from {low} to {high}"
    return None


def _cast(call: RuledCall) -> str | None:
    allowed = CASTS if call.version < 7 else (*CASTS, *SMALL_CASTS)
    for found in (call.dtype("x"), call.text("dtype")):
        if found and found not in allowed:
            return f"{found} in opset {call.opset}"
    return None


def _one_type(*names: str) -> Check:
    def check(call: RuledCall) -> str | None:
        types = [call.dtype(name) for name in names if isinstance(call.tensor(name), TensorType)]
        return f"{' and '.join(types)}" if len(set(types)) > 1 else None

    return check


def _epsilon(default: float) -> Check:
    """The epsilon that stands where nobody asked for one: others are a norm's, or log1p's 1."""

    def check(call: RuledCall) -> str | None:
        epsilon = call.number("epsilon", default)
        return f"epsilon {default:g} is added" if 0 < epsilon < 2 * default else None

    return check


def _axis(call: RuledCall) -> str | None:
    axis, rank = call.number("axis", 0), call.rank("x")
    if rank is not None and not -1 <= axis < rank:
        return f"axis {axis} of {rank}"
    return None


RULES = (
    CoreMlRule(
        "prelu-rank",
        "loader",
        ("prelu",),
        mil("iOS15.activation.prelu"),
        "has a slope for each channel of 3 to 5 axes",
        "a comparison and a multiplication",
        ranks(3),
    ),
    CoreMlRule(
        "prelu-slopes",
        "loader",
        ("prelu",),
        mil("iOS15.activation.prelu"),
        "takes different slopes with 4 axes only",
        "a comparison and a multiplication",
        _slopes,
    ),
    CoreMlRule(
        "prelu-channels",
        "loader",
        ("prelu",),
        mil("iOS15.activation.prelu"),
        "wants one slope for each channel",
        "a comparison and a multiplication",
        _slope_a_channel,
    ),
    CoreMlRule(
        "softplus-parametric-rank",
        "loader",
        ("softplus_parametric",),
        mil("iOS15.activation.softplus_parametric"),
        "has a softplus of each channel for 3 axes and more",
        "never written",
        ranks(3),
    ),
    CoreMlRule(
        "activation-of-integers",
        "loader",
        ACTIVATIONS,
        (CHROMIUM, *mil("iOS15.activation.relu")),
        "activates floats only",
        "a cast before; of relu a maximum with 0",
        dtypes(FLOATS, "x"),
    ),
    CoreMlRule(
        "softmax-of-integers",
        "loader",
        ("softmax",),
        (CHROMIUM, *mil("iOS15.activation.softmax")),
        "takes the softmax of floats only",
        "a cast before",
        dtypes(FLOATS, "x"),
    ),
    CoreMlRule(
        "function-of-integers",
        "loader",
        FUNCTIONS,
        (CHROMIUM, "apple/coremltools#2580", *mil("iOS15.elementwise_unary.exp")),
        "has roots, exponentials, logarithms and the like of floats only",
        "a cast before",
        dtypes(FLOATS, "x"),
    ),
    CoreMlRule(
        "clip-of-integers",
        "loader",
        ("clip",),
        (CHROMIUM, *mil("iOS15.elementwise_unary.clip")),
        "clips floats only",
        "maximum and minimum, or a cast before and after",
        dtypes(FLOATS, "x"),
    ),
    CoreMlRule(
        "clip-bounds",
        "loader",
        ("clip",),
        mil("iOS17.elementwise_unary.clip"),
        "wants the lower bound below the upper one from iOS 17 on",
        "a constant",
        _bounds,
    ),
    CoreMlRule(
        "cast-type",
        "loader",
        ("cast",),
        (CHROMIUM, f"{EP}cast_op_builder.cc", *mil("iOS17.elementwise_unary.cast")),
        "casts between bool, int32 and floats; to integers of 8 and 16 bits from iOS 17 on",
        "int32",
        _cast,
    ),
    CoreMlRule(
        "operand-types",
        "loader",
        (*ARITHMETIC, *COMPARISONS),
        (CHROMIUM, *mil("iOS15.elementwise_binary.add")),
        "computes with two operands of one type",
        "a cast before",
        _one_type("x", "y"),
    ),
    CoreMlRule(
        "select-types",
        "loader",
        ("select",),
        mil("iOS15.control_flow.select"),
        "chooses between values of one type",
        "a cast before",
        _one_type("a", "b"),
    ),
    CoreMlRule(
        "select-condition",
        "loader",
        ("select",),
        mil("iOS15.control_flow.select"),
        "chooses by truth values",
        "a comparison with 0",
        dtypes(("bool",), "cond"),
    ),
    CoreMlRule(
        "arithmetic-of-truths",
        "loader",
        (*ARITHMETIC, *COMPARISONS),
        (CHROMIUM, *mil("iOS15.elementwise_binary.add", "iOS15.elementwise_binary.equal")),
        "adds, multiplies and compares floats and int32, no truth values",
        "a cast before, or logical operations",
        dtypes(NUMBERS, "x", "y"),
    ),
    CoreMlRule(
        "logic-of-numbers",
        "loader",
        ("logical_and", "logical_not", "logical_or", "logical_xor"),
        (CHROMIUM, *mil("iOS15.elementwise_binary.logical_and")),
        "has and, or and not of truth values only",
        "a comparison with 0",
        dtypes(("bool",), "x", "y"),
    ),
    CoreMlRule(
        "reduction-of-truths",
        "loader",
        REDUCTIONS,
        (CHROMIUM, *mil("iOS15.reduction.reduce_sum")),
        "reduces floats and int32, no truth values",
        "a cast before",
        dtypes(NUMBERS, "x"),
    ),
    CoreMlRule(
        "cumulative-sum-axis",
        "loader",
        ("cumsum",),
        mil("iOS15.tensor_operation.cumsum"),
        "sums up along an axis counted from the beginning, or along the last as -1",
        "axes counted from the beginning",
        _axis,
    ),
    CoreMlRule(
        "inverse-epsilon",
        "runtime",
        ("inverse",),
        ("apple/coremltools#2773", CHROMIUM, *mil("iOS15.elementwise_unary.inverse")),
        "adds an epsilon to the divisor: 1e-4 where none is given",
        "a division of 1",
        _epsilon(1e-4),
    ),
    CoreMlRule(
        "rsqrt-epsilon",
        "runtime",
        ("rsqrt",),
        mil("iOS15.elementwise_unary.rsqrt"),
        "adds an epsilon below the root: 1e-12 where none is given",
        "a root and a division of 1",
        _epsilon(1e-12),
    ),
    CoreMlRule(
        "log-epsilon",
        "runtime",
        ("log",),
        (CHROMIUM, *mil("iOS15.elementwise_unary.log")),
        "adds an epsilon: 1e-45 where none is given, so that the logarithm of 0 is -103",
        "an epsilon of 0",
        _epsilon(1e-45),
    ),
)
