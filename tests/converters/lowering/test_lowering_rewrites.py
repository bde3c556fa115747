"""Each rewrite: what it leaves, equal numbers, and one case per reason not to fire."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from converters.api import Export
from converters.lowering.rewrites import REWRITES, Rewrite
from converters.lowering.rewrites.broadcast_in_place import FAST_ON_WASM, BroadcastInPlace
from converters.lowering.rewrites.fuse_fake_quantize import FuseFakeQuantize
from converters.lowering.rewrites.fuse_gelu import FuseGelu
from converters.lowering.rewrites.fuse_group_norm import FuseGroupNorm
from converters.lowering.rewrites.max_pool_after_relu import MaxPoolAfterRelu
from converters.lowering.rewrites.nearest_as_concats import NearestAsConcats
from converters.lowering.rewrites.pad_as_slices import PadAsSlices
from converters.lowering.rewrites.pixel_shuffle_of_conv import PixelShuffleOfConv
from converters.lowering.rewrites.select_as_product import SelectAsProduct
from converters.lowering.rewrites.stacked_pixel_shuffle import StackedPixelShuffle
from converters.tfjs.convert import convert as to_tfjs
from converters.tflite.convert import convert as to_tflite
from converters.tflite.partitions import partitions
from model_defs.errors import UnsupportedOperation
from tests.converters.tf_checks import (
    case,
    operations,
    parsed,
    specs,
    text_case,
    tfjs_outputs,
    tflite_outputs,
    worst,
)


def after(rewrite: Rewrite, text: str, opset: int = 17) -> list[str]:
    """The operations that a rewrite leaves."""
    from converters.lowering.graph import graph_of

    graph = graph_of(parsed(text, opset))
    result = rewrite(graph)
    assert rewrite(result) is result, "a second time has to change nothing"
    return [node.op for node in result.nodes]


def declines(rewrite: Rewrite, text: str, opset: int = 17) -> bool:
    from converters.lowering.graph import graph_of

    graph = graph_of(parsed(text, opset))
    return rewrite(graph) is graph


def computes_the_same(directory: Path, text: str) -> bool:
    """In both formats, with all rewrites, what ONNX's reference computes."""
    case = text_case(directory, text)
    on_tflite = tflite_outputs(to_tflite(case.export, directory), case.inputs)
    on_tfjs = tfjs_outputs(to_tfjs(case.export, directory), case.inputs)
    return max(worst(on_tflite, case.outputs), worst(on_tfjs, case.outputs)) <= 1e-5


POOL = """(float[1,4,8,8] x) => (float[1,4,4,4] y) {{
    r = {before}(x)
    y = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(r)
}}"""


@pytest.mark.parametrize("before", ["Relu", "Sigmoid", "Abs"])
def test_pads_a_max_pool_with_zeros_where_nothing_is_below_zero(before: str) -> None:
    assert after(MaxPoolAfterRelu(), POOL.format(before=before)) == [before, "Pad", "MaxPool"]


def test_a_padded_max_pool_computes_the_same_in_one_partition(tmp_path: Path) -> None:
    text = POOL.format(before="Relu")
    assert computes_the_same(tmp_path, text)
    assert operations(tmp_path / "model.tflite") == ["RELU", "PAD", "MAX_POOL_2D"]
    assert partitions(tmp_path / "model.tflite").count == 1


def test_pads_a_max_pool_behind_joined_and_pooled_non_negative_maps() -> None:
    text = """(float[1,4,8,8] x) => (float[1,8,5,5] y) {
        a = Relu(x)
        b = Sigmoid(x)
        c = Concat<axis=1>(a, b)
        y = MaxPool<kernel_shape=[2,2], strides=[2,2], pads=[1,1,1,1]>(c)
    }"""
    assert after(MaxPoolAfterRelu(), text)[-2:] == ["Pad", "MaxPool"]


@pytest.mark.parametrize("before", ["Tanh", "Identity", "LeakyRelu"])
def test_does_not_pad_a_max_pool_with_zeros_over_what_may_be_negative(before: str) -> None:
    assert declines(MaxPoolAfterRelu(), POOL.format(before=before))


