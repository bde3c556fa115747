"""Files that compute in integers: their grids, read back, and what they compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import nn
from torch.nn import functional

from converters import mil
from converters.api import Artifact, Program
from converters.capture import capture
from converters.export import export
from converters.formats import open_runner
from converters.processes.worker import Worker
from converters.tflite.partitions import Partitions, partitions
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.data import calibration
from toolchain.quantization.activations import OnGrids
from toolchain.recipes import recipes

TYPE, OP = schema.TensorType, schema.BuiltinOperator


class Mixed(nn.Module):
    """Every layer with a kernel, a sum, a concatenation, pools, and floats at both ends."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.point = nn.Conv2d(16, 16, 1)
        self.up = nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1)
        self.small = nn.Conv2d(16, 16, 1)
        self.last, self.linear = nn.Conv2d(16, 2, 3, padding=1), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.first(x).relu()
        z = self.point(functional.relu6(self.depthwise(y))) + y
        pooled = functional.max_pool2d(y, 3, 2, 1)
        pooled = functional.interpolate(pooled, scale_factor=2.0, mode="bilinear")
        mask = self.last(self.up(torch.cat([z, y], 1)).relu()).sigmoid()
        return mask, self.linear(self.small(pooled).mean((2, 3)))


def program_of(module: nn.Module, recipe: str = "int8", **outputs: tuple[int, ...]) -> Program:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    image = TensorSpec("image", (1, 3, 24, 24), "image", low=0, high=1)
    shapes = outputs or {"mask": (1, 2, 24, 24), "values": (1, 4)}
    results = tuple(TensorSpec(n, shape, "map", tolerance=0.01) for n, shape in shapes.items())
    program = capture(ModelSpec("net", lambda: module, (image,), results))
    for step in recipes.find(recipe).load():
        program = step(program)
    assert isinstance(program.module, OnGrids)
    return program


def converted(program: Program, kind: str, folder: Path) -> Artifact:
    with Worker(kind) as worker:
        return worker.convert(export(program, folder / "export"), folder)


def model_of(artifact: Artifact) -> schema.ModelT:
    return schema.ModelT.InitFromPackedBuf(artifact.path.read_bytes())


def kinds(model: schema.ModelT) -> list[tuple[str, int]]:
    """Of each operation its name and the type of what it makes."""
    names = {v: k for k, v in vars(OP).items() if isinstance(v, int)}
    graph = model.subgraphs[0]
    return [
        (
            names[model.operatorCodes[op.opcodeIndex].builtinCode],
            graph.tensors[op.outputs[0]].type,
        )
        for op in graph.operators
    ]


@pytest.fixture(scope="module")
def program() -> Program:
    return program_of(Mixed())


