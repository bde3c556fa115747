"""Each reason for which a convolution of an enlarged map stays one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converters.lowering.graph import Graph, graph_of
from converters.lowering.rewrites.conv_of_nearest import ConvOfNearest
from tests.converters.tf_checks import parsed

ALWAYS = ConvOfNearest(per_weight=0)
CHANNELS = 20
"""As few as a kernel of 3 needs, for which to move the results pays."""

NET = """(float[1,{c},4,5] x) => (float[1,1,8,10] y)
<float[4] s = {{1, 1, 2, 2}}, float[1,{c},3,3] w = {{{weights}}}, float[1] b = {{0.5}}> {{
    u = Resize<mode="nearest", coordinate_transformation_mode="asymmetric",
        nearest_mode="floor">(x, , s)
    y = Conv<pads=[1,1,1,1]>(u, w, b)
}}"""


def numbers(channels: int) -> str:
    """The weights of a kernel of 3, as the text of a model has them."""
    return ",".join(str(i % 7 - 3) for i in range(9 * channels))


WEIGHTS = numbers(CHANNELS)


def net(*changes: tuple[str, str], channels: int = CHANNELS) -> Graph:
    """The network after changes of its text; the rewrite fires on it without any."""
    text = NET.format(c=channels, weights=numbers(channels))
    for old, new in changes:
        assert old in text, f"'{old}' is not in the text"
        text = text.replace(old, new)
    return graph_of(parsed(text))


def fires(graph: Graph, rewrite: ConvOfNearest = ALWAYS) -> bool:
    result = rewrite(graph)
    assert rewrite(result) is result, "a second time has to change nothing"
    return result is not graph


def test_fires_on_the_network_that_the_guards_change() -> None:
    assert fires(net())
    assert fires(net(("(u, w, b)", "(u, w)")))


GUARDS = {
    "strides": [("Conv<", "Conv<strides=[2,2], "), ("1,8,10] y", "1,4,5] y")],
    "dilation": [("pads=[1,1,1,1]", "pads=[2,2,2,2], dilations=[2,2]")],
    "groups": [
        ("Conv<", "Conv<group=2, "),
        (f"float[1,{CHANNELS},3,3] w", f"float[2,{CHANNELS // 2},3,3] w"),
        ("1,8,10] y", "2,8,10] y"),
        ("u, w, b", "u, w"),
    ],
    "a kernel that is computed": [
        ("y = Conv", "v = Relu(w)\n    y = Conv"),
        ("u, w, b", "u, v, b"),
    ],
    "a bias that is computed": [("y = Conv", "v = Relu(b)\n    y = Conv"), ("u, w, b", "u, w, v")],
    "a padding that it finds itself": [("pads=[1,1,1,1]", 'auto_pad="SAME_UPPER"')],
    "a padding that crops": [("pads=[1,1,1,1]", "pads=[-1,1,1,1]"), ("8,10] y", "6,10] y")],
    "rows that are not whole groups": [("[1,1,1,1]", "[0,1,1,1]"), ("8,10] y", "7,10] y")],
    "a linear enlargement": [('mode="nearest"', 'mode="linear"')],
    "aligned corners": [("asymmetric", "align_corners")],
    "two numbers": [("1, 1, 2, 2", "1, 1, 2, 3"), ("8,10] y", "8,15] y")],
    "one direction": [("1, 1, 2, 2", "1, 1, 1, 2"), ("8,10] y", "4,10] y")],
    "no whole number": [("1, 1, 2, 2", "1, 1, 2, 2.25"), ("8,10] y", "8,11] y")],
    "another reader": [("y = Conv", "z = Relu(u)\n    y = Conv")],
    "an enlarged map that is shown": [("10] y)", f"10] y, float[1,{CHANNELS},8,10] u)")],
    "something in between": [("y = Conv", "v = Relu(u)\n    y = Conv"), ("(u, w", "(v, w")],
}


@pytest.mark.parametrize("name", GUARDS)
def test_does_not_convolve_the_small_map(name: str) -> None:
    assert not fires(net(*GUARDS[name]))


def test_does_not_fire_for_a_kernel_of_one_where_nothing_is_saved() -> None:
    single = [("3,3] w", "1,1] w"), ("[1,1,1,1]", "[0,0,0,0]")]
    few = (WEIGHTS, ",".join("1" for _ in range(CHANNELS)))
    assert not fires(net(*single, few))


def test_does_not_fire_where_a_result_saves_less_than_it_costs_to_move() -> None:
    assert not fires(net(channels=CHANNELS - 1))


def test_weighs_what_is_saved_against_what_the_kernel_grows_by() -> None:
    """80 results save 5 of 9 taps each, and 16 sums take the place of 9 taps: 400 / 7 = 57.1."""
    assert fires(net(), ConvOfNearest(per_weight=57))
    assert not fires(net(), ConvOfNearest(per_weight=58))


def test_a_convolution_of_a_line_stays() -> None:
    text = """(float[1,40,5] x) => (float[1,1,10] y) <float[3] s = {1, 1, 2}> {
        w = ConstantOfShape<value = float[1] {1}>(k)
        u = Resize<mode="nearest">(x, , s)
        y = Conv<pads=[1,1]>(u, w)
    }"""
    text = text.replace("float[3] s", "int64[3] k = {1, 40, 3}, float[3] s")
    graph = graph_of(parsed(text))
    constants = {**graph.constants, "w": np.ones((1, 40, 3), np.float32)}
    assert not fires(replace(graph, constants=constants))


def reflected(widths: str, *changes: tuple[str, str], mode: str = "reflect") -> Graph:
    return net(
        ("float[4] s", f"int64[8] p = {{{widths}}}, float[4] s"),
        (
            "y = Conv<pads=[1,1,1,1]>(u",
            f'v = Pad<mode="{mode}">(u, p)\n    y = Conv<pads=[0,0,0,0]>(v',
        ),
        *changes,
    )


EVEN = "0,0,1,1,0,0,1,1"


def test_a_reflection_by_one_is_the_edge_of_the_small_map() -> None:
    result = ALWAYS(reflected(EVEN))
    assert [node.op for node in result.nodes] == ["Pad", "ConvOfNearest"]
    assert result.nodes[0].attributes["mode"] == "edge"


@pytest.mark.parametrize(
    "graph",
    [
        reflected(EVEN, mode="edge"),
        reflected("0,0,1,1,0,0,1,0", ("8,10] y", "8,9] y")),
        reflected("0,1,1,1,0,0,1,1"),
        reflected("0,0,0,0,0,0,0,0", ("8,10] y", "6,8] y")),
        reflected(EVEN, ("y = Conv<pads=[0,0,0,0]>", "y = Conv<pads=[1,1,1,1]>")),
        reflected(EVEN, ("y = Conv", "z = Relu(v)\n    y = Conv")),
        reflected(EVEN, ("y = Conv", "z = Relu(u)\n    y = Conv")),
        reflected(EVEN, ("(u, p)", "(u, q)"), ("v = Pad", "q = Abs(p)\n    v = Pad")),
    ],
    ids=[
        *("edge", "one side less", "channels", "nothing", "zeros around it", "another reader"),
        *("another reader of the map", "computed"),
    ],
)
def test_does_not_convolve_the_small_map_for_another_padding(graph: Graph) -> None:
    assert not fires(graph)


def joined(maps: str, *changes: tuple[str, str], axis: int = 1) -> Graph:
    return net(
        ("4,5] x)", f"4,5] x, float[1,{CHANNELS},8,10] z)"),
        (f"float[1,{CHANNELS},3,3] w", f"float[1,{2 * CHANNELS},3,3] w"),
        (WEIGHTS, f"{WEIGHTS},{WEIGHTS}"),
        (
            "y = Conv<pads=[1,1,1,1]>(u",
            f"v = Concat<axis={axis}>({maps})\n    y = Conv<pads=[1,1,1,1]>(v",
        ),
        *changes,
    )


def test_fires_for_an_enlarged_map_that_is_joined() -> None:
    assert fires(joined("u, z"))
    assert fires(joined("z, u", axis=-3))


@pytest.mark.parametrize(
    "graph",
    [
        joined("u, u"),
        joined("u, z", ("y = Conv", "r = Relu(v)\n    y = Conv")),
        joined("u, z", ("y = Conv", "r = Relu(u)\n    y = Conv")),
        joined("z, z"),
    ],
    ids=["twice", "another reader", "another reader of the map", "not enlarged"],
)
def test_does_not_split_what_is_joined_otherwise(graph: Graph) -> None:
    assert not fires(graph)


def test_does_not_split_what_is_joined_along_another_axis() -> None:
    graph = net(
        ("1,8,10] y", "1,16,10] y"),
        ("4,5] x)", f"4,5] x, float[1,{CHANNELS},8,10] z)"),
        ("y = Conv<pads=[1,1,1,1]>(u", "v = Concat<axis=2>(u, z)\n    y = Conv<pads=[1,1,1,1]>(v"),
    )
    assert not fires(graph)


@pytest.mark.parametrize(
    ("behind", "ops"),
    [
        ("y = Relu(c)", ["ConvOfNearest"]),
        ("y = Elu(c)", ["ConvOfNearest"]),
        ("y = Elu<alpha=0.5>(c)", ["ConvOfNearest", "Elu"]),
        ("y = Tanh(c)", ["ConvOfNearest", "Tanh"]),
        ("r = Relu(c)\n    y = Add(r, c)", ["ConvOfNearest", "Relu", "Add"]),
    ],
)
def test_takes_in_the_activation_that_alone_reads_it(behind: str, ops: list[str]) -> None:
    graph = net(("y = Conv", "c = Conv"), ("w, b)", f"w, b)\n    {behind}"))
    assert [node.op for node in ALWAYS(graph).nodes] == ops