def test_a_gelu_is_one_operation_of_tflite_and_as_exact_as_pytorch(tmp_path: Path) -> None:
    x = torch.linspace(-9, 9, 4 * 30 * 30).reshape(1, 4, 30, 30)
    found = case(tmp_path, nn.GELU(), [x])
    artifact = to_tflite(found.export, tmp_path)
    assert operations(artifact.path) == ["GELU"]
    assert partitions(artifact.path).count == 1
    assert worst(tflite_outputs(artifact, found.inputs), found.outputs) <= 2e-7


def test_another_custom_operation_is_refused_when_the_file_is_stored(tmp_path: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    from converters.tflite.store import resolve_gelu

    found = case(tmp_path, nn.ReLU(), [torch.rand(1, 2, 3, 3)])
    data = to_tflite(found.export, tmp_path).path.read_bytes()
    model = schema.ModelT.InitFromPackedBuf(data)
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].customCode = b"FlexCumprod"
    with pytest.raises(UnsupportedOperation, match="TFLite has no operation FlexCumprod"):
        resolve_gelu(model)


def test_does_not_pad_a_max_pool_of_an_input_of_the_network() -> None:
    text = POOL.format(before="Relu").replace("(r)", "(x)")
    assert declines(MaxPoolAfterRelu(), text)


def test_does_not_pad_a_max_pool_behind_a_sum_with_something_negative() -> None:
    text = """(float[1,4,8,8] x) => (float[1,4,4,4] y) {
        r = Relu(x)
        s = Add(r, x)
        y = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(s)
    }"""
    assert declines(MaxPoolAfterRelu(), text)


def test_does_not_pad_a_max_pool_that_same_pads() -> None:
    text = """(float[1,4,8,8] x) => (float[1,4,8,8] y) {
        r = Relu(x)
        y = MaxPool<kernel_shape=[3,3], strides=[1,1], pads=[1,1,1,1]>(r)
    }"""
    assert declines(MaxPoolAfterRelu(), text)


CLIP = """(float[1,4,8,8] x) => (float[1,4,4,4] y) <float low = {{{low}}}, float high = {{6}}> {{
    r = Clip(x, {limits})
    y = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(r)
}}"""


def test_pads_a_max_pool_behind_a_clip_at_zero() -> None:
    text = CLIP.format(low=0, limits="low, high")
    assert after(MaxPoolAfterRelu(), text) == ["Clip", "Pad", "MaxPool"]


@pytest.mark.parametrize(("low", "limits"), [(-1, "low, high"), (0, ", high")])
def test_does_not_pad_a_max_pool_behind_a_clip_below_zero(low: int, limits: str) -> None:
    assert declines(MaxPoolAfterRelu(), CLIP.format(low=low, limits=limits))


def test_a_max_pool_in_ceil_mode_computes_the_same(tmp_path: Path) -> None:
    text = POOL.format(before="Relu").replace("8,8]", "7,8]").replace("4,4,4]", "4,3,4]")
    text = text.replace("pads=[1,1,1,1]", "ceil_mode=1")
    assert after(MaxPoolAfterRelu(), text) == ["Relu", "Pad", "MaxPool"]
    assert computes_the_same(tmp_path, text)


def test_does_not_pad_a_max_pool_that_returns_places() -> None:
    text = POOL.format(before="Relu").replace("y = Max", "y, p = Max")
    assert declines(MaxPoolAfterRelu(), text.replace("] y)", "] y, int64[1,4,4,4] p)"))


def test_does_not_pad_a_max_pool_that_says_how_it_pads_itself() -> None:
    text = POOL.format(before="Relu").replace("pads=[1,1,1,1]", 'auto_pad="SAME_LOWER"')
    assert declines(MaxPoolAfterRelu(), text)


def test_does_not_pad_a_dilated_max_pool() -> None:
    text = """(float[1,4,8,8] x) => (float[1,4,6,6] y) {
        r = Relu(x)
        y = MaxPool<kernel_shape=[3,3], dilations=[2,2], pads=[1,1,1,1]>(r)
    }"""
    assert declines(MaxPoolAfterRelu(), text)


