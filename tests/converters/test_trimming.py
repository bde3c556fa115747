"""Bytes that no runtime reads are left out, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from converters.coreml import shared as sharing
from converters.encodings import Encoding
from converters.mil.messages import messages
from converters.tflite import names as tflite_names
from converters.tflite.store import packed
from converters.tflite.trim import last_of_each_layer, trim
from converters.tflite.weights import store

MIL_pb2, Model_pb2 = messages("MIL_pb2"), messages("Model_pb2")


def model_of(*tensors: schema.TensorT) -> schema.ModelT:
    """A file with an empty first buffer, one of numbers, and another empty one."""
    graph = schema.SubGraphT(tensors=list(tensors), inputs=[], outputs=[], operators=[])
    data = np.arange(8, dtype=np.uint8)
    buffers = [schema.BufferT(), schema.BufferT(), schema.BufferT(data=data)]
    return schema.ModelT(version=3, operatorCodes=[], subgraphs=[graph], buffers=buffers)


def tensor(name: bytes, buffer: int, **more: object) -> schema.TensorT:
    return schema.TensorT(shape=np.array([2], np.int32), name=name, buffer=buffer, **more)


def read(model: schema.ModelT) -> list[schema.TensorT]:
    return list(schema.ModelT.InitFromPackedBuf(packed(model)).subgraphs[0].tensors)


def test_empty_buffers_and_scales_go_and_numbers_stay() -> None:
    empty = schema.QuantizationParametersT()
    model = model_of(tensor(b"a/x", 1, quantization=empty), tensor(b"arith.constant", 2))
    trim(model)
    assert len(model.buffers) == 2
    computed, constant = read(model)
    assert (computed.buffer, computed.name, computed.quantization) == (0, b"a/x", None)
    assert (constant.buffer, constant.name) == (1, b"1")
    assert model.buffers[1].data.tolist() == list(range(8))


def test_scales_stay() -> None:
    scales = schema.QuantizationParametersT(
        scale=np.float32([0.5, 2]), zeroPoint=np.zeros(2, np.int64), quantizedDimension=0
    )
    model = model_of(tensor(b"x", 2, quantization=scales))
    trim(model)
    (kept,) = read(model)
    assert kept.quantization.scale.tolist() == [0.5, 2]
    assert kept.quantization.zeroPoint.tolist() == [0, 0]


def test_metadata_keeps_its_buffer() -> None:
    model = model_of(tensor(b"x", 1))
    model.metadata = [schema.MetadataT(name="min_runtime_version", buffer=2)]
    trim(model)
    assert model.buffers[model.metadata[0].buffer].data.tolist() == list(range(8))


def test_equal_vectors_and_strings_are_written_once() -> None:
    one, two = (model_of(*[tensor(b"a long name of a value", 1)] * count) for count in (1, 2))
    assert len(packed(two)) - len(packed(one)) < 28  # another tensor, without shape and name


def test_equal_options_are_written_once() -> None:
    """The second convolution has the same as the first, or others."""

    def length(stride: int) -> int:
        model = model_of(tensor(b"x", 1))
        options = [schema.Conv2DOptionsT(strideW=w, strideH=2) for w in (2, stride)]
        model.subgraphs[0].operators = [
            schema.OperatorT(builtinOptionsType=1, builtinOptions=each) for each in options
        ]
        data = packed(model)
        read = schema.ModelT.InitFromPackedBuf(packed(model)).subgraphs[0].operators
        assert [op.builtinOptions.strideW for op in read] == [2, stride]
        return len(data)

    assert length(2) < length(3)


def test_a_list_among_the_options_is_kept() -> None:
    model = model_of(tensor(b"x", 1))
    options = schema.ReshapeOptionsT(newShape=np.array([1, 2], np.int32))
    kind = schema.BuiltinOptions.ReshapeOptions
    operator = schema.OperatorT(builtinOptionsType=kind, builtinOptions=options)
    model.subgraphs[0].operators = [operator]
    (read,) = schema.ModelT.InitFromPackedBuf(packed(model)).subgraphs[0].operators
    assert read.builtinOptions.newShape.tolist() == [1, 2]


def test_only_what_has_no_shape_says_that_it_has_a_rank() -> None:
    model = model_of(tensor(b"x", 1, hasRank=True), tensor(b"y", 2, hasRank=True))
    model.subgraphs[0].tensors[1].shape = np.array([], np.int32)
    trim(model)
    assert [t.hasRank for t in read(model)] == [False, True]


@pytest.mark.parametrize(
    ("name", "short"),
    [
        (b"a/Relu;b/BiasAdd;b/Conv2D;b/Const_1", b"a/Relu;b/BiasAdd"),
        (b"a/BiasAdd;a/Conv2D", b"a/BiasAdd"),
        (b"mask", b"mask"),
    ],
)
def test_a_fused_result_keeps_a_name_of_each_layer(name: bytes, short: bytes) -> None:
    assert last_of_each_layer(name) == short


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("Net/a/2/Relu/Relu;Net/a/0/Conv/BiasAdd", "a/2/Relu/Relu<0/Conv/BiasAdd"),
        ("Net/a/Relu/Relu;Net/b/Conv/BiasAdd", "a/Relu/Relu;b/Conv/BiasAdd"),
        ("Net/a/Relu/Relu;Net/a/b/Conv/BiasAdd", "a/Relu/Relu;a/b/Conv/BiasAdd"),
        ("Net/a/b/R;Net/a/c/D;Net/a/e;Net/a/b/F", "a/b/R<c/D;a/e<F"),
        ("Net/a/R;Net/a/R", "a/R;a/R"),
        ("Net/Slice/S;Net/Slice/S/begin", "Slice/S;Slice/S/begin"),
        ("mask", "mask"),
    ],
)
def test_a_short_name_stands_for_the_whole_one(name: str, saved: str) -> None:
    assert tflite_names.short(name) == saved
    assert tflite_names.whole(saved) == name.replace("Net/", "")
    assert tflite_names.layer_of(saved) == tflite_names.layer_of(name.replace("Net/", ""))


def test_names_of_other_tools_stay_as_they_are() -> None:
    name = "model/a/Relu;model/b/BiasAdd;model/b/Conv2D"
    assert tflite_names.whole(name) == name
    assert tflite_names.layer_of(name) == "model/b"
    assert tflite_names.layer_of("") == ""


@pytest.mark.parametrize(("kind", "kept"), [("FLOAT32", b"1"), ("FLOAT16", None), ("INT8", None)])
def test_constants_have_names_only_where_a_quantiser_may_ask(kind: str, kept: bytes | None) -> None:
    model = model_of(tensor(b"Net/a/x", 1), tensor(b"w", 3))
    model.buffers.append(schema.BufferT(data=np.ones(4, np.uint8)))
    model.subgraphs[0].tensors[1].type = getattr(schema.TensorType, kind)
    trim(model)
    assert [t.name for t in read(model)] == [b"a/x", kept]


@pytest.mark.parametrize(("dtype", "bias"), [("int8", "FLOAT32"), ("int4", "FLOAT16")])
def test_only_a_bias_beside_bytes_stays_float32(dtype: str, bias: str) -> None:
    """XNNPACK runs int8 with a float32 bias alone, and int4 not at all."""
    grid = Encoding(dtype, (0.5, 0.25))
    kernel = grid.numbers(np.arange(-3, 3, dtype=np.int8).reshape(2, 3))
    numbers = [kernel, np.float32([0.1, 0.2])]
    model = model_of(*(tensor(b"w", 3 + i) for i in range(2)), tensor(b"y", 1))
    for index, array in enumerate(numbers):
        data = np.frombuffer(array.tobytes(), np.uint8)
        model.buffers.append(schema.BufferT(data=data))
        model.subgraphs[0].tensors[index].shape = np.array(array.shape, np.int32)
    reads = schema.OperatorT(opcodeIndex=0, inputs=[0, 1], outputs=[2])
    model.subgraphs[0].operators.append(reads)
    store(model, "float16", [grid])
    stored = {t.buffer: t.type for t in model.subgraphs[0].tensors if t.buffer > 1}
    assert stored[4] == getattr(schema.TensorType, bias)
    assert stored[3] == getattr(schema.TensorType, dtype.upper())


def constant(block: MIL_pb2.Block, name: str, number: int, kind: str = "ints") -> None:
    operation = block.operations.add(type="const")
    operation.outputs.add(name=name)
    value = operation.attributes["val"].immediateValue.tensor
    getattr(value, kind).values.append(number)


def reader(block: MIL_pb2.Block, name: str, *reads: str) -> MIL_pb2.Operation:
    operation = block.operations.add(type="conv")
    operation.outputs.add(name=name)
    for number, read_ in enumerate(reads):
        operation.inputs[str(number)].arguments.add(name=read_)
    return operation


def shared(build: object) -> MIL_pb2.Block:
    model = Model_pb2.Model()
    block = model.mlProgram.functions["main"].block_specializations["CoreML6"]
    build(block)  # type: ignore[operator]
    sharing.share(model)
    return block


def names(block: MIL_pb2.Block) -> list[str]:
    return [operation.outputs[0].name for operation in block.operations]


def reads(operation: MIL_pb2.Operation) -> list[str]:
    return [operation.inputs[key].arguments[0].name for key in sorted(operation.inputs)]


def test_equal_constants_are_one_that_all_read() -> None:
    def build(block: MIL_pb2.Block) -> None:
        constant(block, "a", 1)
        reader(block, "x", "a")
        constant(block, "b", 1)
        constant(block, "c", 2)
        reader(block, "y", "b", "c")

    block = shared(build)
    assert names(block) == ["a", "x", "c", "y"]
    assert reads(block.operations[3]) == ["a", "c"]


def test_constants_of_another_type_stay_apart() -> None:
    def build(block: MIL_pb2.Block) -> None:
        constant(block, "a", 1)
        constant(block, "b", 1, "floats")

    assert names(shared(build)) == ["a", "b"]


def test_a_constant_that_is_an_output_stays() -> None:
    def build(block: MIL_pb2.Block) -> None:
        constant(block, "a", 1)
        constant(block, "b", 1)
        block.outputs.append("b")

    assert names(shared(build)) == ["a", "b"]


def test_numbers_in_the_weights_file_stay() -> None:
    def build(block: MIL_pb2.Block) -> None:
        for name in "ab":
            operation = block.operations.add(type="const")
            operation.outputs.add(name=name)
            operation.attributes["val"].blobFileValue.offset = 64

    assert names(shared(build)) == ["a", "b"]


def test_inner_blocks_read_what_is_outside() -> None:
    def build(block: MIL_pb2.Block) -> None:
        constant(block, "a", 1)
        constant(block, "b", 1)
        inner = reader(block, "x").blocks.add()
        constant(inner, "c", 1)
        reader(inner, "y", "c")
        inner.outputs.append("b")
        constant(block, "d", 1)
        reader(block, "z", "d")

    block = shared(build)
    assert names(block) == ["a", "x", "z"]
    (inner,) = block.operations[1].blocks
    assert names(inner) == ["y"]
    assert reads(inner.operations[0]) == ["a"]
    assert list(inner.outputs) == ["a"]
