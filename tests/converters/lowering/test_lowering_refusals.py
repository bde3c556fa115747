"""What cannot be lowered exactly is an error that says what it is and what to write instead."""

from __future__ import annotations

import pytest

from converters.lowering import lower as lowering
from converters.lowering.call import Call
from converters.lowering.graph import graph_of
from converters.lowering.lower import Lowered, lower
from converters.lowering.table import INSTEAD, OPERATIONS
from converters.lowering.value import Value
from model_defs.errors import UnsupportedOperation
from model_defs.spec import TensorSpec
from tests.converters.tf_checks import parsed


def lowered(text: str) -> Lowered:
    graph = graph_of(parsed(text))
    inputs = [TensorSpec(n, graph.shapes[n], "features") for n in graph.inputs]
    outputs = [TensorSpec(n, graph.shapes[n], "features", tolerance=1) for n in graph.outputs]
    return lower(graph, inputs, outputs, "tflite")


RESIZE = """(float[1,2,4,4] x) => (float[1,2,{size},{size}] y) <
    float[4] s = {{1, 1, {scale}, {scale}}}
> {{
    y = Resize<mode="linear", coordinate_transformation_mode="{mode}">(x, , s)
}}"""


def recurrent(op: str, attributes: str, lengths: tuple[int, int] = (3, 3)) -> str:
    """A layer of one feature and one unit."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    ones = ", ".join(["1"] * gates)
    return f"""(float[3,2,1] x) => (float[3,1,2,1] y) <
        float[1,{gates},1] w = {{{ones}}}, float[1,{gates},1] r = {{{ones}}},
        int32[2] n = {{{lengths[0]}, {lengths[1]}}}
    > {{
        y = {op}<hidden_size=1, {attributes}>(x, w, r, , n)
    }}"""


REFUSED = {
    "align_corners with size 4 times 0.6": RESIZE.format(size=2, scale=0.6, mode="align_corners"),
    "training mode": """(float[1,2,4,4] x) => (float[1,2,4,4] y) <float r = {0.5}, bool t = {1}> {
        y = Dropout(x, r, t)
    }""",
    "the places of its maxima": """(float[1,2,4,4] x) => (float[1,2,2,2] y, int64[1,2,2,2] p) {
        y, p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)
    }""",
    "select_last_index": """(float[1,2,4,4] x) => (int64[1,1,4,4] y) {
        y = ArgMax<axis=1, select_last_index=1>(x)
    }""",
    "auto_pad and output_shape": """(float[1,2,4,4] x) => (float[1,1,8,8] y) <
        float[2,1,2,2] w = {1, 2, 3, 4, 5, 6, 7, 8}
    > { y = ConvTranspose<strides=[2,2], auto_pad="SAME_UPPER">(x, w) }""",
    "an integer with a fractional exponent": """(int32[1,4] x, float[1,4] n) => (int32[1,4] y) {
        y = Pow(x, n)
    }""",
    "computes its weight while running": """(float[1,2,4,4] x, float[3,2,1,1] w) => (
        float[1,3,4,4] y
    ) {
        y = Conv(x, w)
    }""",
    "mode 'edge'": """(float[1,2,4,4] x) => (float[1,2,4,3] y) <int64[8] p = {0,0,0,-1,0,0,0,0}> {
        y = Pad<mode="edge">(x, p)
    }""",
    "LSTM: clip": recurrent("LSTM", "clip=1.0"),
    "LSTM: input_forget": recurrent("LSTM", "input_forget=1"),
    "RNN: activation 'softsign'": recurrent("RNN", 'activations=["Softsign"]'),
    "GRU: activations with parameters": recurrent(
        "GRU", 'activations=["LeakyRelu", "Tanh"], activation_alpha=[0.1]'
    ),
    "GRU: sequences of unlike lengths": recurrent("GRU", "linear_before_reset=1", lengths=(2, 3)),
    "RNN: direction 'sideways'": recurrent("RNN", 'direction="sideways"'),
    "not among the operations": """(float[2,4,4] x) => (float[2] y) {
        y = Det(x)
    }""",
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refuses_and_says_what_to_do(reason: str) -> None:
    with pytest.raises(UnsupportedOperation) as caught:
        lowered(REFUSED[reason])
    assert reason in caught.value.what
    assert "node '" in caught.value.where
    assert caught.value.do


def test_whole_scales_with_align_corners_are_lowered() -> None:
    assert lowered(RESIZE.format(size=8, scale=2, mode="align_corners")).outputs[0].shape[1] == 8


def test_an_attribute_that_we_do_not_know_is_refused() -> None:
    text = "(float[1,4] x) => (float[1,4] y) { y = Relu<slope=2>(x) }"
    with pytest.raises(UnsupportedOperation, match="Relu: attribute 'slope' is not supported"):
        lowered(text)


RELU = "(float[1,2,4,4] x) => (float[1,2,4,4] y) { y = Relu(x) }"


def of_another_shape(call: Call) -> Value:
    return call.value().transposed((0, 2, 1, 3))


def of_another_type(call: Call) -> Value:
    value = call.value()
    return Value(lowering.tf.gen_math_ops.greater(value.tensor, 0.0), value.order)


@pytest.mark.parametrize(
    ("liar", "message"),
    [
        (of_another_shape, r"lowered to shape \(1, 4, 2, 4\), where ONNX infers \(1, 2, 4, 4\)"),
        (of_another_type, "lowered to bool, where ONNX infers float32"),
    ],
)
def test_a_lowering_that_lies_about_its_result_is_found_out(
    liar: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OPERATIONS, "Relu", liar)
    with pytest.raises(UnsupportedOperation, match=message):
        lowered(RELU)


def test_what_to_write_instead_is_said_only_of_what_is_not_lowered() -> None:
    assert not INSTEAD.keys() & OPERATIONS.keys()