STACK = """(float[1,3,4,5] a, float[1,3,4,5] b) => (float[1,{c},{h},{w}] y) {{
    axes = Constant<value_ints=[2]>()
    shape = Constant<value_ints=[1,{merged},4,5]>()
    p = Unsqueeze(a, axes)
    q = Unsqueeze(b, axes)
    r = Unsqueeze(a, axes)
    s = Unsqueeze(b, axes)
    t = Concat<axis={axis}>({parts})
    u = Reshape(t, shape)
    y = DepthToSpace<blocksize=2, mode="{mode}">(u)
}}"""
FOUR = {"c": 3, "h": 8, "w": 10, "merged": 12, "axis": 2, "parts": "p, q, r, s", "mode": "CRD"}


def test_joins_stacked_maps_along_the_channels(tmp_path: Path) -> None:
    text = STACK.format(**FOUR)
    assert after(StackedPixelShuffle(), text) == ["Concat", "DepthToSpace"]
    assert computes_the_same(tmp_path, text)
    assert operations(tmp_path / "model.tflite") == ["CONCATENATION", "DEPTH_TO_SPACE"]


def test_does_not_join_maps_for_a_shuffle_of_the_other_order() -> None:
    assert declines(StackedPixelShuffle(), STACK.format(**{**FOUR, "mode": "DCR"}))


def test_does_not_join_maps_that_are_not_one_per_phase() -> None:
    text = STACK.format(**{**FOUR, "parts": "p, q, r, s, p, q, r, s", "merged": 24, "c": 6})
    assert declines(StackedPixelShuffle(), text)


def test_does_not_join_maps_that_are_stacked_along_another_axis() -> None:
    text = STACK.replace("value_ints=[2]", "value_ints=[1]").format(**{**FOUR, "axis": 1})
    assert declines(StackedPixelShuffle(), text)


def test_does_not_join_maps_whose_stack_is_read_elsewhere() -> None:
    text = STACK.format(**FOUR).replace("] y)", "] y, float[1,3,4,4,5] t)")
    assert declines(StackedPixelShuffle(), text)


def test_does_not_join_maps_of_which_one_is_not_stacked() -> None:
    text = STACK.format(**{**FOUR, "parts": "p, q, r, w"})
    text = text.replace("] b)", "] b, float[1,3,1,4,5] w)", 1)
    assert declines(StackedPixelShuffle(), text)


def test_does_not_join_maps_that_are_reshaped_to_more_than_channels() -> None:
    text = STACK.format(**FOUR).replace("[1,12,4,5]", "[1,12,2,10]")
    assert declines(StackedPixelShuffle(), text.replace("3,8,10] y", "3,4,20] y"))


def test_does_not_join_maps_without_a_reshape() -> None:
    text = """(float[1,12,4,5] a) => (float[1,3,8,10] y) {
        b = Relu(a)
        y = DepthToSpace<blocksize=2, mode="CRD">(b)
    }"""
    assert declines(StackedPixelShuffle(), text)


SHUFFLE = """(float[1,3,4,5] x) => (float[1,2,8,10] y) <
    float[8,{inputs},1,1] w = {{{weights}}}, float[8] b = {{0,1,2,3,4,5,6,7}}
> {{
    c = Conv<group={group}>(x, w, b)
    y = DepthToSpace<blocksize=2, mode="{mode}">(c)
}}"""


def shuffle(group: int = 1, mode: str = "CRD") -> str:
    inputs = 3 // group
    weights = ",".join(str(i % 7 - 3) for i in range(8 * inputs))
    return SHUFFLE.format(inputs=inputs, weights=weights, group=group, mode=mode)


def test_reorders_the_filters_of_a_conv_for_its_pixel_shuffle(tmp_path: Path) -> None:
    from converters.lowering.graph import graph_of

    result = PixelShuffleOfConv()(graph_of(parsed(shuffle())))
    assert [node.attributes.get("mode") for node in result.nodes] == [None, "DCR"]
    assert computes_the_same(tmp_path, shuffle())
    assert operations(tmp_path / "model.tflite") == ["CONV_2D", "DEPTH_TO_SPACE"]


def test_does_not_reorder_filters_for_a_shuffle_of_the_other_order() -> None:
    assert declines(PixelShuffleOfConv(), shuffle(mode="DCR"))


def test_does_not_reorder_filters_that_a_group_keeps_in_place() -> None:
    text = shuffle().replace("group=1", "group=2").replace("x, w", "z, w")
    text = text.replace("[1,3,4,5] x", "[1,6,4,5] z")
    assert declines(PixelShuffleOfConv(), text)


