"""Full integers: where activations go onto grids, which ones, and what stays in floats."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from converters.api import Program
from converters.capture import capture, example
from converters.graph.captured import capture_graph
from model_defs.errors import BadRecipe, RecipeMismatch, UnknownName, UnsupportedOption
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.passes.int8 import Int8
from toolchain.passes.weights_fp16 import WeightsFp16
from toolchain.quantization.activations import FINEST, Grid, OnGrids
from toolchain.quantization.calls import kind_of, list_calls
from toolchain.quantization.ranges import BINS, RANGES, Histogram, merge
from toolchain.quantization.sites import Sites
from toolchain.recipes import recipes, targets


class Tiny(nn.Module):
    """A sum, a concatenation, a pool and an activation that has to be told from the others."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(16, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x).relu()  # calls 0 and 1
        z = self.second(y) + y  # calls 2 and 3
        joined = torch.cat([z, y], 1)  # call 4
        return self.last(functional.max_pool2d(joined, 2)).sigmoid()  # calls 5, 6 and 7


def program_of(module: nn.Module, result: tuple[int, ...] = (1, 2, 8, 8)) -> Program:
    torch.manual_seed(0)
    image = TensorSpec("image", (1, 3, 16, 16), "image", low=0, high=1)
    out = TensorSpec("result", result, "map", tolerance=0.1)
    return capture(ModelSpec("net", lambda: module, (image,), (out,)))


def sites_of(module: nn.Module, *layers: str) -> Sites:
    graph = capture_graph(module.eval().requires_grad_(False), [torch.rand(1, 3, 16, 16)])
    return Sites(*list_calls(graph, module), layers)


def test_results_and_inputs_of_layers_go_onto_grids() -> None:
    found = sites_of(Tiny(), "first", "second", "last").groups
    assert found == {-1: (-1,), 1: (1, 3), 2: (2,), 6: (6,)}  # 1 and 3 are joined


def test_layers_that_stay_in_floats_read_and_write_no_grid() -> None:
    assert sites_of(Tiny(), "first").groups == {-1: (-1,), 1: (1,)}
    assert sites_of(Tiny(), "last").groups == {1: (1, 3), 6: (6,)}
    assert sites_of(Tiny()).groups == {}


def test_an_activation_that_is_not_alone_comes_after_the_grid() -> None:
    class Twice(Tiny):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.first(x)  # call 0
            return torch.cat([y.relu(), y], 1)

    assert sites_of(Twice(), "first").groups == {-1: (-1,), 0: (0,)}


def test_a_sum_with_floats_is_one_of_floats() -> None:
    class Gated(Tiny):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.first(x)
            return self.second(y) + y.sigmoid()

    sites = sites_of(Gated(), "first", "second")
    assert [sites.calls[n].layer for n in sites.computing] == ["first", "second"]


