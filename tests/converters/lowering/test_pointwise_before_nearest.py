"""Arithmetic before enlargement: equal to the bit, and each reason not to fire."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.lowering.graph import graph_of
from converters.lowering.rewrites.pointwise_before_nearest import PointwiseBeforeNearest
from converters.tfjs.convert import convert as to_tfjs
from converters.tflite.convert import convert as to_tflite
from tests.converters.tf_checks import parsed, text_case, tfjs_outputs, tflite_outputs, worst

PRODUCT = """(float[1,4,3,5] a, float[1,1,3,5] b) => (float[1,4,6,10] y)
<float[4] s = {{1, 1, 2, 2}}, float[4] t = {{1, 1, 2, 2}}> {{
    u = Resize<mode="{mode}", coordinate_transformation_mode="asymmetric",
        nearest_mode="floor">(a, , s)
    v = Resize<mode="nearest", coordinate_transformation_mode="asymmetric",
        nearest_mode="floor">(b, , t)
    y = {op}(u, v)
}}"""


def product(*changes: tuple[str, str], op: str = "Mul", mode: str = "nearest") -> str:
    text = PRODUCT.format(op=op, mode=mode)
    for old, new in changes:
        assert old in text, f"'{old}' is not in the text"
        text = text.replace(old, new)
    return text


def computed_small(text: str) -> bool:
    rewrite, graph = PointwiseBeforeNearest(), graph_of(parsed(text))
    result = rewrite(graph)
    assert rewrite(result) is result
    return result is not graph


@pytest.mark.parametrize("op", ["Add", "Max", "Min", "Mul", "Sub"])
def test_computes_on_small_maps_what_is_enlarged_alike(op: str, tmp_path: Path) -> None:
    text = product(op=op)
    result = PointwiseBeforeNearest()(graph_of(parsed(text)))
    assert [node.op for node in result.nodes] == [op, "Resize"]
    assert computed_small(product(("u, v", "v, u"), op=op))
    found = text_case(tmp_path, text)
    artifact = to_tflite(found.export, tmp_path)
    assert worst(tflite_outputs(artifact, found.inputs), found.outputs) == 0
    artifact = to_tfjs(found.export, tmp_path)
    assert worst(tfjs_outputs(artifact, found.inputs), found.outputs) == 0


def test_computes_on_small_maps_where_one_of_them_is_read_elsewhere() -> None:
    text = product(("10] y)", "10] y, float[1,1,6,10] v)"))
    result = PointwiseBeforeNearest()(graph_of(parsed(text)))
    assert [node.op for node in result.nodes] == ["Resize", "Mul", "Resize"]


def test_computes_a_chain_on_small_maps() -> None:
    chain = ("y = Mul(u, v)", "z = Mul(u, v)\n    y = Add(z, v)")
    result = PointwiseBeforeNearest()(graph_of(parsed(product(chain))))
    assert [node.op for node in result.nodes][-3:] == ["Mul", "Add", "Resize"]


@pytest.mark.parametrize(
    "text",
    [
        product(mode="linear"),
        product(("t = {1, 1, 2, 2}", "t = {1, 1, 2, 10}"), ("1,3,5] b", "1,3,1] b")),
        product(("u, v", "u, u")),
        product(("u, v", "u, w"), ("1,3,5] b", "1,3,5] b, float[1,1,6,10] w")),
        product(("4,6,10] y)", "4,6,10] y, float[1,4,6,10] u, float[1,1,6,10] v)")),
        product(
            ("1,4,3,5] a", "2,1,3,5] a"),
            ("1,1,3,5] b", "1,4,3,5] b"),
            ("1,4,6,10] y", "2,4,6,10] y"),
        ),
        product(("y = Mul(u, v)", "y = Max(u, v, v)")),
        product(("y = Mul(u, v)", "y = Pow(u, v)")),
    ],
    ids=[
        *("linear", "enlarged otherwise", "one map", "not enlarged", "both read elsewhere"),
        *("neither is whole", "three operands", "a power"),
    ],
)
def test_does_not_compute_on_small_maps(text: str) -> None:
    assert not computed_small(text)