def test_does_not_reorder_filters_whose_result_is_read_elsewhere() -> None:
    text = shuffle().replace("] y)", "] y, float[1,8,4,5] c)")
    assert declines(PixelShuffleOfConv(), text)


def test_does_not_reorder_filters_that_are_computed() -> None:
    text = """(float[1,3,4,5] x, float[8,3,1,1] w) => (float[1,2,8,10] y) {
        c = Conv(x, w)
        y = DepthToSpace<blocksize=2, mode="CRD">(c)
    }"""
    assert declines(PixelShuffleOfConv(), text)


GELU = """(float[1,4,5,6] x) => (float[1,4,5,6] y) {{
    root = Constant<value_float={root}>()
    one = Constant<value_float={one}>()
    half = Constant<value_float={half}>()
    a = Div(x, root)
    b = Erf(a)
    c = Add(b, one)
    d = Mul({factor}, c)
    y = Mul(d, half)
}}"""
EXACT = {"root": 1.4142135381698608, "one": 1.0, "half": 0.5, "factor": "x"}


def test_fuses_a_gelu_into_one_operation(tmp_path: Path) -> None:
    text = GELU.format(**EXACT)
    assert after(FuseGelu(), text) == ["Gelu"]
    assert computes_the_same(tmp_path, text)


@pytest.mark.parametrize(
    "other", [{"root": 1.5}, {"one": 2.0}, {"half": 0.6}, {"factor": "a"}], ids=str
)
def test_does_not_fuse_what_is_not_a_gelu(other: dict[str, object]) -> None:
    assert declines(FuseGelu(), GELU.format(**{**EXACT, **other}))


@pytest.mark.parametrize("inner", "abcd")
def test_does_not_fuse_a_gelu_whose_inner_value_is_read_elsewhere(inner: str) -> None:
    text = GELU.format(**EXACT).replace("] y)", f"] y, float[1,4,5,6] {inner})", 1)
    assert declines(FuseGelu(), text)


@pytest.mark.parametrize("value", ["a", "d"])
def test_does_not_fuse_a_gelu_whose_value_is_an_output(value: str) -> None:
    text = GELU.format(**EXACT).replace("] y)", f"] y, float[1,4,5,6] {value})", 1)
    assert declines(FuseGelu(), text)


GROUPS = """(float[1,6,4,5] x{more}) => (float[1,6,4,5] y) <
    float[3] s = {{0.5, 1.5, -2}}, float[3] b = {{0.1, -0.4, 0.9}},
    int64[3] merged = {{{merged}}}, int64[4] whole = {{{whole}}}
> {{
    r = Reshape(x, merged)
    i = InstanceNormalization<epsilon=0.1>(r, {factor}, b)
    y = Reshape(i, whole)
}}"""
THREE = {"more": "", "merged": "1, 3, -1", "whole": "1, 6, 4, 5", "factor": "s"}


def test_fuses_a_group_norm_and_leaves_the_map_as_it_lies(tmp_path: Path) -> None:
    text = GROUPS.format(**THREE)
    assert after(FuseGroupNorm(), text) == ["GroupNormalization"]
    assert computes_the_same(tmp_path, text)
    assert "TRANSPOSE" not in operations(tmp_path / "model.tflite")
    assert partitions(tmp_path / "model.tflite").count == 1


def test_does_not_fuse_a_norm_of_more_than_groups_and_positions() -> None:
    text = GROUPS.format(**{**THREE, "merged": "1, 3, 2, 20"}).replace("int64[3]", "int64[4]")
    assert declines(FuseGroupNorm(), text)


def test_does_not_fuse_a_norm_that_is_reshaped_to_something_else() -> None:
    text = GROUPS.format(**{**THREE, "whole": "1, 6, 5, 4"})
    assert declines(FuseGroupNorm(), text.replace("[1,6,4,5] y", "[1,6,5,4] y"))


def test_does_not_fuse_a_norm_across_channels() -> None:
    text = GROUPS.format(**THREE).replace("[1,6,4,5]", "[1,4,6,5]")
    assert declines(FuseGroupNorm(), text.replace("1, 6, 4, 5", "1, 4, 6, 5"))


