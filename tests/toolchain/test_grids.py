"""Passes that put kernels on grids: what is rounded, how well, and what must not be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from converters.api import Program
from converters.capture import capture
from model_defs.errors import RecipeMismatch
from model_defs.spec import ModelSpec, Preprocess, TensorSpec
from toolchain.data import calibration
from toolchain.passes.palettize import Palettize
from toolchain.passes.prune_weights import PruneWeights
from toolchain.passes.weights_int4 import WeightsInt4
from toolchain.passes.weights_int6 import WeightsInt6
from toolchain.passes.weights_int8 import WeightsInt8
from toolchain.passes.weights_mixed import WeightsMixed
from toolchain.quantization import grids
from toolchain.quantization.gptq import collect_moments, round_by_gptq
from toolchain.quantization.gradients import collect_squared_gradients
from toolchain.quantization.grids import symmetric
from toolchain.quantization.kinds import KINDS
from toolchain.quantization.palettes import chooser, k_means
from toolchain.recipes import pipeline, recipes, sensitivity

WIDTH = 24


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.second = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.up = nn.ConvTranspose2d(WIDTH, WIDTH, 2, 2)
        self.last = nn.Conv2d(WIDTH, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.up(self.second(self.first(x).relu()).relu()).relu())


@pytest.fixture(autouse=True)
def _no_kernel_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grids, "SMALL", 0)


def program_of(module: nn.Module | None = None) -> Program:
    torch.manual_seed(0)
    made = module or Tiny()
    image = TensorSpec("image", (1, 3, 32, 32), "image", low=0, high=1, preprocess=Preprocess())
    result = TensorSpec("result", (1, 1, 64, 64), "map", low=0, high=1, tolerance=0.01)
    return capture(ModelSpec("tiny", lambda: made, (image,), (result,)))


def kernel_of(program: Program, layer: str) -> np.ndarray:
    return program.module.get_parameter(f"{layer}.weight").numpy()


@pytest.mark.parametrize(("kind", "top"), [(WeightsInt8, 127), (WeightsInt6, 31), (WeightsInt4, 7)])
def test_each_output_channel_has_a_scale_of_its_own(kind: type[WeightsInt8], top: int) -> None:
    before = program_of()
    before.module.get_parameter("second.weight").data[3] *= 50
    after = kind()(before)
    for layer, axis in (("second", 0), ("up", 1)):
        grid = after.encodings[f"{layer}.weight"]
        assert (grid.axis, len(grid.scales)) == (axis, WIDTH)
        assert np.array_equal(np.float16(grid.scales), np.float32(grid.scales))
        codes = kernel_of(after, layer) / grid.scales_for((WIDTH, WIDTH, 1, 1))
        assert np.array_equal(codes, np.rint(codes))
        assert np.abs(codes).max() <= top
    scales = after.encodings["second.weight"].scales
    assert scales[3] > 20 * np.median(scales)
    assert kind()(after) is after


@pytest.mark.parametrize(
    "kind", [WeightsInt6(), WeightsInt4(), WeightsInt4(16), Palettize(4), Palettize(8)]
)
def test_small_kernels_keep_eight_bits(kind: WeightsInt4, monkeypatch: pytest.MonkeyPatch) -> None:
    program = program_of()
    monkeypatch.setattr(grids, "SMALL", kernel_of(program, "first").size)
    found = kind(program).encodings
    asked = found["second.weight"]
    assert asked.bits == found["up.weight"].bits
    assert found["first.weight"].dtype == ("int8" if asked.bits < 8 else asked.dtype)


def test_blocks_have_scales_of_their_own() -> None:
    program = program_of(
        nn.Sequential(nn.Conv2d(3, 32, 1), nn.Conv2d(32, 1, 2, 2), nn.Upsample(scale_factor=4))
    )
    grid = WeightsInt4(block=16)(program).encodings
    assert "1.weight" in grid
    assert (grid["1.weight"].block, len(grid["1.weight"].scales)) == (16, 2)
    assert grid["0.weight"].block == 0  # 3 channels are no multiple of 16: one scale a channel


def test_a_scale_may_clip_where_that_loses_less() -> None:
    kernel = np.full((1, 200), 0.1, np.float32)
    kernel[0, :100] = -0.1
    kernel[0, 0] = 1.0
    grid = symmetric("int4")("w", kernel, 0)
    plain = replace(grid, scales=(float(np.float16(1 / 7)),))
    lost = [float(((g.numbers(g.codes(kernel)) - kernel) ** 2).sum()) for g in (grid, plain)]
    assert lost[0] < lost[1]


def test_a_kernel_that_float16_stores_in_fewer_bytes_stays() -> None:
    program = program_of()
    assert "last.weight" not in Palettize(bits=8)(program).encodings
    assert "second.weight" in Palettize(bits=8)(program).encodings


def test_small_leaves_kernels_of_which_float16_makes_the_smaller_file_and_says_so() -> None:
    before = program_of()  # kernels of 648, 5184, 2304 and 24 numbers
    after = WeightsInt8(kernels="smaller")(before)
    assert set(after.encodings) == {"first.weight", "second.weight", "up.weight"}
    assert after.notes[-1].startswith("1 of 4 kernels are left to float16")
    assert WeightsInt8()(before).notes == before.notes
    tiny = program_of(nn.Sequential(nn.Conv2d(3, 1, 1), nn.Upsample(scale_factor=2)))
    kept = WeightsInt8(kernels="smaller")(tiny)
    assert kept.module is tiny.module
    assert kept.notes[-1].startswith("1 of 1 kernels are left to float16")
    assert WeightsInt8(kernels="smaller")(kept) is kept
    assert recipes.find("small").steps[1] == "weights-int8=smaller"


@pytest.mark.parametrize("step", ["equalize", "prune-weights", "weights-int4", "palettize=4"])
def test_a_pass_that_had_nothing_to_do_says_why(step: str) -> None:
    bare = program_of(nn.Sequential(nn.Upsample(scale_factor=2), Grey()))
    after = pipeline.run(bare, recipes.find(step).load())
    assert after.module is bare.module
    name = step.partition("=")[0]
    assert after.notes[-1].startswith(f"{name} changed nothing: ")
    # Nobody asked for the folding that begins every recipe.
    assert len(after.notes) == len(bare.notes) + 1


class Grey(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1, keepdim=True)


def test_spared_layers_stay() -> None:
    before = program_of()
    after = WeightsInt8(keep=("second",))(before)
    assert "second.weight" not in after.encodings
    assert np.array_equal(kernel_of(after, "second"), kernel_of(before, "second"))
    assert "first.weight" in after.encodings


def test_float16_comes_after_grids_and_leaves_them() -> None:
    once = WeightsInt8()(program_of())
    both = pipeline.run(once, recipes.find("weights-fp16").load())
    assert both.encodings["second.weight"] == once.encodings["second.weight"]
    assert both.encodings["second.bias"].dtype == "float16"
    assert (both.precision, once.precision) == ("float16", "float32")


def test_a_palette_is_found_where_the_numbers_are() -> None:
    random = np.random.default_rng(0)
    centres = np.array([-1.0, -0.25, 0.5, 2.0])
    numbers = random.choice(centres, 4000) + random.normal(0, 0.01, 4000)
    found = k_means(numbers, np.ones(4000), 4)
    np.testing.assert_allclose(found, centres, atol=0.01)


def test_numbers_that_count_more_draw_the_palette() -> None:
    numbers = np.concatenate([np.linspace(0, 1, 500), np.linspace(3, 4, 500)])
    weights = np.where(numbers > 2, 100.0, 1.0)
    plain, drawn = k_means(numbers, np.ones(1000), 4), k_means(numbers, weights, 4)
    assert (plain > 2).sum() == 2
    assert (drawn > 2).sum() == 3


def test_gradients_know_a_layer_that_nothing_depends_on() -> None:
    class Idle(Tiny):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + 0 * self.idle(x).mean()

        def __init__(self) -> None:
            super().__init__()
            self.idle = nn.Conv2d(3, 2, 1)

    found = collect_squared_gradients(program_of(Idle()))
    assert found["second.weight"].max() > 0
    assert found["idle.weight"].max() == 0


def test_adaptive_rounding_loses_less_on_inputs_like_those_seen() -> None:
    random = np.random.default_rng(0)
    mixing = random.normal(size=(64, 8)) @ random.normal(size=(8, 64)) + 0.1 * np.eye(64)
    inputs = random.normal(size=(2000, 64)) @ mixing.T
    kernel = random.normal(size=(16, 64)).astype(np.float32)
    grid = symmetric("int4")("w", kernel, 0)
    nearest = grid.numbers(grid.codes(kernel))
    better = round_by_gptq(kernel, grid, inputs.T[None] @ inputs / len(inputs))
    assert np.array_equal(better, grid.numbers(grid.codes(better)))
    lost = [np.square(inputs @ (rounded - kernel).T).mean() for rounded in (nearest, better)]
    assert lost[1] < 0.3 * lost[0]


def test_adaptive_rounding_of_uncorrelated_inputs_is_rounding_to_nearest() -> None:
    kernel = np.random.default_rng(0).normal(size=(4, 200)).astype(np.float32)
    grid = symmetric("int4")("w", kernel, 0)
    seen = np.eye(200)[None]
    assert np.array_equal(round_by_gptq(kernel, grid, seen), grid.numbers(grid.codes(kernel)))


def test_each_group_is_rounded_for_inputs_of_its_own() -> None:
    random = np.random.default_rng(0)
    kernel = random.normal(size=(8, 1, 3, 3)).astype(np.float32)
    mixing = random.normal(size=(8, 9, 2))
    seen = mixing @ mixing.transpose(0, 2, 1) + 0.01 * np.eye(9)
    grid = symmetric("int4")("w", kernel, 0)
    together = round_by_gptq(kernel, grid, seen)
    for group in range(8):
        own = replace(grid, scales=(grid.scales[group],))
        alone = round_by_gptq(kernel[group : group + 1], own, seen[group : group + 1])
        assert np.array_equal(together[group], alone[0])
    nearest = grid.numbers(grid.codes(kernel))
    losses = [
        np.einsum("gi,gij,gj->", d, seen, d)
        for d in ((rounded - kernel).reshape(8, 9) for rounded in (nearest, together))
    ]
    assert losses[1] < 0.8 * losses[0]


@pytest.mark.parametrize("step", ["weights-int6", "weights-int4=16", "palettize=4", "palettize=2"])
def test_what_was_pruned_stays_zero(step: str) -> None:
    pruned = PruneWeights(0.5, "layer")(program_of())
    (_, quantise) = recipes.find(step).load()
    rounded = quantise(pruned)
    for layer in ("first", "second", "up", "last"):
        before, after = kernel_of(pruned, layer), kernel_of(rounded, layer)
        assert not after[before == 0].any()
        assert not np.array_equal(before, after)


def test_a_palette_has_a_zero_only_for_kernels_that_have_many() -> None:
    kernel = np.random.default_rng(0).normal(size=(16, 64)).astype(np.float32) + 3
    kernel[:, ::20] = 0
    assert 0.0 in chooser(5, {})("w", kernel, 0).palette
    kernel[:, ::20] = 3
    kernel[0, 0] = 0
    assert 0.0 not in chooser(3, {})("w", kernel, 0).palette


def test_moments_are_of_what_a_convolution_reads() -> None:
    program = program_of()
    found = collect_moments(program)
    assert set(found) == {"first.weight", "second.weight", "last.weight"}
    inputs = calibration.inputs_for(program)
    assert len(inputs) >= 12
    assert found["first.weight"].shape == (1, 27, 27)
    want = np.mean([_moment(given["image"]) for given in inputs], axis=0)
    np.testing.assert_allclose(found["first.weight"][0] / len(inputs), want, rtol=1e-4, atol=1e-5)


def test_a_depthwise_convolution_has_moments_for_each_channel() -> None:
    depthwise = nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.Conv2d(3, 1, 1), nn.Upsample(scale_factor=2)
    )
    found = collect_moments(program_of(depthwise))["0.weight"]
    inputs = calibration.inputs_for(program_of(depthwise))
    want = np.mean([_moment(given["image"]) for given in inputs], axis=0)
    assert found.shape == (3, 9, 9)
    for channel in range(3):
        own = slice(9 * channel, 9 * channel + 9)
        np.testing.assert_allclose(found[channel] / len(inputs), want[own, own], rtol=1e-4)


def _moment(image: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(image[0].astype(np.float64), (3, 3), (1, 2))
    rows = windows.transpose(1, 2, 0, 3, 4).reshape(-1, 27)
    return rows.T @ rows / len(rows)


def test_each_layer_may_have_a_type_of_its_own() -> None:
    after = WeightsMixed((("first", "int8"), ("second", "int4"), ("up", "palette4")))(program_of())
    found = {name: grid.dtype for name, grid in after.encodings.items()}
    assert found == {"first.weight": "int8", "second.weight": "int4", "up.weight": "palette4"}


def test_layers_of_another_model_are_refused() -> None:
    with pytest.raises(RecipeMismatch, match="no layer 'head.out'"):
        WeightsMixed((("head.out", "int8"),))(program_of())


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_of_a_mixed_recipe_is_chosen_like_the_pass_of_that_name(kind: str) -> None:
    grid = KINDS[kind]("second.weight", kernel_of(program_of(), "second"), 0)
    assert grid.dtype == kind
    assert chooser(4, {})("w", np.ones((4, 4), np.float32), 0).dtype == "palette4"


def judged(program: Program) -> sensitivity.Judge:
    from converters.reference import ReferenceRunner
    from toolchain.data import cases

    inputs = cases.build(program.spec.inputs)
    runner = ReferenceRunner(program)
    return sensitivity.Judge(inputs, {name: runner.run(given) for name, given in inputs.items()})


class Fragile(Tiny):
    """Its first layer's outputs are taken apart by a factor of a thousand."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = self.first(x)
        fine = (wide * 300).sin() * 0.1
        return self.last(self.up(self.second(wide.relu() + fine).relu()).relu())


def test_the_layer_that_suffers_most() -> None:
    program = program_of(Fragile())
    found = sensitivity.measure(program, recipes.find("fp16"), judged(program))
    most, second, *_ = sorted(found, key=lambda one: -one.share)
    assert most.layer == "first"
    assert most.share > 5 * second.share
    assert "case" in most.where


@pytest.mark.parametrize(("truth", "want"), [((0, 0, 1, 1), 2), ((1, 1, 1, 1), 0), ((0,) * 4, 3)])
def test_the_first_number_of_which_it_holds(truth: tuple[int, ...], want: int) -> None:
    assert sensitivity.find_first(lambda n: bool(truth[n]), 3) == want


def test_a_judge_takes_no_number_that_is_none() -> None:
    program = program_of()
    judge = judged(program)
    broken = replace(
        judge, expected={c: {"result": o["result"] * np.nan} for c, o in judge.expected.items()}
    )
    assert broken.worst(program)[0] == np.inf
