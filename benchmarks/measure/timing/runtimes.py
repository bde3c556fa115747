"""Every runtime that can be timed here, by name: those of all formats, and references."""

from __future__ import annotations

from benchmarks.measure.timing.runtime import CORES, Runtime
from converters.format import resolve
from converters.formats import FORMATS
from model_defs.errors import BackendUnavailable, UnknownName

ONNXRUNTIME = "benchmarks.measure.timing.references:onnxruntime"
PYTORCH = "benchmarks.measure.timing.references:pytorch"
PRODUCT = "benchmarks.measure.timing.peaks:product"

REFERENCES = (
    Runtime(
        "onnxruntime-1",
        "onnx",
        "ONNX Runtime, 1 thread",
        ONNXRUNTIME,
        ("onnxruntime",),
        reference=True,
    ),
    Runtime(
        "onnxruntime",
        "onnx",
        "ONNX Runtime, all cores",
        ONNXRUNTIME,
        ("onnxruntime",),
        CORES,
        reference=True,
    ),
    Runtime(
        "pytorch-1",
        "torchscript",
        "PyTorch, 1 thread",
        PYTORCH,
        ("torch",),
        reference=True,
    ),
    Runtime(
        "pytorch",
        "torchscript",
        "PyTorch, all cores",
        PYTORCH,
        ("torch",),
        CORES,
        reference=True,
    ),
)
"""What runs the files that artifacts are made of."""

RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        *(runtime for format in FORMATS.values() for runtime in resolve(format.runtimes)),
        *REFERENCES,
    )
}

PEAKS: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        Runtime(
            "peak-1",
            "",
            "a product of matrices, 1 thread",
            PRODUCT,
            ("numpy",),
        ),
        Runtime(
            "peak",
            "",
            "the same on all cores",
            PRODUCT,
            ("numpy",),
            CORES,
        ),
        Runtime("copy", "", "a copy of memory", "benchmarks.measure.timing.peaks:copy", ("numpy",)),
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
            "benchmarks.measure.timing.references:executorch",
            ("executorch.runtime",),
            peer="executorch",
        ),
        Runtime(
            "peer-onnxruntime-1",
            "onnx",
            "the newest ONNX Runtime, 1 thread",
            ONNXRUNTIME,
            ("onnxruntime",),
            peer="onnxruntime",
        ),
    )
}
"""What runs other tools' files (`benchmarks.studies.peers`); no artifact of ours is for them."""


def find(name: str) -> Runtime:
    """The runtime of that name; UnknownName for any other."""
    every = RUNTIMES | PEAKS | PEERS
    if name not in every:
        raise UnknownName.among("runtime", name, RUNTIMES)
    return every[name]


def of_format(kind: str) -> tuple[Runtime, ...]:
    """The runtimes of a format; one that would run as an earlier does is left out.

    That is what the one on all cores does where there is one core.
    """
    found: dict[object, Runtime] = {}
    for runtime in RUNTIMES.values():
        if runtime.format == kind:
            found.setdefault((runtime.load, runtime.options, runtime.threads), runtime)
    return tuple(found.values())


def main_of(kind: str) -> Runtime:
    """What stands for a format's latency here: the first main runtime that runs.

    One on one thread where it can be had, because its CPU time is hardly moved by what else a
    machine does. Raises BackendUnavailable where nothing runs.
    """
    refused = BackendUnavailable(f"nothing here can time {kind}")
    for runtime in RUNTIMES.values():
        if runtime.format != kind or not runtime.main:
            continue
        try:
            runtime.look()
        except BackendUnavailable as error:
            refused = error
        else:
            return runtime
    raise refused
