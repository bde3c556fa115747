"""Functions, their inputs and outputs."""

from __future__ import annotations

import re

from converters.mil.rules.rule import CHROMIUM, CoreMlRule, RuledCall, dtypes

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_@]*")
LARGEST = 16384
PORTS = ("input", "output")


def _no_input(call: RuledCall) -> str | None:
    return None if call.values("inputs") else "takes no input"


def _name(call: RuledCall) -> str | None:
    return None if NAME.fullmatch(call.name) else f"the name '{call.name}'"


def _scalar(call: RuledCall) -> str | None:
    return "it has no axes" if call.rank("x") == 0 else None


def _type(call: RuledCall) -> str | None:
    allowed = ("fp16", "fp32", "int32", *(("int8",) if call.version > 8 else ()))
    return dtypes(allowed, "x")(call)


def _half(call: RuledCall) -> str | None:
    return "float16 before iOS 16" if call.version < 6 and call.dtype("x") == "fp16" else None


def _long(call: RuledCall) -> str | None:
    size = max((n for n in call.shape("x") or () if n is not None), default=0)
    return f"an axis of {size}" if size > LARGEST else None


RULES = (
    CoreMlRule(
        "function-without-input",
        "loader",
        ("function",),
        ("pytorch/executorch#11719", CHROMIUM),
        "loads no function without an input",
        "nothing: refused",
        _no_input,
    ),
    CoreMlRule(
        "name-letters",
        "loader",
        ("function", *PORTS),
        ("apple/coremltools:mlmodel/format/MIL.proto", CHROMIUM),
        "takes names of letters, digits, _ and @",
        "_ in place of others",
        _name,
    ),
    CoreMlRule(
        "port-type",
        "loader",
        PORTS,
        (CHROMIUM, "apple/coremltools:mlmodel/format/FeatureTypes.proto"),
        "takes and gives float32, float16 and int32; int8 from iOS 26 on",
        "floats for truth values, int32 for int64",
        _type,
    ),
    CoreMlRule(
        "port-half",
        "loader",
        PORTS,
        ("apple/coremltools:mlmodel/format/FeatureTypes.proto",),
        "takes and gives float16 from iOS 16 on",
        "float32",
        _half,
    ),
    CoreMlRule(
        "input-without-axes",
        "loader",
        ("input",),
        ("microsoft/onnxruntime#28478",),
        "has no arrays without axes",
        "an axis of one",
        _scalar,
    ),
    CoreMlRule(
        "port-size",
        "unit",
        PORTS,
        ("apple/coremltools#1003", "apple/coremltools#283", "microsoft/onnxruntime#19543"),
        "fails on the GPU, whose textures end there, or to load, with an axis beyond 16384",
        "a warning",
        _long,
    ),
)
