"""Normalisation."""

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

NORMS = ("batch_norm", "instance_norm", "l2_norm", "layer_norm", "local_response_norm")


def _scale_shape(call: RuledCall) -> str | None:
    shape, axes = call.shape("x"), call.numbers("axes")
    if not shape or not axes or not all(-len(shape) <= a < len(shape) for a in axes):
        return None
    wanted = tuple(shape[a] for a in sorted(a % len(shape) for a in axes))
    for name in ("gamma", "beta"):
        given = call.shape(name)
        if given is not None and None not in wanted and given != wanted:
            return f"'{name}' is {list(given)}, not {list(wanted)}"
    return None


def _by_channel(call: RuledCall) -> str | None:
    shape = call.shape("x")
    if not shape or len(shape) < 2 or shape[1] is None:
        return None
    for name in ("mean", "variance", "gamma", "beta"):
        given = call.shape(name)
        if given is not None and given != (shape[1],):
            return f"'{name}' is {list(given)} for {shape[1]} channels"
    return None


RULES = (
    CoreMlRule(
        "batch-norm-rank",
        "loader",
        ("batch_norm",),
        (CHROMIUM, *mil("iOS15.normalization.batch_norm")),
        "normalises batches of 3 to 5 axes",
        "an axis more, or a multiplication and an addition",
        ranks(3),
    ),
    CoreMlRule(
        "instance-norm-rank",
        "loader",
        ("instance_norm",),
        (CHROMIUM, *mil("iOS15.normalization.instance_norm")),
        "normalises instances of 3 and 4 axes",
        "means and variances written out",
        ranks(3, 4),
    ),
    CoreMlRule(
        "l2-norm-rank",
        "loader",
        ("l2_norm",),
        mil("iOS15.normalization.l2_norm"),
        "normalises by length over the last three axes",
        "a square, a sum and a root",
        ranks(3),
    ),
    CoreMlRule(
        "local-response-norm-rank",
        "loader",
        ("local_response_norm",),
        mil("iOS15.normalization.local_response_norm"),
        "normalises responses of 3 and 4 axes",
        "an average pooling over squares",
        ranks(3, 4),
    ),
    CoreMlRule(
        "layer-norm-scale",
        "loader",
        ("layer_norm",),
        mil("iOS15.normalization.layer_norm"),
        "wants gamma and beta of the sizes of the normalised axes",
        "PyTorch has the same limit",
        _scale_shape,
    ),
    CoreMlRule(
        "norm-channels",
        "loader",
        ("batch_norm", "instance_norm"),
        mil("iOS15.normalization.batch_norm"),
        "wants a statistic, a scale and an offset for each channel",
        "PyTorch has the same limit",
        _by_channel,
    ),
    CoreMlRule(
        "norm-computed-scale",
        "loader",
        ("batch_norm", "instance_norm", "layer_norm"),
        (f"{EP}norm_ln_in_gn_op_builder.cc", *mil("iOS15.normalization.layer_norm")),
        "wants statistics, scale and offset as constants",
        "a multiplication and an addition",
        constants("mean", "variance", "gamma", "beta"),
    ),
    CoreMlRule(
        "norm-of-integers",
        "loader",
        NORMS,
        (CHROMIUM, *mil("iOS15.normalization.batch_norm")),
        "normalises floats only",
        "a cast before and after",
        dtypes(FLOATS, "x"),
    ),
)