X = torch.rand(1, 8, 6, 6)
WHAT_CALLS_DO: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "a scaled sum": (lambda x: torch.add(x, x.sigmoid(), alpha=2), "sum"),  # of a product
    "a number added": (lambda x: x + 1.0, "other"),
    "a row added": (lambda x: x + x[:, :, :1], "other"),
    "a sum": (lambda x: x + x.sigmoid(), "sum"),
    "a sum in place": (lambda x: x.sigmoid().add_(x), "sum"),
    "ReLU": (lambda x: functional.relu(x), "rectify"),
    "ReLU in place": (lambda x: x.sigmoid().relu_(), "rectify"),
    "ReLU6": (functional.relu6, "rectify"),
    "its bounds": (lambda x: functional.hardtanh(x, 0.0, 6.0), "rectify"),
    "others": (functional.hardtanh, "other"),
    "a clamp": (lambda x: x.clamp(0, 4), "other"),
    "zeros around": (lambda x: functional.pad(x, (1, 1)), "select"),
    "zeros, said": (lambda x: functional.pad(x, (1, 1), value=0.0), "select"),
    "halves around": (lambda x: functional.pad(x, (1, 1), value=0.5), "other"),
    "a mirror around": (lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"), "select"),
    "nearest": (lambda x: functional.interpolate(x, scale_factor=2), "select"),
    "bilinear": (lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"), "other"),
    "bicubic": (lambda x: functional.interpolate(x, scale_factor=2, mode="bicubic"), "other"),
    "a part": (lambda x: x[:, 1:], "select"),
    "one of several": (lambda x: x.chunk(2, 1)[1], "select"),
    "shuffled pixels": (lambda x: functional.pixel_shuffle(x, 2), "select"),
    "maxima": (lambda x: functional.max_pool2d(x, 2), "select"),
    "means": (lambda x: functional.avg_pool2d(x, 2), "other"),
    "a product": (lambda x: x * x.sigmoid(), "other"),
    "a convolution": (lambda x: functional.conv2d(x, torch.ones(2, 8, 1, 1)), "kernel"),
    "a linear layer": (lambda x: functional.linear(x, torch.ones(2, 6)), "kernel"),
}


@pytest.fixture(scope="module")
def kinds() -> dict[str, str]:
    """What the last operation of each of them does; all are captured at once."""

    class All(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(call(x) for call, _ in WHAT_CALLS_DO.values())

    graph = capture_graph(All().eval(), [X])
    return dict(zip(WHAT_CALLS_DO, map(kind_of, graph.outputs), strict=True))


@pytest.mark.parametrize("name", WHAT_CALLS_DO)
def test_what_a_call_does(name: str, kinds: dict[str, str]) -> None:
    assert kinds[name] == WHAT_CALLS_DO[name][1]


def test_everything_is_on_its_grid() -> None:
    before = program_of(Tiny())
    after = Int8()(before)
    assert isinstance(after.module, OnGrids)
    assert isinstance(after.module, Tiny)
    grids = after.module.grids.at
    assert set(grids) == {-1, 1, 2, 3, 6}
    assert grids[1] == grids[3]
    assert {name: e.dtype for name, e in after.encodings.items()} == {
        **{f"{layer}.weight": "int8" for layer in ("first", "second", "last")},
        **{f"{layer}.bias": "int32" for layer in ("first", "second", "last")},
    }
    for layer, read in (("first", -1), ("second", 1), ("last", 1)):
        kernel = after.encodings[f"{layer}.weight"]
        steps = np.float32(kernel.scales) * np.float32(grids[read].scale)
        codes = after.module.get_parameter(f"{layer}.bias").numpy() / steps.astype(np.float64)
        np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)
    (inputs,) = example(before.spec)
    old, new = before.module(inputs), after.module(inputs)
    assert 0 < float((old - new).abs().max()) < 0.05


def test_groups_of_a_transposed_convolution_share_their_steps() -> None:
    class Grouped(Tiny):
        def __init__(self) -> None:
            super().__init__()
            self.second = nn.ConvTranspose2d(8, 6, 3, padding=1, groups=2)  # type: ignore[assignment]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x).relu())[:, :2, :8, :8]

    after = Int8()(program_of(Grouped()))
    scales = np.float32(after.encodings["second.weight"].scales)
    assert len(scales) == 3
    steps = np.tile(scales, 2) * np.float32(after.module.grids.at[1].scale)
    codes = after.module.get_parameter("second.bias").numpy() / steps.astype(np.float64)
    assert np.abs(codes).min() > 1
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)


def test_the_given_program_stays_and_a_second_time_changes_nothing() -> None:
    before = program_of(Tiny())
    numbers = {name: p.clone() for name, p in before.module.named_parameters()}
    after = Int8()(before)
    assert type(before.module) is Tiny
    for name, parameter in before.module.named_parameters():
        assert torch.equal(parameter, numbers[name])
    assert Int8()(after) is after


def test_what_is_to_be_kept_is() -> None:
    after = Int8(keep=("second",))(program_of(Tiny()))
    assert "second.weight" not in after.encodings
    half = WeightsFp16()(after)
    assert half.encodings["second.weight"].dtype == "float16"
    assert half.encodings["first.bias"].dtype == "int32"


def test_weights_that_are_encoded_leave_nothing_to_do() -> None:
    with pytest.raises(RecipeMismatch, match="no layer is left"):
        Int8()(WeightsFp16()(program_of(Tiny())))


def test_activations_too_fine_for_a_scale_stay_in_floats() -> None:
    class Faint(Tiny):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.first(x).softmax(1) / 1200
            return self.last(torch.cat([y, y], 1) * 1e-3)[:, :, :8, :8]

    after = Int8()(program_of(Faint()))
    assert {n for n, e in after.encodings.items() if e.dtype == "int32"} == {"first.bias"}
    assert after.kept == {"last": "what it reads or gives is too fine, or too large, for 8 bits"}


def test_layers_whose_sum_has_no_grid_stay_in_floats() -> None:
    class Cancelled(Tiny):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            half = (self.first(x) + self.second(x)).sigmoid()
            return self.last(functional.max_pool2d(torch.cat([half, half], 1), 2))

    module = Cancelled()
    module.second = nn.Conv2d(3, 8, 3, padding=1)
    before = program_of(module)
    for one, other in zip(module.first.parameters(), module.second.parameters(), strict=True):
        other.data = -one.data
    assert set(Int8()(before).kept) == {"first", "second"}


