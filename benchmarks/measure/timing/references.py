"""Files of runtimes that nothing of ours ships to, ready to run (see `.loaded`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.measure.timing.loaded import Loaded, numbers
from converters.api import Tensors


def onnxruntime(path: Path, threads: int) -> Loaded:
    """A model.onnx on the CPU, its threads asleep between runs."""
    import onnxruntime as library

    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given: dict[str, np.ndarray] = {i.name: numbers(i.shape) for i in session.get_inputs()}
    names = tuple(o.name for o in session.get_outputs())

    def feed(tensors: Tensors) -> dict[str, np.ndarray]:
        given.update(tensors)
        return dict(zip(names, session.run(None, given), strict=True))

    return Loaded(lambda: session.run(None, given), feed=feed, inputs=tuple(given), outputs=names)


def executorch(path: Path, threads: int) -> Loaded:
    """A .pte on the CPU, lowered to XNNPACK; its tensors are told apart by their order."""
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    portable_lib._unsafe_reset_threadpool(threads)  # safe while no program is loaded
    method = Runtime.get().load_program(path).load_method("forward")
    meta = method.metadata
    shapes = [meta.input_tensor_meta(i).sizes() for i in range(meta.num_inputs())]
    given = [torch.from_numpy(numbers(shape)) for shape in shapes]
    names = tuple(map(str, range(meta.num_outputs())))

    def feed(tensors: Tensors) -> dict[str, np.ndarray]:
        given[:] = [torch.from_numpy(tensors[str(i)].copy()) for i in range(len(given))]
        found = method.execute(given)
        return {name: value.numpy().copy() for name, value in zip(names, found, strict=True)}

    inputs = tuple(map(str, range(len(given))))
    return Loaded(lambda: method.execute(given), feed=feed, inputs=inputs, outputs=names)


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
