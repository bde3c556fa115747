"""What the tests of the lowering share: PyTorch -> ONNX -> a format, run and compared."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxsim
import torch
from torch import nn

from converters.api import Artifact, Export
from converters.tfjs.runner import open_runner as open_tfjs
from converters.tflite.runner import open_runner as open_tflite
from model_defs.spec import TensorSpec

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """An export, inputs, and what PyTorch makes of them."""

    export: Export
    inputs: Arrays
    outputs: Arrays


def specs(arrays: Mapping[str, np.ndarray]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(n, a.shape, "features", tolerance=1e-5) for n, a in arrays.items())


def case(
    directory: Path,
    module: nn.Module,
    inputs: Sequence[torch.Tensor],
    outputs: Sequence[str] = ("y",),
    precision: str = "float32",
) -> Case:
    """Exports a module whose inputs are called x, x1, x2 and so on."""
    torch.backends.mha.set_fastpath_enabled(False)  # the exporter does not know its operator
    names = ["x", *(f"x{i}" for i in range(1, len(inputs)))]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = module.eval()(*inputs)
        torch.onnx.export(
            module,
            tuple(inputs),
            str(directory / "model.onnx"),
            dynamo=False,
            opset_version=17,
            input_names=names,
            output_names=list(outputs),
        )
    simplified, _ = onnxsim.simplify(onnx.load(directory / "model.onnx"))
    onnx.save(simplified, directory / "model.onnx")
    results = results if isinstance(results, tuple) else (results,)
    given = {n: t.numpy() for n, t in zip(names, inputs, strict=True)}
    wanted = {n: t.numpy() for n, t in zip(outputs, results, strict=True)}
    return Case(Export(directory, specs(given), specs(wanted), precision), given, wanted)


def tflite_outputs(artifact: Artifact, inputs: Arrays) -> Arrays:
    runner = open_tflite(artifact)
    outputs = runner.run(inputs)
    runner.close()
    return outputs


def tfjs_outputs(artifact: Artifact, inputs: Arrays) -> Arrays:
    runner = open_tfjs(artifact)
    try:
        return runner.run(inputs)
    finally:
        runner.close()


def worst(outputs: Arrays, wanted: Arrays) -> float:
    """The largest error of any output, in units of that output's largest value (at least 1)."""
    assert outputs.keys() == wanted.keys()
    assert wanted
    errors = []
    for name, want in wanted.items():
        assert outputs[name].shape == want.shape
        assert np.isfinite(outputs[name]).all(), f"{name} is not finite"
        errors.append(np.abs(outputs[name] - want).max() / max(np.abs(want).max(), 1))
    return float(max(errors))


def operations(path: Path) -> list[str]:
    """The operations of a .tflite file in order, without weights' DEQUANTIZE."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    codes = [names[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in model.operatorCodes]
    found = [codes[op.opcodeIndex] for op in model.subgraphs[0].operators]
    return [name for name in found if name != "DEQUANTIZE"]


def parsed(text: str, opset: int = 17) -> onnx.ModelProto:
    """A model in ONNX's own text form: the graph alone."""
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> net {text}')


def text_case(directory: Path, text: str, precision: str = "float32") -> Case:
    """A model in text form, inputs for it, and what ONNX's reference makes of them."""
    from onnx.reference import ReferenceEvaluator

    model = parsed(text)
    onnx.save(model, directory / "model.onnx")
    numbers = np.random.default_rng(0)
    inputs = {
        value.name: numbers.uniform(
            -2, 2, [d.dim_value for d in value.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for value in model.graph.input
    }
    names = [value.name for value in model.graph.output]
    results = ReferenceEvaluator(model).run(names, inputs)
    outputs = {n: np.asarray(r, np.float32) for n, r in zip(names, results, strict=True)}
    return Case(Export(directory, specs(inputs), specs(outputs), precision), inputs, outputs)
