"""TF.js's record: see `converters.format`."""

from __future__ import annotations

from converters.format import Backend, Format


def _in_chromium(name: str, summary: str, pace: float, half: bool = False) -> Backend:
    return Backend(
        name,
        summary,
        "converters.browser:open_runner",
        pace,
        (name,),
        half=half,
        slow=pace < 1,
        needs="converters.browser.host:programs",
    )


TFJS = Format(
    name="tfjs",
    target="web",
    summary="TensorFlow.js (WASM, WebGL, WebGPU)",
    suffix=".tfjs",
    source="onnx",
    convert="converters.tfjs.convert:convert",
    preload="converters.tfjs.convert:preload",
    open_runner="converters.tfjs.runner:open_runner",
    prepare="converters.tfjs.runner:prepare",
    contents="converters.tfjs.contents:read",
    numbers="converters.tfjs.numbers:read",
    merge="converters.tfjs.merge:merge",
    backends=(
        Backend(
            "tfjs-wasm",
            "TF.js on WebAssembly in Node",
            "converters.tfjs.runner:open_runner",
            10,
            needs="converters.tfjs.runner:node_program",
            watch="converters.tfjs.intermediates:watch",
        ),
        _in_chromium("tfjs-wasm-chromium", "TF.js on WebAssembly in Chromium", 10),
        _in_chromium("tfjs-webgl", "TF.js on WebGL, float32", 0.3),
        _in_chromium("tfjs-webgl-f16", "TF.js on WebGL, float16 textures", 0.3, half=True),
        _in_chromium("tfjs-webgpu", "TF.js on WebGPU, where Chromium starts it", 0.06),
    ),
    runtimes="benchmarks.measure.timing.tfjs:RUNTIMES",
    packings=("brotli", "gzip"),
    tools=("torch", "tensorflow", "onnx", "numpy"),
    loading=("mlship.mjs",),
    stores=("float32", "float16", "uint16", "int8", "uint8"),
    pads=("int6", "int4"),
    vias=("lowering", "onnx2tf"),
)
