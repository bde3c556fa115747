"""Files loaded into Python's runtimes, ready to run on random inputs.

Each function takes a file and a number of threads and returns a `Loaded`. Inputs are drawn from
0 to 1 under seed 0, in the type and shape that the file declares.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.size import layer_of

Run = Callable[[], object]
Layers = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Elsewhere:
    """What another device tells of itself: its name, milliseconds to load and first run, bytes."""

    device: str
    load: float
    first: float
    peak: Callable[[], int]


@dataclass(frozen=True)
class Loaded:
    """`run` computes once; `layers` says how many milliseconds each layer takes, where it can.

    `timer`, where the runtime is in another process, runs it so many times and returns the
    milliseconds that were counted there; `elsewhere`, where it is on another device.
    """

    run: Run
    layers: Layers | None = None
    timer: Callable[[int], list[float]] | None = None
    elsewhere: Elsewhere | None = None


def numbers(shape: Any, dtype: Any = np.float32) -> np.ndarray:
    """Values from 0 to 1; an unknown length is 1."""
    fixed = tuple(max(int(n), 1) if isinstance(n, int | np.integer) else 1 for n in shape)
    return np.random.default_rng(0).random(fixed, dtype=np.float32).astype(dtype)


def litert(path: Path, threads: int) -> Loaded:
    """A .tflite file with XNNPACK."""
    interpreter = _interpreter(path.read_bytes(), threads)
    return Loaded(interpreter.invoke, lambda: _litert_layers(path, threads))


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


def onnxruntime(path: Path, threads: int) -> Loaded:
    """A model.onnx on the CPU, its threads asleep between runs."""
    import onnxruntime as library

    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = {i.name: numbers(i.shape) for i in session.get_inputs()}
    return Loaded(lambda: session.run(None, inputs))


def pytorch(path: Path, threads: int) -> Loaded:
    """A TorchScript file, its inputs' shapes in `inputs.json` beside it."""
    import json

    import torch

    torch.set_num_threads(threads)
    module = torch.jit.load(str(path)).eval()
    shapes = json.loads(path.with_name("inputs.json").read_text(encoding="utf-8"))
    inputs = [torch.from_numpy(numbers(shape)) for shape in shapes]

    def run() -> object:
        with torch.inference_mode():
            return module(*inputs)

    return Loaded(run)


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

    return Loaded(lambda: interpreter.run(inputs), layers)


def _mil_layer(operation: Any) -> str:
    """The layer whose weights an operation reads, or its own name."""
    from converters.intermediates.backends import plain_name

    weights = [w for w in operation.arguments.get("weight", ()) if isinstance(w, str)]
    return layer_of(weights[0]) if weights else plain_name(operation.name)


def coreml(path: Path, threads: int, compute: str) -> Loaded:
    """A package in Core ML, on a Mac."""
    from converters import mil as package
    from converters.coreml import coremltools

    ct = coremltools()
    unit = ct.ComputeUnit[compute.upper()]
    model = ct.models.MLModel(str(path), compute_units=unit)
    inputs = {}
    for value in package.open_package(path).main.inputs:
        declared: Any = value.type
        inputs[value.name] = numbers(declared.fixed, declared.numpy)
    return Loaded(lambda: model.predict(inputs))


def chromium(path: Path, threads: int, backend: str) -> Loaded:
    """A file in a page of headless Chromium, which counts the time itself."""
    from converters.browser.host import Browser

    browser = Browser()
    asked = {"do": "open", "backend": backend, "path": str(path.resolve())}
    opened, _ = browser.ask(asked, {}, 300)
    inputs = {
        name: numbers(info["shape"], info["dtype"]) for name, info in opened["inputs"].items()
    }

    def timer(runs: int) -> list[float]:
        answer, _ = browser.ask({"do": "time", "id": opened["id"], "runs": runs}, inputs, 600)
        return [float(ms) for ms in answer["milliseconds"]]

    return Loaded(lambda: timer(1), timer=timer)


PEAK_SIZE = 768
COPIED = 1 << 26


def product(path: Path, threads: int) -> Loaded:
    """The product of two square matrices, PEAK_SIZE ** 3 multiply-adds. No file.

    The threads are those that its process's environment allows.
    """
    x = numbers((PEAK_SIZE, PEAK_SIZE))
    return Loaded(lambda: x @ x)


def copy(path: Path, threads: int) -> Loaded:
    """COPIED bytes read and as many written. No file."""
    source = np.ones(COPIED // 4, np.float32)
    target = np.empty_like(source)
    return Loaded(lambda: np.copyto(target, source))
