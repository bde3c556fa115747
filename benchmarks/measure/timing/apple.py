"""Core ML packages ready to run: in our interpreter anywhere, in Core ML itself on a Mac."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure.size import layer_of
from benchmarks.measure.timing.loaded import Loaded, numbers
from benchmarks.measure.timing.runtime import Runtime
from converters.api import Tensors


def _core_ml(name: str, compute: str, main: bool = False) -> Runtime:
    return Runtime(
        name,
        "coreml",
        f"Core ML, {compute}",
        "benchmarks.measure.timing.apple:coreml",
        ("coremltools",),
        options=(compute,),
        system="darwin",
        main=main,
    )


RUNTIMES = (
    _core_ml("coreml", "all", main=True),
    _core_ml("coreml-cpu", "cpu_only"),
    _core_ml("coreml-gpu", "cpu_and_gpu"),
    _core_ml("coreml-ane", "cpu_and_ne"),
    Runtime(
        "mil-1",
        "coreml",
        "our interpreter: no device's latency",
        "benchmarks.measure.timing.apple:mil",
        ("torch",),
        main=True,
    ),
)


def mil(path: Path, threads: int) -> Loaded:
    """A package in our interpreter of Core ML programs: a stand-in, no device's latency."""
    from converters import mil as package
    from converters.mil import runtime

    runtime.THREADS = threads
    main = package.open_package(path).main
    interpreter = main.interpreter()
    inputs = {}
    for value in main.inputs:
        declared: Any = value.type
        inputs[value.name] = numbers(declared.fixed, declared.numpy)

    def layers() -> dict[str, float]:
        found: dict[str, float] = {}
        last = time.perf_counter()

        def seen(operation: Any, value: Any, result: Any) -> None:
            nonlocal last
            now = time.perf_counter()
            name = _mil_layer(operation)
            found[name] = found.get(name, 0.0) + (now - last) * 1e3
            last = time.perf_counter()

        interpreter.observe(inputs, seen)
        return found

    def feed(tensors: Tensors) -> dict[str, np.ndarray]:
        inputs.update(tensors)
        return dict(interpreter.run(inputs))

    return Loaded(
        lambda: interpreter.run(inputs),
        layers,
        feed=feed,
        inputs=tuple(inputs),
        outputs=tuple(main.outputs),
    )


def _mil_layer(operation: Any) -> str:
    """The layer whose weights an operation reads, or its own name."""
    from converters.coreml.names import plain_name

    weights = [w for w in operation.arguments.get("weight", ()) if isinstance(w, str)]
    return layer_of(weights[0]) if weights else plain_name(operation.name)


def coreml(path: Path, threads: int, compute: str) -> Loaded:
    """A package in Core ML, on a Mac."""
    from converters import mil as package
    from converters.coreml.tools import coremltools

    ct = coremltools()
    unit = ct.ComputeUnit[compute.upper()]
    model = ct.models.MLModel(str(path), compute_units=unit)
    inputs = {}
    for value in package.open_package(path).main.inputs:
        declared: Any = value.type
        inputs[value.name] = numbers(declared.fixed, declared.numpy)
    return Loaded(lambda: model.predict(inputs))
