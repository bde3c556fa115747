"""Recurrent layers, and numbers stored as integers."""

from __future__ import annotations

from converters.mil.rules.rule import (
    CHROMIUM,
    FLOATS,
    CoreMlRule,
    RuledCall,
    constants,
    dtypes,
    mil,
    ranks,
)

CODES = ("int8", "uint8")


def _zero_scale(call: RuledCall) -> str | None:
    return "a scale of 0" if 0 in call.numbers("scale") else None


def _scale_axes(call: RuledCall) -> str | None:
    scale, shape = call.shape("scale"), call.shape("input")
    if scale is None or shape is None or not scale:
        return None
    if len(scale) > 1:
        return f"a scale of {len(scale)} axes"
    axis = call.number("axis", None)
    if axis is None or not -len(shape) <= axis < len(shape):
        return "a scale for each slice, and no axis"
    if shape[axis] not in (None, scale[0]):
        return f"{scale[0]} scales for {shape[axis]} slices"
    return None


RULES = (
    CoreMlRule(
        "recurrent-rank",
        "loader",
        ("gru", "lstm", "rnn"),
        (CHROMIUM, *mil("iOS15.recurrent.lstm")),
        "runs over sequences of 3 axes",
        "a sequence as a batch of one",
        ranks(3, 3),
    ),
    CoreMlRule(
        "recurrent-computed-weight",
        "loader",
        ("gru", "lstm", "rnn"),
        mil("iOS15.recurrent.lstm"),
        "wants the weights of recurrent layers as constants",
        "steps one after the other",
        constants("weight_ih", "weight_hh", "bias"),
    ),
    CoreMlRule(
        "quantize-scale",
        "loader",
        ("dequantize", "quantize"),
        mil("iOS17.quantization_ops.quantize"),
        "divides by a scale, which is not 0",
        "scales above 0",
        _zero_scale,
    ),
    CoreMlRule(
        "quantize-scale-axes",
        "loader",
        ("dequantize", "quantize"),
        (CHROMIUM, *mil("iOS17.quantization_ops.quantize")),
        "takes one scale, or one for each slice of an axis that is named",
        "one scale, or one for each output channel",
        _scale_axes,
    ),
    CoreMlRule(
        "quantize-computed-scale",
        "loader",
        ("dequantize", "quantize"),
        (CHROMIUM, *mil("iOS17.quantization_ops.quantize")),
        "wants scales and zeros as constants",
        "constants",
        constants("scale", "zero_point"),
    ),
    CoreMlRule(
        "quantize-of-integers",
        "loader",
        ("quantize",),
        (CHROMIUM, *mil("iOS17.quantization_ops.quantize")),
        "makes codes of floats only",
        "a cast before",
        dtypes(FLOATS, "input"),
    ),
    CoreMlRule(
        "dequantize-codes",
        "loader",
        ("dequantize",),
        mil("iOS17.quantization_ops.dequantize"),
        "reads computed codes of 8 bits",
        "codes of 8 bits",
        dtypes(CODES, "input"),
    ),
)
