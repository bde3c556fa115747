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

from benchmarks.measure.size import layer_of
from converters.api import Tensors

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
    milliseconds that were counted there; `elsewhere`, where it is on another device. `feed` takes
    numbers by the names in `inputs`, which all runs that follow compute with, and returns what
    comes out, by the names in `outputs`; both are in the file's order.
    """

    run: Run
    layers: Layers | None = None
    timer: Callable[[int], list[float]] | None = None
    elsewhere: Elsewhere | None = None
    feed: Callable[[Tensors], dict[str, np.ndarray]] | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


def numbers(shape: Any, dtype: Any = np.float32) -> np.ndarray:
    """Values from 0 to 1; an unknown length is 1."""
    fixed = tuple(max(int(n), 1) if isinstance(n, int | np.integer) else 1 for n in shape)
    return np.random.default_rng(0).random(fixed, dtype=np.float32).astype(dtype)


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
    """The tensors of a side in the file's order, by the signature's names where it has one."""
    names: dict[int, str] = {}
    for key in interpreter.get_signature_list():
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
