"""Every runtime that can be timed here: the only list of them."""

from __future__ import annotations

import functools

from benchmarks.measure.timing import apple, loaded, phone, references
from benchmarks.measure.timing.runtime import CORES, Load, Runtime
from model_defs.errors import BackendUnavailable, UnknownName

PHONE_THREADS = 4
"""A phone's large cores, in most."""


def _core_ml(name: str, compute: str) -> Runtime:
    load = functools.partial(apple.coreml, compute=compute)
    return Runtime(name, "coreml", f"Core ML, {compute}", load, ("coremltools",), system="darwin")


def _chromium(name: str, format: str, summary: str) -> Runtime:
    load = functools.partial(loaded.chromium, backend=name)
    return Runtime(name, format, summary, load, threads=CORES, needs=_browser)


def _browser() -> object:
    from converters.browser.host import programs

    return programs()


def _phone(name: str, summary: str, threads: int) -> Runtime:
    return Runtime(name, "tflite", summary, phone.litert, threads=threads, needs=phone.look)


LITERT = ("ai_edge_litert.interpreter",)

RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        Runtime("litert-1", "tflite", "LiteRT, XNNPACK, 1 thread", loaded.litert, LITERT),
        Runtime("litert", "tflite", "LiteRT, XNNPACK, all cores", loaded.litert, LITERT, CORES),
        _phone("phone-1", "LiteRT on an attached Android phone, 1 thread", 1),
        _phone("phone", f"the same, {PHONE_THREADS} threads", PHONE_THREADS),
        _chromium("litertjs", "tflite", "LiteRT.js in Chromium"),
        Runtime("tfjs-wasm", "tfjs", "TF.js on WASM in Node, 1 thread", None),
        _chromium("tfjs-wasm-chromium", "tfjs", "TF.js on WASM in Chromium"),
        _core_ml("coreml", "all"),
        _core_ml("coreml-cpu", "cpu_only"),
        _core_ml("coreml-gpu", "cpu_and_gpu"),
        _core_ml("coreml-ane", "cpu_and_ne"),
        Runtime("mil-1", "coreml", "our interpreter: no device's latency", apple.mil, ("torch",)),
        Runtime(
            "onnxruntime-1",
            "onnx",
            "ONNX Runtime, 1 thread",
            references.onnxruntime,
            ("onnxruntime",),
            reference=True,
        ),
        Runtime(
            "onnxruntime",
            "onnx",
            "ONNX Runtime, all cores",
            references.onnxruntime,
            ("onnxruntime",),
            CORES,
            reference=True,
        ),
        Runtime(
            "pytorch-1", "torchscript", "PyTorch, 1 thread", references.pytorch, ("torch",), 1, True
        ),
        Runtime(
            "pytorch",
            "torchscript",
            "PyTorch, all cores",
            references.pytorch,
            ("torch",),
            CORES,
            reference=True,
        ),
    )
}

PEAKS: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        Runtime("peak-1", "", "a product of matrices, 1 thread", loaded.product, ("numpy",)),
        Runtime("peak", "", "the same on all cores", loaded.product, ("numpy",), CORES),
        Runtime("copy", "", "a copy of memory", loaded.copy, ("numpy",)),
    )
}
"""What this machine can do at most, measured in the same rounds."""

PEERS: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        Runtime(
            "executorch-1",
            "pte",
            "ExecuTorch, XNNPACK, 1 thread",
            references.executorch,
            ("executorch.runtime",),
            peer="executorch",
        ),
        Runtime(
            "peer-onnxruntime-1",
            "onnx",
            "the newest ONNX Runtime, 1 thread",
            references.onnxruntime,
            ("onnxruntime",),
            peer="onnxruntime",
        ),
    )
}
"""What runs other tools' files (`benchmarks.studies.peers`); no artifact of ours is for them."""

MAIN = {"tflite": ("litert-1",), "tfjs": ("tfjs-wasm",), "coreml": ("coreml", "mil-1")}
"""By format, what stands for the latency of a file in CI: the first that runs here. One thread
where it can be had, because its CPU time is hardly moved by what else a machine does."""


def find(name: str) -> Runtime:
    """The runtime of that name; UnknownName for any other."""
    every = RUNTIMES | PEAKS | PEERS
    if name not in every:
        raise UnknownName.among("runtime", name, RUNTIMES)
    return every[name]


def loader(name: str) -> Load:
    """What loads a file in one of Python's runtimes."""
    load = find(name).load
    assert load is not None, f"{name} is node.mjs"
    return load


def of_format(kind: str) -> tuple[Runtime, ...]:
    """The runtimes of a format; one that would run as an earlier does is left out.

    That is what the one on all cores does where there is one core.
    """
    found: dict[object, Runtime] = {}
    for runtime in RUNTIMES.values():
        if runtime.format == kind:
            found.setdefault((runtime.load, runtime.threads), runtime)
    return tuple(found.values())


def main_of(kind: str) -> Runtime:
    """What stands for a format's latency here; BackendUnavailable where nothing does."""
    refused = BackendUnavailable(f"nothing here can time {kind}")
    for name in MAIN[kind]:
        try:
            RUNTIMES[name].look()
        except BackendUnavailable as error:
            refused = error
        else:
            return RUNTIMES[name]
    raise refused
