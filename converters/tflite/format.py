"""TFLite's record: see `converters.format`."""

from __future__ import annotations

from converters.format import ACTIVATIONS, Backend, Format

TFLITE = Format(
    name="tflite",
    target="android",
    summary="TFLite / LiteRT (XNNPACK, GPU)",
    suffix=".tflite",
    source="onnx",
    convert="converters.tflite.convert:convert",
    preload="converters.tflite.convert:preload",
    open_runner="converters.tflite.runner:open_runner",
    prepare="converters.tflite.runner:prepare",
    contents="converters.tflite.contents:read",
    numbers="converters.tflite.numbers:read",
    merge="converters.tflite.merge:merge",
    backends=(
        Backend(
            "litert",
            "LiteRT with XNNPACK",
            "converters.tflite.runner:open_runner",
            60,
            watch="converters.tflite.intermediates:watch",
        ),
        Backend(
            "litert-reference",
            "LiteRT's plain kernels",
            "converters.tflite.runner:ReferenceKernelsRunner",
            1,
            slow=True,
            watch="converters.tflite.intermediates:watch_reference",
        ),
        Backend(
            "litertjs",
            "LiteRT.js in Chromium",
            "converters.browser:open_runner",
            10,
            ("litertjs",),
            needs="converters.browser.host:programs",
        ),
    ),
    runtimes="benchmarks.measure.timing.litert:RUNTIMES",
    packings=("zip",),
    tools=("torch", "tensorflow", "onnx", "ai-edge-litert", "numpy"),
    stores=("float32", "float16", "int8", "int4", f"int8{ACTIVATIONS}"),
    vias=("lowering", "onnx2tf"),
    partitions="converters.tflite.partitions:partitions",
)
