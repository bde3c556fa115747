"""Convolutions of enlarged maps on the small map: equal numbers, and what is stored for them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.encodings import Encoding
from converters.lowering.graph import read_graph
from converters.lowering.phases import Phases
from converters.lowering.rewrites import REWRITES, rewritten
from converters.lowering.rewrites.conv_of_nearest import ConvOfNearest
from converters.tfjs.convert import convert as to_tfjs
from converters.tflite.convert import convert as to_tflite
from converters.tflite.partitions import Partitions, partitions
from tests.converters.tf_checks import (
    Case,
    case,
    operations,
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
        self.conv = nn.Conv2d(CHANNELS, 3, kernel, 1, padding, **options)  # type: ignore[arg-type]
        self.scale, self.behind = scale, behind

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
    return [node.op for node in rewritten(read_graph(found.export.onnx), "tfjs").nodes]


def errors(found: Case, directory: Path) -> tuple[float, float]:
    """On TFLite, in one partition, and on TF.js."""
    artifact = to_tflite(found.export, directory)
    assert partitions(artifact.path) == Partitions(1, ())
    on_tflite = worst(tflite_outputs(artifact, found.inputs), found.outputs)
    artifact = to_tfjs(found.export, directory)
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
    graph = read_graph(found.export.onnx)
    rows = shape[2] * scale - 2 * max(kernel // 2 - scale + 1, 0) * (mode == "reflect")
    assert (ALWAYS(graph) is not graph) == (rows % scale == 0)
    assert max(errors(found, tmp_path)) <= 2e-6


def test_the_enlarged_map_is_not_made(tmp_path: Path) -> None:
    found = drawn(tmp_path, Enlarged(5, 2, behind=nn.ReLU()), (1, CHANNELS, 6, 7))
    assert left(found) == ["ConvOfNearest"]
    path = to_tflite(found.export, tmp_path).path
    assert operations(path) == [
        *("CONV_2D", "RESHAPE", "CONV_2D", "RESHAPE", "CONCATENATION", "RESHAPE")
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
    assert left(found).count("ConvOfNearest") == len(small)
    assert left(found).count("Conv") == 1
    assert max(errors(found, tmp_path)) <= 2e-6


def test_tfjs_stores_the_kernel_as_it_was_as_codes_where_it_lies_on_a_grid(tmp_path: Path) -> None:
    module, grid = Enlarged(3, 1, bias=False), Encoding("uint8", (0.25,), -4.0)
    found = drawn(tmp_path, module, (1, CHANNELS, 6, 7))
    codes = torch.randint(0, 32, module.conv.weight.shape)
    module.conv.weight.data = codes * grid.scales[0] + grid.minimum
    x = torch.from_numpy(found.inputs["x"])
    found = case(tmp_path, module, [x])
    export = replace(found.export, grids=(grid,))
    artifact = to_tfjs(export, tmp_path)
    (group,) = json.loads((artifact.path / "model.json").read_text())["weightsManifest"]
    (kernel,) = (spec for spec in group["weights"] if len(spec["shape"]) == 4)
    assert kernel["shape"] == [3, 3, CHANNELS, 3]
    assert kernel["quantization"]["dtype"] == "uint8"
    assert worst(tfjs_outputs(artifact, found.inputs), found.outputs) <= 1e-6


@pytest.mark.parametrize("how", ["on a grid", "mixed"])
def test_tflite_stores_no_sums_of_a_kernel_that_is_to_be_stored_as_it_is(
    how: str, tmp_path: Path
) -> None:
    module = Enlarged(3, 1, bias=False)
    module.conv.weight.data = torch.randint(-9, 9, module.conv.weight.shape) * 0.25
    found = case(tmp_path, module, [torch.randn(1, CHANNELS, 6, 7)], precision="float16")
    on_grid = replace(found.export, grids=(Encoding("int8", (0.25,)),))
    export = on_grid if how == "on a grid" else replace(found.export, mixed=True)
    artifact = to_tflite(export, tmp_path)
    assert operations(artifact.path).count("CONV_2D") == 1
    assert worst(tflite_outputs(artifact, found.inputs), found.outputs) <= 1e-6


def test_tflite_stores_the_kernel_of_the_frame_once(tmp_path: Path) -> None:
    """36 sums of a kernel of 5, and its 25 taps for the strips at all four sides."""
    module = nn.Sequential(nn.Conv2d(CHANNELS, 64, 1), Enlarged(5, 2))
    module[1].conv = nn.Conv2d(64, 64, 5, padding=2, padding_mode="reflect")
    found = drawn(tmp_path, module, (1, CHANNELS, 7, 9))
    size = to_tflite(found.export, tmp_path).path.stat().st_size
    assert size <= 4 * 64 * 64 * (36 + 25) + 40_000


def test_float16_weights_stay_within_the_precision_of_their_sums(tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = case(tmp_path, Enlarged(5, 2), [torch.randn(1, CHANNELS, 6, 7)], precision="float16")
    artifact = to_tflite(found.export, tmp_path)
    assert partitions(artifact.path) == Partitions(1, ())
    assert worst(tflite_outputs(artifact, found.inputs), found.outputs) <= 2e-3