def test_does_not_fuse_a_norm_with_computed_factors() -> None:
    text = GROUPS.format(**{**THREE, "more": ", float[3] f", "factor": "f"})
    assert declines(FuseGroupNorm(), text)


@pytest.mark.parametrize("inner", "ri")
def test_does_not_fuse_a_norm_whose_inner_value_is_read_elsewhere(inner: str) -> None:
    text = GROUPS.format(**THREE).replace("] y)", f"] y, float[1,3,40] {inner})")
    assert declines(FuseGroupNorm(), text)


def test_does_not_fuse_a_norm_of_what_is_not_reshaped() -> None:
    text = """(float[1,3,40] x) => (float[1,3,4,10] y) <
        float[3] s = {1, 2, 3}, int64[4] whole = {1, 3, 4, 10}
    > {
        i = InstanceNormalization(x, s, s)
        y = Reshape(i, whole)
    }"""
    assert declines(FuseGroupNorm(), text)


EXPAND = """(float[1,3,1,5] x, float[1,3,4,5] z, float[1,3,1,5] u) => (float[1,3,4,5] y) <
    int64[4] whole = {{1, 3, 4, 5}}
> {{
    e = Expand(x, whole)
    y = {op}({operands})
}}"""


@pytest.mark.parametrize("operands", ["e, z", "z, e"])
def test_leaves_broadcasting_to_the_reader(operands: str, tmp_path: Path) -> None:
    text = EXPAND.format(op="Sub", operands=operands).replace(", float[1,3,1,5] u", "")
    assert after(BroadcastInPlace(), text) == ["Sub"]
    assert computes_the_same(tmp_path, text)
    assert operations(tmp_path / "model.tflite") == ["SUB"]


def test_does_not_broadcast_where_nothing_else_has_the_full_size() -> None:
    assert declines(BroadcastInPlace(), EXPAND.format(op="Add", operands="e, u"))


def test_does_not_broadcast_into_the_same_expansion_twice() -> None:
    assert declines(BroadcastInPlace(), EXPAND.format(op="Mul", operands="e, e"))


def test_does_not_broadcast_into_what_does_not() -> None:
    text = EXPAND.format(op="Concat<axis=1>", operands="e, z").replace("3,4,5] y", "6,4,5] y")
    assert declines(BroadcastInPlace(), text)


def test_does_not_broadcast_an_expansion_that_is_an_output() -> None:
    text = EXPAND.format(op="Add", operands="e, z").replace("] y)", "] y, float[1,3,4,5] e)")
    assert declines(BroadcastInPlace(), text)


def test_broadcasts_one_of_two_expansions_that_one_operation_reads() -> None:
    text = EXPAND.format(op="Mul", operands="e, f").replace(
        "    y =", "    f = Expand(u, whole)\n    y ="
    )
    assert after(BroadcastInPlace(), text) == ["Expand", "Mul"]


PAD = """(float[1,2,5,6] x) => (float[1,2,{h},{w}] y) <int64[8] p = {{{pads}}}> {{
    y = Pad<mode="{mode}">(x, p)
}}"""


def pad(pads: str = "0,0,2,1,0,0,1,3", mode: str = "reflect", h: int = 8, w: int = 10) -> str:
    return PAD.format(pads=pads, mode=mode, h=h, w=w)


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_pads_by_slices_and_concatenations(mode: str, tmp_path: Path) -> None:
    assert set(after(PadAsSlices(), pad(mode=mode))) == {"Slice", "Concat"}
    assert computes_the_same(tmp_path, pad(mode=mode))
    assert set(operations(tmp_path / "model.tflite")) == {"SLICE", "CONCATENATION"}
    assert partitions(tmp_path / "model.tflite").count == 1


def test_one_slice_serves_every_repetition_of_an_edge() -> None:
    assert after(PadAsSlices(), pad("0,0,3,0,0,0,0,0", "edge", 8, 6)) == ["Slice", "Concat"]


def test_does_not_slice_for_a_mode_that_it_was_not_asked_for() -> None:
    assert declines(PadAsSlices(modes=("edge", "wrap")), pad())


def test_does_not_slice_for_a_constant_padding() -> None:
    assert declines(PadAsSlices(), pad(mode="constant"))


