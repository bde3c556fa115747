"""An ONNX file as a model: read, made into PyTorch, proved; what is not sound is refused."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from converters.api import Program
from converters.capture import capture
from converters.files.onnx import call, graph, module, prove, table
from converters.files.onnx.call import Layer, NodeCall
from converters.files.onnx.graph import graph_of, read_graph
from converters.files.read import read as read_any
from converters.files.request import FileRequest, InputExample, parsed
from model_defs import lookup
from model_defs.errors import (
    BadArtifact,
    BadSpec,
    ConversionFailed,
    MlshipError,
    UnknownName,
    UnsupportedOperation,
)
from model_defs.spec import ModelSpec
from tests.converters.onnx_files import model, net, node, numbers, save
from toolchain.passes.fold_batchnorm import FoldBatchnorm


def read(path: Path, *said: str) -> ModelSpec:
    return read_any(":".join([str(path), *said]))


def evaluated(path: Path, spec_input: np.ndarray) -> list[np.ndarray]:
    import onnxruntime as ort

    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, {session.get_inputs()[0].name: spec_input})
    return found


def test_a_file_becomes_a_specification(tmp_path: Path) -> None:
    path = save(tmp_path, net(), "My Net_v2.onnx")
    spec = read(path)
    assert spec.name == "my-net-v2"
    assert [(t.name, t.shape, t.kind) for t in spec.inputs] == [
        ("pixel_values_0", (1, 3, 16, 16), "image")
    ]
    assert [(t.name, t.shape) for t in spec.outputs] == [
        ("mask", (1, 8, 16, 16)),
        ("probs", (1, 5)),
    ]
    assert all(t.tolerance for t in spec.outputs)
    assert "'pixel.values:0' of the file is called pixel_values_0" in spec.notes
    assert "'Mask' of the file is called mask" in spec.notes


def test_what_is_built_computes_the_file(tmp_path: Path) -> None:
    path = save(tmp_path, net())
    program = capture(read(path))
    pixels = torch.rand(1, 3, 16, 16)
    found = program.module(pixels)
    for got, want in zip(found, evaluated(path, pixels.numpy()), strict=True):
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-4, atol=1e-5)


def test_layers_are_pytorchs_own_under_the_names_of_their_numbers(tmp_path: Path) -> None:
    built = read(save(tmp_path, net())).build()
    kinds = {name: type(part) for name, part in built.named_modules()}
    assert kinds["stem.bn"] is nn.BatchNorm2d
    assert kinds["head"] is nn.Linear
    assert isinstance(built.get_submodule("stem.conv")[1], nn.Conv2d)  # after its uneven padding
    assert "head.weight" in dict(built.named_parameters())


def test_passes_find_the_layers(tmp_path: Path) -> None:
    program: Program = FoldBatchnorm()(capture(read(save(tmp_path, net()))))
    assert not any(isinstance(part, nn.BatchNorm2d) for part in program.module.modules())


def test_each_build_is_a_module_of_its_own(tmp_path: Path) -> None:
    spec = read(save(tmp_path, net()))
    one = spec.build()
    nn.init.zeros_(one.get_parameter("head.weight"))
    assert spec.build().get_parameter("head.weight").any()


def test_torch_exports_whole_operators(tmp_path: Path) -> None:
    built = read(save(tmp_path, net())).build()
    program = torch.export.export(built, (torch.rand(1, 3, 16, 16),), strict=False)
    names = {str(one.target) for one in program.graph.nodes if one.op == "call_function"}
    assert {"aten.conv2d.default", "aten.linear.default", "aten.batch_norm.default"} <= names
    assert "aten.upsample_bilinear2d.vec" in names


def test_a_product_and_its_bias_are_one_linear_layer() -> None:
    nodes = [node("MatMul", "x w", "p"), node("Add", "b p")]
    made = model(nodes, {"w": numbers(8, 4), "b": numbers(4)}, {"x": (1, 6, 8)})
    built = built_of(made)
    assert [type(part) for part in built.children()] == [nn.Linear]
    assert built.get_submodule("MatMul").bias is not None


def test_a_product_that_is_used_twice_keeps_its_own_value() -> None:
    nodes = [
        node("MatMul", "x w", "p"),
        node("Add", "p b", "q"),
        node("Mul", "p q"),
    ]
    made = model(nodes, {"w": numbers(8, 4), "b": numbers(4)}, {"x": (1, 6, 8)})
    built = built_of(made)
    assert next(type(part).__name__ for part in built.children()) == "Linear"
    value = torch.rand(1, 6, 8)
    product = value @ torch.from_numpy(numbers(8, 4))
    expected = product * (product + torch.from_numpy(numbers(4)))
    torch.testing.assert_close(built(value), expected)


def test_a_shared_layer_is_one_module() -> None:
    made = model([node("Conv", "x w", "a"), node("Conv", "a w")], {"w": numbers(3, 3, 1, 1)})
    built = built_of(made)
    assert len(list(built.parameters())) == 1


def built_of(made: onnx.ModelProto) -> nn.Module:
    read_of = graph_of(made)
    example = tuple(torch.rand(fed.shape) for fed in read_of.inputs)
    built = module.build(read_of, example)
    prove.prove(read_of, built, example)
    return built


def test_arithmetic_of_shapes_is_folded() -> None:
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Unsqueeze", "n axes", "n1"),
        node("Concat", "n1 rest", "shape", axis=0),
        node("Reshape", "x shape"),
    ]
    constants = {
        "zero": np.array(0),
        "axes": np.array([0]),
        "rest": np.array([-1]),
    }
    built = built_of(model(nodes, constants))
    assert len(built.steps) == 1
    assert not list(built.buffers())


def test_a_branch_of_a_known_condition_is_inlined() -> None:
    branches = {}
    for name, op in (("then_branch", "Relu"), ("else_branch", "Neg")):
        inner = [helper.make_node(op, ["x"], ["inner"], name=op)]
        out = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
        branches[name] = helper.make_graph(inner, name, [], [out])
    known = [
        node("Size", "x", "n"),
        node("Less", "n limit", "c"),
        node("If", "c", "y", **branches),
    ]
    built = built_of(model(known, {"limit": np.array(5)}))
    assert torch.equal(built(torch.ones(1, 3, 8, 8)), -torch.ones(1, 3, 8, 8))

    open_ = [node("ReduceMax", "x", "m"), node("Cast", "m", "c", to=TensorProto.BOOL)]
    with pytest.raises(UnsupportedOperation, match="If: its condition is computed while running"):
        built_of(model([*open_, node("If", "c", "y", **branches)]))


def test_functions_of_the_file_are_inlined(tmp_path: Path) -> None:
    made = model([helper.make_node("Twice", ["x"], ["y"], domain="mine")], domains=["mine"])
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    made.functions.append(helper.make_function("mine", "Twice", ["a"], ["b"], body, opsets))
    built = read(save(tmp_path, made)).build()
    assert torch.equal(built(torch.ones(1, 3, 8, 8)), torch.full((1, 3, 8, 8), 2.0))


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_other_floats_are_taken_as_float32(kind: int, tmp_path: Path) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [node("Mul", "x w", "m"), node("Cast", "m", to=kind)]
    spec = read(save(tmp_path, model(nodes, {"w": numbers(3, 1, 1).astype(dtype)}, kind=kind)))
    assert f"{dtype} of the file is taken as float32" in spec.notes
    assert capture(spec).module(torch.ones(1, 3, 8, 8)).dtype == torch.float32


def test_a_batch_that_is_open_is_one(tmp_path: Path) -> None:
    spec = read(save(tmp_path, net(batch="N")))
    assert spec.inputs[0].shape == (1, 3, 16, 16)
    assert "dimension N of input 'pixel.values:0' is the batch: taken as 1" in spec.notes


def test_sizes_that_are_open_are_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path, net("height", "width"))
    with pytest.raises(BadSpec, match=r"'pixel\.values:0' has a dimension 'height'") as caught:
        read(path)
    assert "net.onnx:pixel.values:0=1,3,224,224" in caught.value.do
    spec = read_any(f"{path}:pixel.values:0=1,3,8,24")
    assert spec.outputs[0].shape == (1, 8, 8, 24)


def test_what_is_said_of_shapes() -> None:
    assert parsed("a/net.onnx") == FileRequest(Path("a/net.onnx"))
    said = parsed("a/net.onnx:x:0=1,3,8,8:m=1:int32:-2..9:1,2:bool").examples
    assert said == (
        InputExample("x:0", (1, 3, 8, 8)),
        InputExample("m", (1,), "int32", -2, 9),
        InputExample("", (1, 2), "bool"),
    )
    assert parsed(":".join(["net.onnx", *map(str, said)])).examples == said
    for wrong in ("net.onnx:x", "net.onnx:x=", "net.onnx:x=1,a", "net.onnx:=1"):
        with pytest.raises(BadSpec, match="says no shapes"):
            parsed(wrong)


def test_tokens_and_truths_are_inputs(tmp_path: Path) -> None:
    table = numbers(10, 4)
    nodes = [node("Gather", "table tokens", "rows"), node("Where", "keep rows zero", "y")]
    made = model(nodes, {"table": table, "zero": np.float32([0])}, {"tokens": (1, 6), "keep": (1,)})
    tokens, keep = made.graph.input
    tokens.type.tensor_type.elem_type = TensorProto.INT64
    keep.type.tensor_type.elem_type = TensorProto.BOOL
    path = save(tmp_path, onnx.shape_inference.infer_shapes(made))
    spec = read(path, "tokens=1,6:int64:0..9")
    assert [(one.dtype, one.low, one.high) for one in spec.inputs] == [
        ("int64", 0, 9),
        ("bool", None, None),
    ]
    got = spec.build()(torch.tensor([[0, 9, 3, 3, 1, 2]]), torch.tensor([True]))
    np.testing.assert_array_equal(got[0].numpy(), table[[0, 9, 3, 3, 1, 2]])
    with pytest.raises(BadSpec, match="'keep' is bool, not int32"):
        read(path, "tokens=1,6:int64:0..9", "keep=1:int32:0..1")


def test_shapes_that_do_not_fit(tmp_path: Path) -> None:
    path = save(tmp_path, net("height", "width"))
    with pytest.raises(UnknownName, match=r"unknown input 'pixel'"):
        read(path, "pixel=1,3,8,8")
    with pytest.raises(BadSpec, match="more examples than inputs"):
        read(path, "1,3,8,8:1,3,8,8")
    assert read(path, "1,3,8,8").inputs[0].shape == (1, 3, 8, 8)
    with pytest.raises(BadSpec, match="does not fit"):
        read(path, "pixel.values:0=1,4,8,8")
    with pytest.raises(BadSpec, match="holds no numbers"):
        read(path, "pixel.values:0=1,3,0,8")


def test_the_lookup_finds_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, net())
    monkeypatch.chdir(tmp_path)
    (name,) = lookup.expand("net.onnx")
    assert name == str(tmp_path / "net.onnx")
    assert lookup.load(name).name == "net"
    with pytest.raises(BadArtifact, match="there is no such file"):
        lookup.load(lookup.expand("other.onnx")[0])


def test_a_node_that_is_read_otherwise_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(one: NodeCall) -> Layer:
        return one.apply(torch.sigmoid, 0)

    monkeypatch.setitem(table.OPERATIONS, "Relu", wrong)
    with pytest.raises(ConversionFailed, match="output 'Mask'") as caught:
        read(save(tmp_path, net()))
    assert "node '/stem/Relu' (Relu)" in caught.value.where


def test_the_reference_is_asked_where_no_runtime_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise ImportError("onnxruntime")

    monkeypatch.setattr(prove, "_runtime", missing)
    assert any(prove.REFERENCE in note for note in read(save(tmp_path, net())).notes)
    test_a_node_that_is_read_otherwise_is_named(tmp_path, monkeypatch)


def test_rounding_is_no_difference() -> None:
    want = np.array([1.0, 1000.0], np.float32)
    assert prove._difference(want + np.float32(0.01), want, 0.0) == ""
    assert "off by 1" in prove._difference(want + np.float32(1), want, 0.0)
    assert prove._difference(want + np.float32(1), want, 0.1) == ""
    assert "of shape" in prove._difference(want[:1], want, 0.0)
    assert "finite" in prove._difference(np.array([np.nan, 1000], np.float32), want, 9.0)
    assert "2 of 2" in prove._difference(np.array([1, 2]), np.array([2, 1]), 0.0)


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "unknown": (lambda: model([node("Unique", "x")]), "Unique (1 node)"),
    "foreign": (
        lambda: model(
            [helper.make_node("FusedConv", ["x"], ["y"], domain="com.microsoft")],
            domains=["com.microsoft"],
        ),
        "com.microsoft.FusedConv (1 node)",
    ),
    "quantised": (
        lambda: model(
            [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z")],
            {"s": np.array(0.1, np.float32), "z": np.array(0, np.uint8)},
        ),
        "QuantizeLinear (1 node), DequantizeLinear (1 node)",
    ),
    "training": (
        lambda: model(
            [node("BatchNormalization", "x a a a a", "y m v", training_mode=1)],
            {"a": numbers(3)},
        ),
        "BatchNormalization: training mode",
    ),
    "huge": (
        lambda: model(
            [node("ConstantOfShape", "n", "c"), node("Add", "x c")],
            {"n": np.array([1 << 30, 1 << 30])},
        ),
        "ConstantOfShape: a result of shape",
    ),
    "expanded": (
        lambda: model([node("Expand", "x n")], {"n": np.array([9999, 3, 9999, 9999])}),
        "Expand",
    ),
    "misfit": (lambda: model([node("Reshape", "x n")], {"n": np.array([7, -1])}), "Reshape: "),
    "weights": (
        lambda: model([node("Conv", "x w")], {"w": numbers(4, 7, 3, 3)}),
        "Conv: ",
    ),
    "old": (lambda: model([node("Relu", "x")], opset=5), "operators of version 5"),
    "text": (
        lambda: model([node("Identity", "s")], {"s": np.array(["a"])}),
        "",
    ),
    "integers": (
        lambda: model([node("Identity", "x")], kind=TensorProto.INT64),
        "which int64 the input x takes is not known",
    ),
    "bytes": (
        lambda: model([node("Identity", "x")], kind=TensorProto.UINT8),
        "uint8, not float32",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused(name: str, tmp_path: Path) -> None:
    make, why = REFUSED[name]
    with pytest.raises(MlshipError) as caught:
        read(save(tmp_path, make()))
    assert why in caught.value.what
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 64, b"PK\x03\x04" + b"\x00" * 99])
def test_a_file_that_is_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(BadArtifact):
        read(path)


def external(location: str, length: int = 24, offset: int = 0) -> onnx.ModelProto:
    """A model whose weights are said to lie in another file."""
    made = model([node("Add", "x w")], {"w": numbers(3, 2)}, {"x": (3, 2)})
    (tensor,) = made.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return made


def test_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(b"12345678" + numbers(3, 2).tobytes())
    built = read(save(tmp_path, external("sub/w.bin", offset=8))).build()
    torch.testing.assert_close(built(torch.zeros(3, 2)), torch.from_numpy(numbers(3, 2)))


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("../secret", "outside the file's folder"),
        ("a/../../secret", "outside the file's folder"),
        ("{tmp}/secret", "outside the file's folder"),
        ("link", "outside the file's folder"),
        ("", "outside the file's folder"),
        ("none.bin", "is missing"),
        (".", "is missing"),
        ("short.bin", "is cut off"),
    ],
)
def test_data_is_taken_from_the_folder_alone(location: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s" * 24)
    folder = tmp_path / "model"
    (folder / "a").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "short.bin").write_bytes(b"s" * 23)
    with pytest.raises(BadArtifact, match=why):
        read(save(folder, external(location.format(tmp=tmp_path))))


@pytest.mark.parametrize("offset", ["-8", "1e3", "x", str(2**70)])
def test_an_offset_that_is_none(offset: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"s" * 24)
    made = external("w.bin")
    made.graph.initializer[0].external_data[1].value = offset
    with pytest.raises(BadArtifact):
        read(save(tmp_path, made))


def test_a_damaged_file_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off anywhere, or with bytes changed anywhere: a module, or an MlshipError."""
    for home, name in ((graph, "LARGEST_INPUT"), (call, "LARGEST_RESULT")):
        monkeypatch.setattr(home, name, 1 << 16)  # of a size that changed, no minutes are spent
    whole = net(8, 8).SerializeToString()
    generator = random.Random(0)
    damaged = [whole[: generator.randrange(len(whole))] for _ in range(25)]
    for _ in range(75):
        changed = bytearray(whole)
        for _ in range(generator.choice((1, 1, 2, 8))):
            changed[generator.randrange(len(changed))] = generator.randrange(256)
        damaged.append(bytes(changed))
    refused = 0
    for data in damaged:
        path = tmp_path / "net.onnx"
        path.write_bytes(data)
        try:
            made = read_graph(FileRequest(path))
            module.build(made, [torch.rand(fed.shape) for fed in made.inputs])
        except MlshipError:
            refused += 1
    assert refused > 25


def test_reading_opens_no_other_file(tmp_path: Path) -> None:
    """A name in the file is never a path that is followed."""
    made = net()
    made.graph.initializer[0].name = "../../etc/passwd"
    made.graph.node[1].input[1] = "../../etc/passwd"
    built = read(save(tmp_path, made)).build()
    assert all("/" not in name for name, _ in built.named_parameters())
    assert os.listdir(tmp_path) == ["net.onnx"]
