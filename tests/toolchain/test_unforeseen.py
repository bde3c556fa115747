"""What PyTorch, onnx, a converter or we raise, at each step of a build, names that step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from converters import export, program_graph
from converters.api import Export, Program
from converters.graph import decompose, rules
from converters.graph.captured import capture_graph
from converters.graph.decompose import Rule
from converters.graph.writing import model
from converters.lowering import lower
from converters.processes import worker
from model_defs.errors import REPORT, ConversionFailed, UnsupportedOperation
from toolchain.build import build
from toolchain.cli.main import main
from toolchain.passes.fold_batchnorm import FoldBatchnorm

ERRORS = (RuntimeError("no\nmore"), KeyError("no"), AssertionError("no"))


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def mlship(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("place", "name", "code", "said"),
    [
        (FoldBatchnorm, "__call__", 4, "pass fold-batchnorm failed: {kind}"),
        (program_graph, "capture_graph", 2, "the module cannot be captured: {kind}"),
        (model, "_written", 2, "writing operation conv2d for a converter failed: {kind}"),
        (model, "_shapes", 4, "writing the graph as onnx failed: {kind}"),
        (build, "_build_model", 4, "mlship build failed: {kind}"),
    ],
    ids=["pass", "capture", "operation", "export", "last-resort"],
)
def test_a_build_says_which_step_failed_and_what_to_do(
    place: object,
    name: str,
    code: int,
    said: str,
    error: Exception,
    write_tiny: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    spec = write_tiny()
    monkeypatch.setattr(place, name, raising(error))
    result = mlship("build", spec, "--target", "android", "--out", tmp_path / "dist")
    assert result.exit_code == code
    kind = type(error).__name__
    assert said.format(kind=kind) in result.output
    assert "no" in result.output
    if name in ("__call__", "_shapes", "_written"):
        assert "report it with this message" in result.output
        assert "test_unforeseen.py:" in result.output  # where it was raised
    if name == "__call__":
        assert "leave fold-batchnorm out of the recipe" in result.output
    if name == "_written":
        assert "net.py:" in result.output
    # Of the last resort alone the traceback is shown: what is to be reported is nowhere else.
    assert ("Traceback" in result.output) == (name == "_build_model")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_rule_that_fails_refuses_the_operation_at_its_line(error: Exception) -> None:
    captured = capture_graph(nn.Sequential(nn.ReLU()).eval(), (torch.rand(1, 2),))
    with pytest.raises(UnsupportedOperation) as found:
        decompose.decompose(captured.copied(), {rules.aten.relu: Rule(raising(error))})
    assert "operation relu for a converter failed" in found.value.what
    assert found.value.__cause__ is error


def test_one_format_that_cannot_be_written_leaves_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from model_defs.spec import ModelSpec, TensorSpec

    sizes = (TensorSpec("x", (1, 2), "features"),), (TensorSpec("y", (1, 2), "map", tolerance=1),)
    spec = ModelSpec("net", nn.ReLU, *sizes)
    monkeypatch.setattr(model, "_shapes", raising(KeyError("no")))
    found = export.export_each(Program(spec, nn.ReLU().eval()), tmp_path, ("torchscript", "onnx"))
    assert isinstance(found, Export)
    assert found.torchscript.is_file()
    assert isinstance(found.refused["onnx"], ConversionFailed)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_converter_says_what_it_raised_and_how_to_report_it(
    error: Exception, tmp_path: Path
) -> None:
    exported = Export(tmp_path, (), (), "float32").to_json()
    job = {"export": exported, "directory": str(tmp_path), "options": {}, "further": {}}
    answer = worker._serve("tflite", raising(error), job)["error"]
    assert answer["kind"] == "ConversionFailed"
    assert f"the tflite converter failed: {type(error).__name__}" in answer["what"]
    assert "\n" not in answer["what"]
    assert answer["do"] == REPORT


def test_an_operation_whose_lowering_fails_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import numpy as np
    import onnx
    from onnx import helper

    from converters.lowering.graph import graph_of
    from model_defs.spec import TensorSpec

    shape = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [shape], [result])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    monkeypatch.setitem(lower.OPERATIONS, "Relu", raising(KeyError(np.int64(3))))
    with pytest.raises(UnsupportedOperation, match="Relu: lowering it failed: KeyError"):
        lower.lower(
            graph_of(made),
            [TensorSpec("x", (1, 2), "features")],
            [TensorSpec("y", (1, 2), "map", tolerance=1)],
            "tflite",
        )