def test_does_not_slice_for_negative_widths() -> None:
    assert declines(PadAsSlices(), pad("0,0,-1,1,0,0,1,1", h=5, w=8))


def test_does_not_slice_where_nothing_is_padded() -> None:
    assert declines(PadAsSlices(), pad("0,0,0,0,0,0,0,0", h=5, w=6))


def test_does_not_slice_for_a_reflection_beyond_the_input() -> None:
    assert declines(PadAsSlices(), pad("0,0,5,0,0,0,0,0", h=10, w=6))


def test_slices_for_a_padding_that_wraps_around() -> None:
    text = pad("0,0,2,0,0,0,0,0", "wrap", 7, 6)
    assert after(PadAsSlices(), text, opset=19) == ["Slice", "Slice", "Concat"]


def test_does_not_slice_for_widths_of_some_axes() -> None:
    text = """(float[1,2,5,6] x) => (float[1,2,7,6] y) <int64[2] p = {1, 1}, int64[1] axes = {2}> {
        y = Pad<mode="reflect">(x, p, , axes)
    }"""
    assert declines(PadAsSlices(), text, opset=18)


def test_does_not_slice_for_computed_widths() -> None:
    text = """(float[1,2,5,6] x, int64[8] p) => (float[1,2,5,6] y) {
        y = Pad<mode="reflect">(x, p)
    }"""
    assert declines(PadAsSlices(), text)


def test_a_reflection_stays_one_operation_on_tfjs() -> None:
    modes = [r.modes for r in REWRITES["tfjs"] if isinstance(r, PadAsSlices)]
    assert modes == [("edge", "wrap")]


@pytest.mark.parametrize("target", REWRITES)
def test_names_are_unique_and_kebab_case(target: str) -> None:
    names = [rewrite.name for rewrite in REWRITES[target]]
    assert len(set(names)) == len(names)
    assert all(name == name.lower().replace("_", "-") for name in names)


def test_broadcasts_for_tfjs_only_what_is_fast_there() -> None:
    text = """(float[1,4,1,8] x, float[1,4,6,8] z) => (float[1,4,6,8] y)
    <int64[4] s = {1, 4, 6, 8}> {
        e = Expand(x, s)
        y = Max(e, z)
    }"""
    assert after(BroadcastInPlace(), text) == ["Max"]
    assert declines(BroadcastInPlace(ops=FAST_ON_WASM), text)


NEAREST = """(float[1,3,4,5] x) => (float[1,3,8,15] y) <float[4] s = {{1, 1, 2, 3}}> {{
    y = Resize<mode="nearest", {how}>(x, , s)
}}"""
ASYMMETRIC = 'coordinate_transformation_mode="asymmetric", nearest_mode="floor"'


@pytest.mark.parametrize("how", [ASYMMETRIC, 'nearest_mode="round_prefer_ceil"'])
def test_repeats_pixels_of_a_nearest_enlargement(how: str, tmp_path: Path) -> None:
    text = NEAREST.format(how=how)
    assert after(NearestAsConcats(), text) == ["RepeatPixels"]
    assert computes_the_same(tmp_path, text)
    assert partitions(tmp_path / "model.tflite").count == 1


def test_repeats_pixels_where_the_sizes_are_named(tmp_path: Path) -> None:
    text = NEAREST.format(how=ASYMMETRIC).replace("float[4] s = {1, 1, 2, 3}", SIZES)
    text = text.replace("(x, , s)", "(x, , , s)")
    assert after(NearestAsConcats(), text) == ["RepeatPixels"]
    assert computes_the_same(tmp_path, text)


SIZES = "int64[4] s = {1, 3, 8, 15}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('mode="nearest"', 'mode="linear"'),
        ('nearest_mode="floor"', 'nearest_mode="ceil"'),
        ("{1, 1, 2, 3}", "{1, 1, 2, 3.01}"),
        ("(x, , s)", "(x, , t)"),
        ("1, 1, 2, 3} >", "1, 1, 1, 1} >"),
    ],
    ids=["linear", "a row late", "not whole", "computed", "nothing to repeat"],
)
def test_does_not_repeat_pixels(old: str, new: str) -> None:
    text = NEAREST.format(how=ASYMMETRIC).replace("3}>", "3} >").replace(old, new)
    if "1, 1, 1, 1" in new:
        text = text.replace("8,15", "4,5")
    if new == "(x, , t)":
        text = text.replace("{\n", "{\n    t = Relu(s)\n", 1)
    assert declines(NearestAsConcats(), text)


