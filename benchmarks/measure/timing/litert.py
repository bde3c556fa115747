"""LiteRT in Python, and what else times a .tflite file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure.size import layer_of
from benchmarks.measure.timing.browser import in_chromium
from benchmarks.measure.timing.loaded import Loaded, Run, numbers
from benchmarks.measure.timing.runtime import CORES, Runtime
from converters.api import Tensors
from converters.tflite.host import SIGNATURE

LIBRARY = ("ai_edge_litert.interpreter",)
LOAD = "benchmarks.measure.timing.litert:litert"
ON_PHONE = "benchmarks.measure.timing.phone:litert"
PHONE_THREADS = 4
"""A phone's large cores, in most."""


def _phone(name: str, summary: str, threads: int) -> Runtime:
    look = "benchmarks.measure.timing.phone:look"
    return Runtime(name, "tflite", summary, ON_PHONE, threads=threads, needs=look)


RUNTIMES = (
    Runtime("litert-1", "tflite", "LiteRT, XNNPACK, 1 thread", LOAD, LIBRARY, main=True),
    Runtime("litert", "tflite", "LiteRT, XNNPACK, all cores", LOAD, LIBRARY, CORES),
    _phone("phone-1", "LiteRT on an attached Android phone, 1 thread", 1),
    _phone("phone", f"the same, {PHONE_THREADS} threads", PHONE_THREADS),
    in_chromium("litertjs", "tflite", "LiteRT.js in Chromium"),
)


def litert(path: Path, threads: int) -> Loaded:
    """A .tflite file with XNNPACK."""
    interpreter = _interpreter(path.read_bytes(), threads)
    inputs = _named(interpreter, "input", interpreter.get_input_details())
    outputs = _named(interpreter, "output", interpreter.get_output_details())

    def feed(tensors: Tensors) -> dict[str, np.ndarray]:
        for name, index in inputs.items():
            interpreter.set_tensor(index, tensors[name])
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for name, index in outputs.items()}

    return Loaded(
        interpreter.invoke,
        lambda: _litert_layers(path, threads),
        feed=feed,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
    )


def _named(interpreter: Any, side: str, details: list[Any]) -> dict[str, int]:
    """The tensors of a side in the file's order, by the signature's names where it has one.

    Of a file of several sizes it is the default, whose graph is the one that is timed.
    """
    names: dict[int, str] = {}
    keys = [*interpreter.get_signature_list()]
    for key in [SIGNATURE] if SIGNATURE in keys else keys:
        runner = interpreter.get_signature_runner(key)
        signed = getattr(runner, f"get_{side}_details")()
        names |= {detail["index"]: name for name, detail in signed.items()}
    return {names.get(d["index"], d["name"]): d["index"] for d in details}


def _interpreter(data: bytes, threads: int) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=threads)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], numbers(detail["shape"], detail["dtype"]))
    return interpreter


def _litert_layers(path: Path, threads: int) -> dict[str, float]:
    """Each operator alone in a file of its own: LiteRT's Python has no profiler."""
    from converters.tflite.single import single_operators

    found: dict[str, float] = {}
    for name, data in single_operators(path.read_bytes()):
        layer = layer_of(f"{name}/operator")
        alone = _interpreter(data, threads)
        alone.invoke()
        found[layer] = found.get(layer, 0.0) + min(_milliseconds(alone.invoke) for _ in range(3))
    return found


def _milliseconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3
