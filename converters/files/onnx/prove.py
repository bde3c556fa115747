"""That the module made of an ONNX file computes what ONNX's own evaluators compute of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch

from converters.files.onnx.call import NodeCall
from converters.files.onnx.graph import OnnxGraph
from converters.files.onnx.module import OnnxModule
from converters.files.onnx.resize import weighed
from converters.lowering.graph import Node
from model_defs.errors import BadArtifact, ConversionFailed

SHARE = 5e-5
"""What two evaluators may differ by in float32, as a share of a value's largest number ..."""
SLACK = 20
"""... and so many times what the last bits of the inputs move it."""
FLIPPED = 1e-3
"""The share of whole numbers and truths that rounding may turn: argmax of two equals."""
RUNTIME, REFERENCE = "ONNX Runtime", "ONNX's reference evaluator"

Arrays = Mapping[str, np.ndarray]


def prove(graph: OnnxGraph, module: OnnxModule, inputs: Sequence[torch.Tensor]) -> str:
    """What the module was compared with, on these inputs, and found equal to but for rounding.

    Raises ConversionFailed, which names the first node that differs, and BadArtifact where no
    evaluator runs the file.
    """
    feeds = {fed.name: one.numpy() for fed, one in zip(graph.inputs, inputs, strict=True)}
    evaluator, wanted = _evaluate(graph, feeds, graph.outputs)
    found = _values(module, inputs)
    if not (apart := _apart(found, wanted, graph.outputs, {})):
        return evaluator
    moved = _values(module, [_nudged(one) for one in inputs])
    slack = {name: _distance(moved[name], found[name]) for name in found}
    if not _apart(found, wanted, graph.outputs, slack):
        return evaluator
    name = next(iter(apart))
    raise ConversionFailed(
        f"the file is read otherwise than {evaluator} computes it: output '{name}', {apart[name]}",
        where=_first(graph, evaluator, feeds, found, slack),
        do="this is a defect of mlship: report it with the file, or with that node of it",
    )


def _values(module: OnnxModule, inputs: Sequence[torch.Tensor]) -> dict[str, np.ndarray]:
    with torch.no_grad():
        return {name: value.numpy() for name, value in module.values(*inputs).items()}


def _nudged(value: torch.Tensor) -> torch.Tensor:
    """The numbers with other last bits."""
    if not value.is_floating_point():
        return value
    generator = torch.Generator().manual_seed(1)
    return value * (1 + 2.0**-22 * (torch.rand(value.shape, generator=generator) * 2 - 1))


def _evaluate(
    graph: OnnxGraph, feeds: Arrays, names: Sequence[str]
) -> tuple[str, dict[str, np.ndarray]]:
    """The evaluator that ran the file, and the values of these names."""
    try:
        return RUNTIME, _runtime(graph.model, feeds, names)
    except Exception:  # it is not installed, or lacks an operator: ONNX's own is asked
        pass
    try:
        return REFERENCE, _reference(graph.model, feeds, names)
    except Exception as error:  # the reference raises anything
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadArtifact(
            f"neither {RUNTIME} nor {REFERENCE} runs the file: {why[:300]}",
            where=str(graph.path),
            do="export it again, and run it with onnxruntime first",
        ) from error


def _with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The model with these outputs, whatever their types."""
    if [value.name for value in model.graph.output] == [*names]:
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[:]
    for name in names:
        changed.graph.output.add().name = name
    return changed


def _runtime(model: onnx.ModelProto, feeds: Arrays, names: Sequence[str]) -> dict[str, np.ndarray]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(
        _with_outputs(model, names).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )
    return dict(zip(names, session.run([*names], dict(feeds)), strict=True))


def _reference(
    model: onnx.ModelProto, feeds: Arrays, names: Sequence[str]
) -> dict[str, np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    with np.errstate(all="ignore"):
        evaluator = ReferenceEvaluator(_with_outputs(model, names), new_ops=[_resize()])
        found = evaluator.run([*names], dict(feeds))
    return {name: np.asarray(value) for name, value in zip(names, found, strict=True)}


def _resize() -> Any:
    """Resize by its weights: ONNX's own takes a tenth of a second for each number."""
    from onnx.reference.op_run import OpRun

    class Resize(OpRun):
        op_domain = ""

        def _run(self, *inputs: Any, **attributes: Any) -> tuple[np.ndarray, ...]:
            given = [None if one is None else torch.from_numpy(np.array(one)) for one in inputs]
            taken = tuple(
                one if one is not None and one.numel() else None
                for one in (*given, None, None, None)[:4]
            )
            said = {name: value for name, value in attributes.items() if value is not None}
            node = Node("Resize", "", ("",) * 4, ("",), said)
            opset = self.run_params["opsets"][""]
            layer = weighed(NodeCall(node, opset, taken, frozenset({1, 2, 3})))
            return (layer.module(taken[0]).numpy(),)

    return Resize


def _apart(
    found: Arrays, wanted: Arrays, names: Sequence[str], slack: Mapping[str, float]
) -> dict[str, str]:
    """The values that differ by more than rounding, and by how much."""
    told = {
        name: _difference(found[name], wanted[name], slack.get(name, 0.0))
        for name in names
        if name in found and name in wanted
    }
    return {name: why for name, why in told.items() if why}


def _difference(found: np.ndarray, wanted: np.ndarray, slack: float) -> str:
    if found.shape != wanted.shape:
        return f"of shape {found.shape}, not {wanted.shape}"
    if found.dtype != wanted.dtype:
        return f"of type {found.dtype}, not {wanted.dtype}"
    if wanted.dtype.kind != "f":
        count = int((found != wanted).sum())
        allowed = FLIPPED * wanted.size * (2 if slack else 1)
        return f"{count} of {wanted.size} numbers differ" if count > allowed else ""
    with np.errstate(all="ignore"):
        plain = np.isfinite(wanted)
        same = np.array_equal(found[~plain], wanted[~plain], equal_nan=True)
        if not same or not np.isfinite(found[plain]).all():
            return "where one is not finite, the other is"
        largest = float(np.abs(wanted[plain]).max(initial=0.0))
        off = float(np.abs(found[plain] - wanted[plain]).max(initial=0.0))
    if off <= SHARE * largest + SLACK * slack:
        return ""
    return f"off by {off:.3g} at numbers up to {largest:.3g}"


def _distance(left: np.ndarray, right: np.ndarray) -> float:
    """How far float values are apart, NaN and infinities aside."""
    if left.dtype.kind != "f":
        return float((left != right).any())
    with np.errstate(all="ignore"):
        apart = np.abs(left - right)
    return float(apart[np.isfinite(apart)].max(initial=0.0))


def _first(
    graph: OnnxGraph,
    evaluator: str,
    feeds: Arrays,
    found: Arrays,
    slack: Mapping[str, float],
) -> str:
    """The first node whose value differs, in the order of the file."""
    made = {name: node for node in graph.nodes for name in node.outputs if name in found}
    evaluate = _runtime if evaluator == RUNTIME else _reference
    try:
        wanted = evaluate(graph.model, feeds, [*made])
    except Exception:  # what runs may not run with all its values as outputs
        return str(graph.path)
    for name, why in _apart(found, wanted, [*made], slack).items():
        node = made[name]
        return f"{graph.path}, node '{node.name}' ({node.op}): {why}"
    return str(graph.path)