def test_does_not_repeat_pixels_of_a_reduction() -> None:
    text = NEAREST.format(how=ASYMMETRIC).replace("2, 3}", "0.5, 1}").replace("8,15", "2,5")
    assert declines(NearestAsConcats(), text)


SELECT = """(float[1,4,6,6] x, float[1,1,6,6] m) => (float[1,4,6,6] y)
<float zero = {{0}}, float t = {{0.25}}, float w = {{3}}> {{
    {lines}
}}"""


def select(*lines: str) -> str:
    return SELECT.format(lines="\n    ".join(lines))


@pytest.mark.parametrize("compare", ["Greater", "Less", "GreaterOrEqual", "LessOrEqual"])
@pytest.mark.parametrize("branches", ["x, zero", "zero, x", "x, w", "w, m2"])
def test_selects_with_products(compare: str, branches: str, tmp_path: Path) -> None:
    text = select("m2 = Tanh(x)", f"c = {compare}(m, t)", f"y = Where(c, {branches})")
    left = after(SelectAsProduct(), text)
    assert "Where" not in left
    assert compare not in left
    assert computes_the_same(tmp_path, text)
    assert partitions(tmp_path / "model.tflite").count == 1


def test_selects_with_products_of_negated_and_counted_conditions(tmp_path: Path) -> None:
    text = select(
        "c = Greater(x, m)",
        "n = Not(c)",
        "a = Where(n, x, zero)",
        "b = Cast<to=1>(c)",
        "y = Add(a, b)",
    )
    assert after(SelectAsProduct(), text) == [
        "Sub",
        "Clip",
        "Ceil",
        "Sub",
        "Mul",
        "Identity",
        "Add",
    ]
    assert computes_the_same(tmp_path, text)
    assert partitions(tmp_path / "model.tflite").count == 1


@pytest.mark.parametrize("compare", ["Greater", "Less", "GreaterOrEqual", "LessOrEqual"])
def test_a_mask_is_exact_for_the_smallest_differences(compare: str, tmp_path: Path) -> None:
    """Neighbours, zeros of either sign, and the smallest numbers that are not taken for 0."""
    text = select(f"c = {compare}(x, m)", "y = Where(c, w, zero)")
    case = text_case(tmp_path, text)
    one = np.float32(1)
    near = np.array([one, np.nextafter(one, one * 2), -0.0, 0.0, 1.2e-38, -1.2e-38], np.float32)
    x = np.broadcast_to(near, (1, 4, 6, 6)).copy()
    inputs = {"x": x, "m": near[:, None].repeat(6, 1).reshape(1, 1, 6, 6).copy()}
    compared = {"Greater": np.greater, "Less": np.less}.get(compare)
    compared = compared or {"GreaterOrEqual": np.greater_equal}.get(compare, np.less_equal)
    want = {"y": np.where(compared(inputs["x"], inputs["m"]), 3, 0).astype(np.float32)}
    assert worst(tflite_outputs(to_tflite(case.export, tmp_path), inputs), want) == 0


def test_leaves_a_select_of_what_may_be_infinite() -> None:
    ratio = ("c = Greater(m, zero)", "r = Div(x, m)", "y = Where(c, r, zero)")
    assert declines(SelectAsProduct(), select(*ratio))
    for unbounded in ("Exp", "Log", "Sqrt", "Reciprocal"):
        made = ("c = Greater(m, zero)", f"r = {unbounded}(x)", "y = Where(c, r, zero)")
        assert declines(SelectAsProduct(), select(*made))


@pytest.mark.parametrize("bound", ["Max(m, t)", "Clip(m, t)", "Identity(t)"])
def test_selects_with_products_of_a_division_by_what_is_never_zero(bound: str) -> None:
    lines = ("c = Greater(m, zero)", f"d = {bound}", "r = Div(x, d)", "y = Where(c, r, zero)")
    text = select(*lines).replace("d = Identity(t)\n    ", "").replace("(x, d)", "(x, t)")
    assert "Where" not in after(SelectAsProduct(), text if "Identity" in bound else select(*lines))