def test_a_module_that_is_a_layer_has_none_that_could_be_named() -> None:
    with pytest.raises(RecipeMismatch, match="no layer is left"):
        Int8()(program_of(nn.Conv2d(3, 2, 2, stride=2)))


def test_a_layer_that_8_bits_drown_stays_in_floats() -> None:
    class Uneven(Tiny):
        """One channel that the second layer reads, and ignores, is large."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.first(x).relu()
            large = torch.tensor([1e4, *[1.0] * 7]).reshape(1, 8, 1, 1)
            z = self.second(y * large)
            return self.last(functional.max_pool2d(torch.cat([z, y], 1), 2))

    module = Uneven()
    module.second.weight.data[:, 0] = 0
    before = program_of(module)
    after = Int8()(before)
    assert set(after.kept) == {"second"}
    assert after.kept["second"].endswith("of its result is noise")
    assert "second.weight" not in after.encodings
    assert Int8(keep=("second",))(before).kept == {}


def test_a_layer_called_twice_keeps_its_bias() -> None:
    class Again(Tiny):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.second(self.second(self.first(x)).relu())
            return y[:, :2, :8, :8]

    before = program_of(Again())
    after = Int8()(before)
    bias = "second.bias"
    assert torch.equal(after.module.get_parameter(bias), before.module.get_parameter(bias))


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.5, 2.0), (-2.0, -1.0), (0.0, 7e-2)])
def test_a_grid_reaches_its_ends_and_has_a_zero(low: float, high: float) -> None:
    grid = Grid.of(low, high)
    assert grid is not None
    assert np.float16(grid.scale) == grid.scale
    ends = torch.tensor([low, high, 0.0])
    assert torch.all((grid.rounded(ends) - ends).abs() <= grid.scale / 2 + 1e-6)
    assert grid.rounded(ends)[2] == 0


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (-FINEST, FINEST), (0.0, 1e30)])
def test_no_grid_where_no_scale_fits(low: float, high: float) -> None:
    assert Grid.of(low, high) is None


def seen_of(numbers: np.ndarray) -> Histogram:
    counts, _ = np.histogram(numbers, BINS)
    return Histogram(float(numbers.min()), float(numbers.max()), counts.astype(np.float64))


def test_ranges_leave_out_what_is_rare() -> None:
    numbers = np.append(np.random.default_rng(0).normal(0, 1, 200_000), [40.0, -30.0])
    found = {name: choose(seen_of(numbers)) for name, choose in RANGES.items()}
    assert found["minmax"] == (-30.0, 40.0)
    for name in ("percentile", "mse", "kl"):
        low, high = found[name]
        assert -20 < low < -2.5, name
        assert 2.5 < high < 30, name


def test_zeros_of_an_activation_do_not_narrow_a_range() -> None:
    rectified = np.random.default_rng(0).normal(0, 1, 200_000).clip(0)
    for name, choose in RANGES.items():
        low, high = choose(seen_of(rectified))
        assert (low, high > 2.5) == (0, True), name


def test_ranges_of_numbers_that_are_all_one_hold_it() -> None:
    for choose in RANGES.values():
        low, high = choose(Histogram(2.0, 2.0, np.zeros(BINS)))
        assert low <= 2.0 <= high


def test_sites_that_share_a_grid_are_looked_at_together() -> None:
    both = merge([seen_of(np.linspace(0, 1, 100)), seen_of(np.linspace(-4, 0, 100))])
    assert (both.low, both.high) == (-4, 1)
    assert both.counts[: BINS * 4 // 5].sum() == pytest.approx(1, abs=0.05)


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown range 'best'"):
        Int8("best")


@pytest.mark.parametrize("text", ["int8", "int8=minmax", "int8=kl,weights-fp16"])
def test_recipes_name_it(text: str) -> None:
    recipe = recipes.find(text)
    assert recipe.lossy
    (step,) = [s for s in recipe.load() if isinstance(s, Int8)]
    assert step.ranges == (text.partition(",")[0].partition("=")[2] or "mse")


def test_a_recipe_with_another_range_is_refused() -> None:
    with pytest.raises(BadRecipe, match="one of mse, percentile, kl, minmax"):
        recipes.find("int8=best")


def test_the_web_is_refused_and_told_the_nearest() -> None:
    with pytest.raises(UnsupportedOption, match="tfjs does not compute in int8") as caught:
        targets.check_recipe(targets.find(("web",)), recipes.find("int8"))
    assert "--recipe weights-int8, the nearest" in caught.value.do
    targets.check_recipe(targets.find(("ios", "android")), recipes.find("int8"))
