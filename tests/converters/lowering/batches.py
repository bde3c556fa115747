"""Many small ONNX models, lowered one by one, and run at once: one file and one process a format.

Each model keeps its own verdict: the reason why it was refused, the error of its run, or its
outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import onnx

from converters.api import Artifact, Port
from converters.lowering.call import Target
from converters.lowering.graph import graph_of
from converters.lowering.lower import Lowered, lower
from converters.lowering.rewrites import rewritten
from converters.lowering.tf import GraphDef
from converters.processes.binding import take_inputs
from converters.tfjs.convert import save
from converters.tfjs.fuse import fused
from converters.tfjs.runner import open_runner
from converters.tfjs.storing import Storing
from converters.tfjs.write import SUPPORTED, written
from converters.tflite.convert import to_flatbuffer
from converters.tflite.store import stored
from model_defs.errors import BadArtifact, ConversionFailed, UnsupportedOperation
from model_defs.spec import TensorSpec

Arrays = dict[str, np.ndarray]
AT_ONCE = 64
"""How many models TFLite's converter is given as one: where it fails, they are halved."""


@dataclass(frozen=True)
class Small:
    """A model whose inputs are called in0, in1..., and numbers for them."""

    name: str
    model: onnx.ModelProto
    inputs: Arrays


@dataclass(frozen=True)
class Ran:
    """Outputs by name, or why there are none."""

    refused: UnsupportedOperation | ConversionFailed | None = None
    outputs: Arrays = field(default_factory=dict)
    failed: str = ""


Case = tuple[Small, Lowered]


def run_all(smalls: Sequence[Small], target: Target, directory: Path) -> dict[str, Ran]:
    """What becomes of each model on a target's runtime, by its name."""
    found: dict[str, Ran] = {}
    lowered: dict[str, Case] = {}
    for small in smalls:
        assert small.name not in found
        assert small.name not in lowered
        try:
            lowered[small.name] = small, lower_small(small, target)
        except UnsupportedOperation as error:
            found[small.name] = Ran(refused=error)
    if lowered:
        run = _on_tflite if target == "tflite" else _on_tfjs
        found |= run(list(lowered.values()), directory)
    return found


def lower_small(small: Small, target: Target) -> Lowered:
    graph = rewritten(graph_of(small.model), target)
    inputs = [TensorSpec(n, a.shape, "features") for n, a in small.inputs.items()]
    outputs = [
        TensorSpec(name, graph.shapes[name], "features", tolerance=1) for name in graph.outputs
    ]
    result = lower(graph, inputs, outputs, target)
    if target == "tfjs" and (missing := {n.op for n in result.graph.node} - SUPPORTED - {"Const"}):
        raise UnsupportedOperation(f"TF.js does not have {', '.join(sorted(missing))}")
    return result


def joined(parts: Sequence[Lowered]) -> Lowered:
    """One graph of several that share nothing, the n-th with names that begin with `n<n>_`."""
    graph, inputs, outputs = GraphDef(), [], []
    for index, part in enumerate(parts):
        prefix = prefix_of(index)
        graph.versions.CopyFrom(part.graph.versions)
        for node in part.graph.node:
            added = graph.node.add()
            added.CopyFrom(node)
            added.name = prefix + node.name
            added.input[:] = [prefix + name for name in node.input]
        inputs += [_renamed(port, prefix) for port in part.inputs]
        outputs += [_renamed(port, prefix) for port in part.outputs]
    return Lowered(graph, tuple(inputs), tuple(outputs))


def prefix_of(index: int) -> str:
    return f"n{index}_"


def _renamed(port: Port, prefix: str) -> Port:
    return replace(port, name=prefix + port.name, stored_as=prefix + port.stored_as)


def _on_tflite(cases: list[Case], directory: Path) -> dict[str, Ran]:
    found: dict[str, Ran] = {}
    for start in range(0, len(cases), AT_ONCE):
        found |= _converted(cases[start : start + AT_ONCE])
    return found


def _converted(cases: list[Case]) -> dict[str, Ran]:
    """What these give together; where that fails, each by itself."""
    try:
        return _interpreted(cases)
    except (ConversionFailed, UnsupportedOperation, RuntimeError) as error:
        if len(cases) > 1:
            half = len(cases) // 2
            return _converted(cases[:half]) | _converted(cases[half:])
        name = cases[0][0].name
        return {name: Ran(failed=str(error)) if isinstance(error, RuntimeError) else Ran(error)}