@pytest.fixture(scope="module")
def artifact(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return converted(program, "tflite", tmp_path_factory.mktemp("integers"))


def worst(artifact: Artifact, program: Program) -> float:
    """The largest difference from PyTorch of any output, on the pictures of the calibration."""
    runner, found = open_runner(artifact), []
    for inputs in calibration.inputs_for(program)[:4]:
        got = runner.run(inputs)
        with torch.no_grad():
            want = program.module(torch.from_numpy(inputs["image"]))
        want = want if isinstance(want, tuple) else (want,)
        for spec, tensor in zip(program.spec.outputs, want, strict=True):
            assert float(tensor.std()) > 1e-3, "an output that says nothing"
            found.append(float(np.abs(got[spec.name] - tensor.numpy()).max()))
    runner.close()
    return max(found)


def test_all_that_can_be_computed_in_integers_is(artifact: Artifact) -> None:
    found = kinds(model_of(artifact))
    floats = [name for name, kind in found if kind == TYPE.FLOAT32]
    assert sorted(floats) == [*["DEQUANTIZE"] * 4, "LOGISTIC", "MEAN", "RESIZE_BILINEAR"]
    integers = {name for name, kind in found if kind == TYPE.INT8}
    assert integers >= {
        *("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"),
        *("ADD", "CONCATENATION", "PAD", "MAX_POOL_2D"),
    }
    assert partitions(artifact.path) == Partitions(1, ())


def test_it_computes_what_pytorch_computes_on_the_grids(
    artifact: Artifact, program: Program
) -> None:
    steps = [grid.scale for grid in program.module.grids.at.values()]
    assert worst(artifact, program) <= 2 * max(steps)


def test_grids_of_activations_are_the_passs_to_the_bit(
    artifact: Artifact, program: Program
) -> None:
    model = model_of(artifact)
    made = {i for op in model.subgraphs[0].operators for i in op.outputs}
    tensors = [model.subgraphs[0].tensors[i] for i in made]
    found = {
        (float(t.quantization.scale[0]), int(t.quantization.zeroPoint[0]))
        for t in tensors
        if t.type == TYPE.INT8
    }
    assert found == {(grid.scale, grid.zero) for grid in program.module.grids.at.values()}


def test_codes_of_weights_and_biases_are_the_passs(artifact: Artifact, program: Program) -> None:
    model = model_of(artifact)
    kernels, biases = {}, []
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if data is None or tensor.quantization is None:
            continue
        raw, scales = bytes(data), np.asarray(tensor.quantization.scale, np.float32)
        if tensor.type == TYPE.INT8:
            codes = np.frombuffer(raw, np.int8).reshape(tensor.shape)
            sizes = [1] * codes.ndim
            sizes[tensor.quantization.quantizedDimension] = -1
            numbers = codes * scales.reshape(sizes)
            kernels[tuple(sorted(numbers.ravel().tolist()))] = True
        elif tensor.type == TYPE.INT32:
            biases.append(np.frombuffer(raw, np.int32) * scales.astype(np.float64))
    named = dict(program.module.named_parameters())
    want = {tuple(sorted(p.ravel().tolist())) for n, p in named.items() if n.endswith("weight")}
    assert set(kernels) == want
    for name in (n for n in named if n.endswith("bias")):
        bias = named[name].numpy()
        assert any(b.shape == bias.shape and np.allclose(b, bias, atol=1e-6) for b in biases), name


def test_a_kernel_off_its_grid_leaves_its_layer_in_floats(tmp_path: Path) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second((self.first(x) * 0.3).relu())

    program = program_of(Scaled(), mask=(1, 2, 20, 20))
    artifact = converted(program, "tflite", tmp_path)
    found = kinds(model_of(artifact))
    assert ("CONV_2D", TYPE.INT8) in found
    assert worst(artifact, program) <= 2 * max(g.scale for g in program.module.grids.at.values())


def test_layers_that_are_kept_compute_in_floats(tmp_path: Path) -> None:
    from dataclasses import replace

    program = capture(program_of(Mixed()).spec)
    for step in replace(recipes.find("int8,weights-fp16"), keep={"up": "for this test"}).load():
        program = step(program)
    artifact = converted(program, "tflite", tmp_path)
    assert ("TRANSPOSE_CONV", TYPE.FLOAT32) in kinds(model_of(artifact))
    assert partitions(artifact.path) == Partitions(1, ())
    assert worst(artifact, program) <= 2 * max(g.scale for g in program.module.grids.at.values())


@pytest.mark.parametrize(("recipe", "bound"), [("int8", 1e-6), ("int8,weights-fp16", 0.02)])
def test_core_ml_computes_the_same(recipe: str, bound: float, tmp_path: Path) -> None:
    program = program_of(Mixed(), recipe)
    artifact = converted(program, "coreml", tmp_path)
    assert worst(artifact, program) <= bound
    operations = [op.type for op in mil.open_package(artifact.path).main.block.operations]
    assert operations.count("quantize") == operations.count("dequantize")
    assert operations.count("quantize") >= len(set(program.module.grids.at.values()))
    assert "constexpr_affine_dequantize" in operations


def test_core_ml_refuses_codes_that_are_not_int8(tmp_path: Path) -> None:
    from model_defs.errors import UnsupportedOperation

    class Reduced(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fake_quantize_per_tensor_affine(x, 0.01, 0, 0, 127)

    image = TensorSpec("image", (1, 3, 8, 8), "image", low=0, high=1)
    result = TensorSpec("result", (1, 3, 8, 8), "map", tolerance=0.1)
    program = capture(ModelSpec("net", Reduced, (image,), (result,)))
    with pytest.raises(UnsupportedOperation, match="codes from 0 to 127 are not int8"):
        converted(program, "coreml", tmp_path)
