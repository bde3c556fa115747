"""Convolutions of enlarged maps on the small map: equal numbers, and each reason not to fire."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters import tfjs, tflite
from converters.api import Artifact, Encoding
from converters.lowering.graph import Graph, graph_of
from converters.lowering.phases import Phases
from converters.lowering.rewrites import REWRITES
from converters.lowering.rewrites.conv_of_nearest import ConvOfNearest
from converters.lowering.rewrites.pointwise_before_nearest import PointwiseBeforeNearest
from tests.converters.tf_checks import (
    Case,
    case,
    operations,
    parsed,
    text_case,
    tfjs_outputs,
    tflite_outputs,
    worst,
)

ALWAYS = ConvOfNearest(per_weight=0)
CHANNELS = 20
"""As few as a kernel of 3 needs, for which to move the results pays."""


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """These maps are small: the rewrite is applied although it does not pay."""
    for target, rewrites in REWRITES.items():
        chain = tuple(ALWAYS if isinstance(r, ConvOfNearest) else r for r in rewrites)
        monkeypatch.setitem(REWRITES, target, chain)  # type: ignore[arg-type]


class Enlarged(nn.Module):
    """A convolution of an enlarged map, and what comes behind it."""

    def __init__(self, kernel: object, padding: object, scale: int = 2, **options: object) -> None:
        super().__init__()
        behind = options.pop("behind", nn.Identity())
        assert isinstance(behind, nn.Module)
        self.conv, self.scale, self.behind = (
            nn.Conv2d(CHANNELS, 3, kernel, 1, padding, **options),  # type: ignore[arg-type]
            scale,
            behind,
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(F.interpolate(x, scale_factor=self.scale, mode="nearest"))
        return self.behind(y)  # type: ignore[no-any-return]


def drawn(directory: Path, module: nn.Module, *shapes: tuple[int, ...]) -> Case:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return case(directory, module, [torch.randn(shape) for shape in shapes])


def left(found: Case) -> list[str]:
    """The operations of an export that the rewrites for TF.js leave."""
    from converters.lowering.graph import read_graph
    from converters.lowering.rewrites import rewritten

    return [node.op for node in rewritten(read_graph(found.export.onnx), "tfjs").nodes]


def errors(found: Case, directory: Path) -> tuple[float, float]:
    """On TFLite, in one partition, and on TF.js."""
    artifact = tflite.convert(found.export, directory)
    assert tflite.partitions(artifact.path) == tflite.Partitions(1, ())
    on_tflite = worst(tflite_outputs(artifact, found.inputs), found.outputs)
    artifact = tfjs.convert(found.export, directory)
    return on_tflite, worst(tfjs_outputs(artifact, found.inputs), found.outputs)


def reflecting(kernel: int, scale: int = 2, **options: object) -> Enlarged:
    return Enlarged(kernel, kernel // 2, scale, padding_mode="reflect", **options)


MODULES = {
    "3": lambda: Enlarged(3, 1),
    "5": lambda: Enlarged(5, 2),
    "7": lambda: Enlarged(7, 3),
    "no padding": lambda: Enlarged(5, 0),
    "more padding": lambda: Enlarged(3, 2),
    "not square": lambda: Enlarged((3, 5), (1, 2)),
    "even width": lambda: Enlarged((3, 4), (1, 2)),
    "three times": lambda: Enlarged(5, 2, 3),
    "no bias": lambda: Enlarged(3, 1, bias=False),
    "relu": lambda: Enlarged(3, 1, behind=nn.ReLU()),
    "elu": lambda: Enlarged(5, 2, behind=nn.ELU()),
    "reflect 3": lambda: reflecting(3),
    "reflect 5": lambda: reflecting(5),
    "reflect 7": lambda: reflecting(7, behind=nn.ReLU()),
    "reflect 9": lambda: reflecting(9),
    "reflect 5, three times": lambda: reflecting(5, 3),
}


@pytest.mark.parametrize("name", MODULES)
def test_computes_the_same_from_the_small_map(name: str, tmp_path: Path) -> None:
    found = drawn(tmp_path, MODULES[name](), (2, CHANNELS, 7, 9))
    assert "ConvOfNearest" in left(found)
    assert max(errors(found, tmp_path)) <= 2e-6


@pytest.mark.parametrize("seed", range(8))
def test_computes_the_same_for_random_shapes(seed: int, tmp_path: Path) -> None:
    numbers = np.random.default_rng(seed)
    kernel, scale = int(numbers.choice([3, 5, 7])), int(numbers.choice([2, 2, 3, 4]))
    mode = str(numbers.choice(["zeros", "reflect"]))
    shape = (1, CHANNELS, *(int(n) for n in numbers.integers(4, 12, 2)))
    module = Enlarged(kernel, kernel // 2, scale, padding_mode=mode)
    found = drawn(tmp_path, module, shape)
    graph = graph_of(__import__("onnx").load(found.export.onnx))
    rows = shape[2] * scale - 2 * max(kernel // 2 - scale + 1, 0) * (mode == "reflect")
    assert (ALWAYS(graph) is not graph) == (rows % scale == 0)
    assert max(errors(found, tmp_path)) <= 2e-6


def test_the_enlarged_map_is_not_made(tmp_path: Path) -> None:
    found = drawn(tmp_path, Enlarged(5, 2, behind=nn.ReLU()), (1, CHANNELS, 6, 7))
    assert left(found) == ["ConvOfNearest"]
    path = tflite.convert(found.export, tmp_path).path
    assert operations(path) == [
        *("PAD", "CONV_2D", "RESHAPE", "CONV_2D", "RESHAPE", "CONCATENATION", "RESHAPE")
    ]


def test_a_phase_sums_the_taps_that_fall_on_a_pixel() -> None:
    """Four ones of a kernel of 3 on one pixel: 1, 2, 2 and 4 taps by phase."""
    axis = Phases(size=4, scale=2, kernel=3, before=1, after=1)
    sums = np.stack([axis.taps(phase, axis.reach).sum(1) for phase in range(2)])
    assert sums.tolist() == [[2, 1], [1, 2]]
    assert [axis.row(nth) for nth in range(2)] == [(1, (1, 0)), (0, (0, 1))]


class Beside(nn.Module):
    """A convolution of maps side by side, of which some are enlarged."""

    def __init__(self, large: int, small: tuple[int, ...]) -> None:
        super().__init__()
        self.conv, self.large = nn.Conv2d(large + sum(small), 3, 3, 1, 1), large

    def forward(self, x: Tensor, *maps: Tensor) -> Tensor:
        large = [F.interpolate(m, scale_factor=2, mode="nearest") for m in maps]
        return self.conv(torch.cat([*large[1:], x, *large[:1]], 1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("small", [(CHANNELS,), (CHANNELS, 24)])
def test_an_enlarged_map_beside_others_is_convolved_alone(
    small: tuple[int, ...], tmp_path: Path
) -> None:
    shapes = [(1, channels, 5, 6) for channels in small]
    found = drawn(tmp_path, Beside(4, small), (1, 4, 10, 12), *shapes)
    assert sorted(left(found)) == ["Add", "Conv", "ConvOfNearest"][:3] + (
        ["Add", "ConvOfNearest"] if len(small) > 1 else []
    ) or sorted(left(found)) == sorted(
        ["Add", "Conv", "ConvOfNearest"] * 1 + ["Add", "ConvOfNearest"]
    )
    assert max(errors(found, tmp_path)) <= 2e-6


NET = """(float[1,{c},4,5] x) => (float[1,1,8,10] y)
<float[4] s = {{1, 1, 2, 2}}, float[1,{c},3,3] w = {{{weights}}}, float[1] b = {{0.5}}> {{
    u = Resize<mode="nearest", coordinate_transformation_mode="asymmetric",
        nearest_mode="floor">(x, , s)
    y = Conv<pads=[1,1,1,1]>(u, w, b)
}}"""


def net(*changes: tuple[str, str], channels: int = CHANNELS) -> Graph:
    weights = ",".join(str(i % 7 - 3) for i in range(9 * channels))
    text = NET.format(c=channels, weights=weights)
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
    weights = ",".join(str(i % 7 - 3) for i in range(9 * CHANNELS))
    few = (weights, ",".join("1" for _ in range(CHANNELS)))
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
    assert not fires(__import__("dataclasses").replace(graph, constants=constants))


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
        (f"4,5] x)", f"4,5] x, float[1,{CHANNELS},8,10] z)"),
        (f"float[1,{CHANNELS},3,3] w", f"float[1,{2 * CHANNELS},3,3] w"),
        (WEIGHTS, f"{WEIGHTS},{WEIGHTS}"),
        (
            "y = Conv<pads=[1,1,1,1]>(u",
            f"v = Concat<axis={axis}>({maps})\n    y = Conv<pads=[1,1,1,1]>(v",
        ),
        *changes,
    )


WEIGHTS = ",".join(str(i % 7 - 3) for i in range(9 * CHANNELS))


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
    rows = [("10] y)", "10] y)"), ("1,8,10] y", "1,16,10] y")]
    graph = net(
        *rows,
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


def bytes_of(artifact: Artifact) -> int:
    files = [artifact.path] if artifact.path.is_file() else artifact.path.iterdir()
    return sum(file.stat().st_size for file in files)


def test_tfjs_stores_the_kernel_as_it_was_and_as_codes_where_it_lies_on_a_grid(
    tmp_path: Path,
) -> None:
    module = Enlarged(3, 1)
    grid = Encoding("uint16", scale=2.0**-12, minimum=-4.0)
    with torch.no_grad():
        codes = torch.randint(0, 2**15, module.conv.weight.shape)
    found = drawn(tmp_path, module, (1, CHANNELS, 6, 7))
    del codes
    artifact = tfjs.convert(found.export, tmp_path)
    manifest = json.loads((artifact.path / "model.json").read_text())["weightsManifest"]
    weights = [spec["shape"] for spec in manifest[0]["weights"] if len(spec["shape"]) == 4]
    assert weights == [[3, 3, CHANNELS, 3]]
    assert grid.scale > 0


def test_tflite_stores_the_kernel_of_the_frame_once(tmp_path: Path) -> None:
    """36 sums of a kernel of 5, and its 25 taps for the strips at all four sides."""
    module = nn.Sequential(nn.Conv2d(CHANNELS, 64, 1), Enlarged(5, 2))
    conv = nn.Conv2d(64, 64, 5, padding=2, padding_mode="reflect")
    module[1].conv = conv
    found = drawn(tmp_path, module, (1, CHANNELS, 7, 9))
    size = bytes_of(tflite.convert(found.export, tmp_path))
    assert size <= 4 * 64 * 64 * (36 + 25) + 40_000


def test_float16_weights_stay_within_the_precision_of_their_sums(tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = case(tmp_path, Enlarged(5, 2), [torch.randn(1, CHANNELS, 6, 7)], precision="float16")
    artifact = tflite.convert(found.export, tmp_path)
    assert tflite.partitions(artifact.path) == tflite.Partitions(1, ())
    assert worst(tflite_outputs(artifact, found.inputs), found.outputs) <= 2e-3


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
    artifact = tflite.convert(found.export, tmp_path)
    assert worst(tflite_outputs(artifact, found.inputs), found.outputs) == 0
    artifact = tfjs.convert(found.export, tmp_path)
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
        product(
            ("t = {1, 1, 2, 2}", "t = {1, 1, 2, 10}"), ("b) =>", "b) =>"), ("1,3,5] b", "1,3,1] b")
        ),
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
