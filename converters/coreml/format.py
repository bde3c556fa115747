"""Core ML's record: see `converters.format`."""

from __future__ import annotations

from converters.format import ACTIVATIONS, BLOCKS, Backend, Format


def _core_ml_on(name: str, compute: str, where: str) -> Backend:
    return Backend(
        name,
        f"Core ML on {where}",
        "converters.coreml.runner:CoreMlRunner",
        100,
        (compute,),
        half=True,
        system="darwin",
    )


COREML = Format(
    name="coreml",
    target="ios",
    summary="Core ML (Metal, Neural Engine), iOS 16+",
    suffix=".mlpackage",
    source="torchscript",
    convert="converters.coreml.convert:convert",
    preload="converters.coreml.convert:preload",
    open_runner="converters.coreml.runner:open_runner",
    contents="converters.coreml.contents:read",
    numbers="converters.coreml.numbers:read",
    merge="converters.coreml.merge:merge",
    backends=(
        Backend(
            "mil",
            "the saved program, in the types that it declares",
            "converters.coreml.runner:MilRunner",
            40,
            rounds=True,
            as_declared=True,
            needs="converters.mil.messages:folder",
            watch="converters.coreml.intermediates:watch",
        ),
        Backend(
            "mil-weights-only",
            "the same in float32",
            "converters.coreml.runner:WeightsOnlyRunner",
            50,
            as_declared=True,
            needs="converters.mil.messages:folder",
            watch="converters.coreml.intermediates:watch_weights_only",
        ),
        _core_ml_on("coreml", "all", "all that it chooses"),
        _core_ml_on("coreml-cpu", "cpu_only", "the CPU"),
        _core_ml_on("coreml-gpu", "cpu_and_gpu", "CPU and GPU (Metal)"),
        _core_ml_on("coreml-ane", "cpu_and_ne", "CPU and Neural Engine"),
    ),
    runtimes="benchmarks.measure.timing.apple:RUNTIMES",
    packings=("zip",),
    tools=("torch", "coremltools", "numpy"),
    loading=("MLShip.swift",),
    stores=(
        *("float32", "float16", "int8", "int6", "int4", f"int4{BLOCKS}"),
        f"int8{ACTIVATIONS}",
        *("palette8", "palette6", "palette4", "palette3", "palette2"),
    ),
    compute_units=("all", "cpu_only", "cpu_and_gpu", "cpu_and_ne"),
)