def _interpreted(cases: list[Case]) -> dict[str, Ran]:
    from ai_edge_litert.interpreter import Interpreter

    whole = joined([lowered for _, lowered in cases])
    data = stored(to_flatbuffer(whole), whole, "float32")
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    feeds: Arrays = {}
    for index, (small, lowered) in enumerate(cases):
        given = take_inputs(lowered.inputs, small.inputs)
        feeds |= {prefix_of(index) + name: array for name, array in given.items()}
    results = interpreter.get_signature_runner()(**feeds)
    return {
        small.name: Ran(outputs=_logical(lowered, results, prefix_of(index)))
        for index, (small, lowered) in enumerate(cases)
    }


def _on_tfjs(cases: list[Case], directory: Path) -> dict[str, Ran]:
    whole = joined([lowered for _, lowered in cases])
    path = directory / "tfjs_model"
    save(written(fused(whole.graph), whole.inputs, whole.outputs, Storing("float32")), path)
    runner = open_runner(Artifact(path, "tfjs", "float32", whole.inputs, whole.outputs))
    found = {}
    try:
        for index, (small, lowered) in enumerate(cases):
            prefix = prefix_of(index)
            ports = [_renamed(port, prefix) for port in lowered.inputs]
            given = take_inputs(ports, {prefix + n: a for n, a in small.inputs.items()})
            # Only this model's outputs are fetched, so that the others are not computed, and an
            # error is its own.
            names = [prefix + port.stored_as for port in lowered.outputs]
            header, results = runner._host.ask({"fetch": names}, given, runner.seconds)
            if "error" in header:
                found[small.name] = Ran(failed=str(header["error"]))
                continue
            try:
                found[small.name] = Ran(outputs=_logical(lowered, results, prefix))
            except BadArtifact as error:
                found[small.name] = Ran(failed=error.what)
    finally:
        runner.close()
    return found


def _logical(lowered: Lowered, results: Mapping[str, np.ndarray], prefix: str) -> Arrays:
    return {
        port.name: cast(np.ndarray, port.to_logical(results[prefix + port.stored_as]))
        for port in lowered.outputs
    }


@dataclass(frozen=True)
class Check:
    """A model, the outputs that it has to have, and how far from them, in units of the largest."""

    small: Small
    wanted: Arrays
    tolerance: float = 1e-6

    def failure(self, ran: Ran) -> str:
        if ran.refused is not None:
            return f"refused: {ran.refused.what}"
        if ran.failed:
            return f"failed: {ran.failed}"
        assert ran.outputs.keys() == self.wanted.keys()
        for name, want in self.wanted.items():
            found, want = ran.outputs[name], want.astype(np.float32)
            if found.shape != want.shape:
                return f"{name} has shape {found.shape}, not {want.shape}"
            error = float(np.abs(found - want).max())
            if not error <= self.tolerance * max(float(np.abs(want).max()), 1):
                return f"{name} is off by {error:.3g} of {np.abs(want).max():.3g}"
        return ""


def failures(checks: Sequence[Check], target: Target, directory: Path) -> dict[str, str]:
    """What is wrong on a target, by the models' names; nothing where all is right."""
    ran = run_all([check.small for check in checks], target, directory)
    found = {check.small.name: check.failure(ran[check.small.name]) for check in checks}
    return {name: failure for name, failure in found.items() if failure}


def node_check(
    name: str,
    op: str,
    inputs: Mapping[str, np.ndarray],
    wanted: Arrays | np.ndarray,
    fed: Sequence[str] = ("x",),
    *,
    opset: int = 21,
    tolerance: float = 1e-6,
    **attributes: object,
) -> Check:
    """A check of one node. Inputs that are not fed are constants; `none...` is one left out."""
    if isinstance(wanted, np.ndarray):
        wanted = {"y": wanted}
    model = one_node(op, inputs, wanted, fed, opset, **attributes)
    return Check(Small(name, model, {n: inputs[n] for n in fed}), wanted, tolerance)


def one_node(
    op: str,
    inputs: Mapping[str, np.ndarray],
    outputs: Arrays,
    fed: Sequence[str],
    opset: int,
    **attributes: object,
) -> onnx.ModelProto:
    names = ["" if name.startswith("none") else name for name in inputs]
    node = onnx.helper.make_node(op, names, list(outputs), "node", **attributes)
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [_info(name, inputs[name]) for name in fed],
        [_info(name, array) for name, array in outputs.items()],
        [
            onnx.numpy_helper.from_array(array, name)
            for name, array in inputs.items()
            if name not in fed and not name.startswith("none")
        ],
    )
    imports = [onnx.helper.make_opsetid("", opset)]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)


def _info(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return onnx.helper.make_tensor_value_info(name, kind, array.shape)