def test_leaves_a_select_of_an_infinite_constant() -> None:
    from converters.lowering.graph import graph_of

    graph = graph_of(parsed(select("c = Greater(m, zero)", "y = Where(c, x, t)")))
    assert SelectAsProduct()(graph) is not graph
    lowest = {**graph.constants, "t": np.array(-np.inf, np.float32)}
    graph = replace(graph, constants=lowest)
    assert SelectAsProduct()(graph) is graph


def test_leaves_a_select_whose_condition_is_read_otherwise() -> None:
    lines = ("c = Greater(m, zero)", "d = Less(m, t)", "e = And(c, d)", "y = Where(c, x, zero)")
    assert declines(SelectAsProduct(), select(*lines))
    shown = select("c = Greater(m, zero)", "y = Where(c, x, zero)")
    assert declines(SelectAsProduct(), shown.replace("] y)", "] y, bool[1,1,6,6] c)"))


def test_leaves_comparisons_of_integers() -> None:
    text = select(
        "i = Cast<to=6>(m)", "j = Cast<to=6>(t)", "c = Greater(i, j)", "y = Where(c, x, t)"
    )
    assert declines(SelectAsProduct(), text)


def test_leaves_comparisons_without_a_select() -> None:
    assert declines(SelectAsProduct(), select("c = Greater(x, m)", "y = Cast<to=1>(c)"))


def test_for_tfjs_only_what_would_be_copied_is_a_product() -> None:
    alike = select("c = Greater(x, t)", "z = Tanh(x)", "y = Where(c, x, z)")
    assert declines(SelectAsProduct(broadcasting=True), alike)
    copied = select("c = Greater(m, t)", "z = Tanh(x)", "y = Where(c, x, z)")
    assert "Where" not in after(SelectAsProduct(broadcasting=True), copied)


ROUNDED = """(float[1, 3, 2, 2] x) => (float[1, 3, 2, 2] y)
<float scale = {0.25}, int8 zero = {-3}, float[3] scales = {0.25, 0.5, 1.0},
 int8[3] zeros = {0, 0, 0}, int16 wide = {0}, float other = {0.5}, uint8 half = {128}>
{ codes = QuantizeLinear(x, scale, zero) y = DequantizeLinear(codes, scale, zero) }"""


def test_quantising_and_dequantising_are_one_operation(tmp_path: Path) -> None:
    assert after(FuseFakeQuantize(), ROUNDED) == ["FakeQuantize"]
    assert after(FuseFakeQuantize(), ROUNDED.replace("zero)", "half)")) == ["FakeQuantize"]
    onnx.save(parsed(ROUNDED), tmp_path / "model.onnx")
    x = np.random.default_rng(0).uniform(-40, 40, (1, 3, 2, 2)).astype(np.float32)
    want = ((np.rint(x * 4) - 3).clip(-128, 127) + 3) / 4
    export = Export(tmp_path, specs({"x": x}), specs({"y": want}), "float32")
    outputs = tflite_outputs(to_tflite(export, tmp_path), {"x": x})
    np.testing.assert_array_equal(outputs["y"], want)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("DequantizeLinear(codes, scale", "DequantizeLinear(codes, other"),
        ("DequantizeLinear(codes, scale, zero", "DequantizeLinear<axis = 1>(codes, scales, zeros"),
        ("zero)", "wide)"),
        ("codes = QuantizeLinear", "s = ReduceMax<keepdims = 0>(x) codes = QuantizeLinear"),
        (") }", ") z = Cast<to = 1>(codes) }"),
    ],
    ids=["other scale", "scales of channels", "16 bits", "computed", "read elsewhere"],
)
def test_quantising_stays_where_it_is_not_one_operation(old: str, new: str) -> None:
    text = ROUNDED.replace(old, new)
    if "ReduceMax" in new:
        text = text.replace("(x, scale", "(x, s").replace("(codes, scale", "(codes, s")
    if "Cast" in new:
        text = text.replace("float[1, 3, 2, 2] y)", "float[1, 3, 2, 2] y, float[1, 3, 2, 2] z)")
    assert declines(FuseFakeQuantize(), text)
