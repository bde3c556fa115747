"""What was wrong in one format or another, through all of them: one net, a branch a kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.api import Export, Program
from converters.export import export
from converters.formats import FORMATS, open_runner
from converters.graph.captured import capture_graph
from converters.graph.rules import FOR_CORE_ML
from converters.graph.sampling import sample_bicubic
from converters.graph.script import scripted
from converters.graph.sources import packet_of
from converters.processes.worker import Worker
from model_defs.errors import BadModule
from model_defs.spec import ModelSpec, TensorSpec

SHAPE = (1, 4, 10, 9)
STATISTICS = (torch.linspace(-1, 1, 4), torch.linspace(0.5, 2, 4), torch.ones(4), torch.zeros(4))
PLACES = torch.tensor([0, 2])
ORDER = torch.tensor([1, 0]).reshape(1, 2, 1, 1).expand(1, 2, 10, 9)
FIXED = "where a file has fixed sizes"
KERNEL = torch.linspace(-1, 1, 4 * 3 * 4 * 3).sin().reshape(4, 3, 4, 3)
ROW, DEEP = KERNEL[..., 0], KERNEL[:2, :, None]
BIAS, SCALE = torch.tensor([0.5, -1.0, 0.2]), torch.linspace(0.5, 1.5, 6).reshape(6, 1, 1)
BILINEAR = torch.linspace(-1, 1, 5 * 81).cos().reshape(5, 9, 9) / 9
MASK = torch.tensor([True, False, True, True])

CASES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "adaptive_average": lambda x: F.adaptive_avg_pool2d(x, (16, 4)),
    "adaptive_maximum": lambda x: F.adaptive_max_pool2d(x, (4, 5)),
    "add_scaled": lambda x: torch.add(x, x.flip(-1), alpha=3),
    "argmax_flat": lambda x: x.argmax().float() * 0.01 + x,
    "argmin_flat": lambda x: x.argmin(keepdim=True).float() * 0.01 + x,
    "assigned": lambda x: _assigned(x),
    "average_ceil": lambda x: F.avg_pool2d(x, 2, 3, ceil_mode=True),
    "average_ceil_padded": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    "average_of_lines": lambda x: F.avg_pool1d(x[0], 4, 3, 1, ceil_mode=True),
    "average_of_volumes": lambda x: F.avg_pool3d(x[:, None], 2, 3, ceil_mode=True),
    "batch_norm_training": lambda x: F.batch_norm(x, None, None, *STATISTICS[:2], training=True),
    "divisor": lambda x: F.avg_pool2d(x, (3, 2), (2, 3), divisor_override=5),
    "floor_division": lambda x: x // 0.7,
    "fold": lambda x: F.fold(F.unfold(x, 3, padding=1, stride=2), (10, 9), 3, padding=1, stride=2),
    "gather_of_fewer": lambda x: x.gather(3, torch.tensor([[3, 1], [0, 8]]).expand(1, 2, 2, 2)),
    "instance_norm_stats": lambda x: F.instance_norm(x, *STATISTICS, use_input_stats=False),
    "gram": lambda x: _gram(x[:, :, :9]) + _gram(x[:, :, :9].transpose(2, 3)).transpose(2, 3),
    "index_add": lambda x: x.index_add(1, PLACES, x[:, 2:], alpha=2).index_add(
        3, torch.tensor([8, 0, 8]), x[..., :3]
    ),
    "input": lambda x: x,
    "integers": lambda x: ((x * 10).long() // 3 + (x * 10).long() % 3).float(),
    "log_softmax": lambda x: F.log_softmax(x * 60, 2) * 0.01,
    "mask_of_constants": lambda x: F.softplus(x[:, MASK], 2, 3),
    "mask_put_back": lambda x: _doubled(x),
    "matrix_of_integers": lambda x: ((x * 4).long() @ _integers(9, 5)).float() * 0.01,
    "max_pool_ceil": lambda x: F.max_pool2d(x, 2, 3, ceil_mode=True),
    "max_pool_ceil_padded": lambda x: F.max_pool2d(x, 2, 4, 1, ceil_mode=True),
    "max_pool_list": lambda x: F.max_pool2d(x, 3, 2, padding=[0], ceil_mode=True),  # type: ignore[arg-type]
    "max_pool_of_volumes": lambda x: F.max_pool3d(x[:, None], 2, 3, ceil_mode=True),
    "nearest_exact_to_fewer": lambda x: F.interpolate(x, (7, 4), mode="nearest-exact"),
    "nearest_of_1.05": lambda x: F.interpolate(x, scale_factor=1.05) * 2,
    "nearest_of_1.3": lambda x: F.interpolate(x, scale_factor=1.3),
    "nearest_of_1.6": lambda x: F.interpolate(x, scale_factor=1.6),
    "pools_of_one": lambda x: F.max_pool2d(x[0], 3, 1, 1) + F.avg_pool2d(x[0], 3, 1, 1),
    "put_added": lambda x: _splatted(x),
    "put_at_computed_places": lambda x: _reordered(x),
    "remainder_of_one": lambda x: torch.remainder(x, 1.0),
    "replicated": lambda x: F.pad(x, (10, 9, 6, 11), mode="replicate"),
    "rms_norm": lambda x: F.rms_norm(x * x * x, (9,), eps=1e-3),
    "resized": lambda x: _resized(x, scale_factor=(1.3, 1.7), mode="bilinear"),
    "resized_corners": lambda x: _resized(x, scale_factor=1.3, mode="bilinear", align_corners=True),
    "resized_cubic": lambda x: _resized(x, (13, 4), mode="bicubic"),
    "resized_down": lambda x: _resized(x, scale_factor=0.7, mode="bilinear"),
    "resized_nearest_to_13": lambda x: _resized(x, scale_factor=1.3),
    "resized_of_lines": lambda x: _resized(x[0], scale_factor=0.7, mode="linear"),
    "resized_of_volumes": lambda x: _resized(_volume(x), scale_factor=1.3, mode="trilinear"),
    "resized_nearest_of_volumes": lambda x: _resized(_volume(x), (3, 7, 9)),
    "resized_once": lambda x: _resized(x, scale_factor=1.02, mode="bilinear"),
    "resized_recomputed": lambda x: _resized(
        x, scale_factor=1.3, mode="bilinear", recompute_scale_factor=True
    ),
    "resized_smoothly": lambda x: _resized(x, (4, 5), mode="bilinear", antialias=True),
    "resized_smoothly_cubic": lambda x: _resized(
        x, scale_factor=0.7, mode="bicubic", antialias=True
    ),
    "roll": lambda x: x.roll(5),
    "sampled_bicubic": lambda x: _warped(x, "reflection", corners=False),
    "sampled_bicubic_corners": lambda x: _warped(x, "zeros", corners=True),
    "sampled_mirrored": lambda x: _warped(x, "reflection", corners=False, mode="bilinear"),
    "seven_axes": lambda x: _of_seven_axes(x),
    "padded_volume": lambda x: _padded(x),
    "parts_of_six_axes": lambda x: _parts(x),
    "softplus": lambda x: F.softplus(x, 2, 3),
    "transposed": lambda x: x.mT.adjoint() + x[0, 0].T.flip(0).H + (x.mH * 2).mT,
    "truths": lambda x: torch.where((x > 0) | (x < -1), x, -x) + ((x > 0) ^ (x < 1)).float(),
    "truths_taken": lambda x: (x > 0)[:, PLACES] * 2 + (x > 1).gather(1, ORDER).float(),
    "truths_and": lambda x: ((x > 0) & (x < 1)).float() * 2,
    "adaptive_average_1d": lambda x: F.adaptive_avg_pool1d(x[0], 4),
    "adaptive_average_3d": lambda x: F.adaptive_avg_pool3d(_volume(x), (2, 3, 9)),
    "adaptive_average_3d_apart": lambda x: F.adaptive_avg_pool3d(_volume(x), (3, 4, 2)),
    "adaptive_maximum_1d": lambda x: F.adaptive_max_pool1d(x[0], 4),
    "adaptive_maximum_3d": lambda x: F.adaptive_max_pool3d(_volume(x), (3, 5, 2)),
    "assigned_apart": lambda x: _assigned_apart(x),
    "average_3d_ceil": lambda x: F.avg_pool3d(_volume(x), 3, 2, 1, ceil_mode=True),
    "average_3d_ceil_uncounted": lambda x: F.avg_pool3d(_volume(x), 2, 3, 1, True, False),
    "bilinear": lambda x: F.bilinear(x[0, 0], x[0, 1], BILINEAR),
    "deconv_filled": lambda x: F.conv_transpose2d(x, KERNEL, BIAS, 3, 0, (2, 1)),
    "deconv_filled_1d": lambda x: F.conv_transpose1d(x[:, :, 0], ROW, BIAS, 2, 0, 1, dilation=2),
    "deconv_filled_3d": lambda x: F.conv_transpose3d(
        _volume(x), KERNEL[:2, :, None], BIAS, 2, 0, 1
    ),
    "deconv_in_groups_scaled": lambda x: F.conv_transpose2d(x, KERNEL, None, 2, 1, 0, 2) * SCALE,
    "deconv_in_groups_scaled_1d": lambda x: (
        F.conv_transpose1d(x[:, :, 0], ROW, None, 2, 1, 0, 2) / SCALE[..., 0]
    ),
    "deconv_scaled_3d": lambda x: F.conv_transpose3d(_volume(x), DEEP, BIAS, 2) * SCALE[:3, None],
    "deconv_narrower_than_its_stride": lambda x: F.conv_transpose2d(
        x[..., :1], KERNEL[:, :, :3], BIAS, 3, 1
    ),
    "deconv_filled_beyond_its_stride": lambda x: F.conv_transpose2d(
        x, KERNEL, BIAS, 1, 1, 1, dilation=2
    ),
    "divisor_3d": lambda x: F.avg_pool3d(_volume(x), 2, 2, divisor_override=5),
    "divisor_ceil": lambda x: F.avg_pool2d(x, 3, 2, 1, True, False, 7),
    "max_pool_3d_ceil": lambda x: F.max_pool3d(_volume(x), 2, 3, 0, 1, True),
    "max_pool_dilated": lambda x: F.max_pool2d(x, 2, 2, 1, 2, True),
    "max_pool_dilated_1d": lambda x: F.max_pool1d(x[0], 3, 2, 1, 2),
    "padded_around": lambda x: F.pad(x, (2, 1, 1, 3), mode="circular"),
    "padded_around_and_cut": lambda x: F.pad(x, (-1, 2, 1, -2), mode="circular"),
    "padded_and_cut": lambda x: F.pad(x, (-1, 2, 1, -2), value=-1.5),
    "reflected_and_cut": lambda x: F.pad(x, (-1, 2, 1, -2), mode="reflect"),
    "smallest_and_largest": lambda x: torch.add(*x.aminmax(dim=2), alpha=2),
    "kernels_of_a_constant": lambda x: _of_a_constant(torch.full_like(x, 0.5).cumsum(3)) + x.mean(),
    "norm_of_a_constant": lambda x: x + F.group_norm(torch.full_like(x, 0.5).cumsum(3), 2),
    "reduced_of_transposed": lambda x: _reduced(x.transpose(2, 3)),
    "taken": lambda x: x.take(torch.tensor([[3, -1], [50, 7]])),
    "taken_along": lambda x: x.take_along_dim(ORDER[:, :1], 1),
    "taken_apart": lambda x: x[:, PLACES, :, torch.tensor([-1, 1])],
    "fmod_of_integers": lambda x: torch.fmod((x * 10).int(), -3) + torch.fmod(x, 0.7),
    "nearest_exact": lambda x: F.interpolate(x, scale_factor=1.6, mode="nearest-exact"),
    "nearest_exact_of_a_size": lambda x: F.interpolate(x, (4, 13), mode="nearest-exact"),
    "nearest_exact_of_a_row": lambda x: F.interpolate(x[0], 5, mode="nearest-exact"),
}
"""The numbers stay below 10: tolerances are absolute."""


def _assigned(x: Tensor) -> Tensor:
    y = x * 2
    y[..., ::2] = 0.5
    y[:, 2] = x[:, 1]
    y[:, 0].clamp_(min=0)
    y[:, PLACES, 3] = 1.5
    return y


def _integers(*shape: int) -> Tensor:
    return torch.arange(math.prod(shape)).reshape(shape) % 13 - 6


def _padded(x: Tensor) -> Tensor:
    """Axes before the last two, which Core ML pads with a constant alone."""
    y = F.pad(x[None], (0, 0, 1, 2, 2, 1), mode="replicate")
    return F.pad(y, (1, 1, 0, 0, 1, 3), mode="reflect")


def _reduced(x: Tensor) -> Tensor:
    """By all of its numbers, whatever the order of its axes."""
    y = x * 1.5
    parts = y.mean(), y.sum() / 100, y.amax(), y.min(), y.std(), y.norm() / 10
    return (y + sum(parts) + y.amax(keepdim=True)).transpose(2, 3)


def _of_a_constant(x: Tensor) -> Tensor:
    weight = KERNEL[:, :1]
    y = F.conv_transpose2d(x, weight, None, 2, 1, 1, groups=4, dilation=2)
    y = F.avg_pool2d(F.conv2d(y, weight, groups=4, stride=2), 2, 1, 1)
    return F.interpolate(F.max_pool2d(y, 2, 1, 1), (5, 7), mode="bilinear") / 10


def _gram(x: Tensor) -> Tensor:
    """A value beside itself transposed, as factors, terms and parts."""
    turned = x.transpose(2, 3)
    product = torch.matmul(x, turned).transpose(2, 3) / 9
    return (product + x + turned.relu()) * torch.cat([turned, x], 1)[:, 2:6].transpose(2, 3)


def _resized(x: Tensor, *how: Any, **more: Any) -> Tensor:
    return F.interpolate(x, *how, **more)


def _volume(x: Tensor) -> Tensor:
    """(1, 2, 4, 5, 9)."""
    return x.reshape(1, 2, 4, 5, 9)


def _assigned_apart(x: Tensor) -> Tensor:
    y = x * 2
    y[:, PLACES, :, torch.tensor([-1, 1])] = x[0, :2, :, :1].permute(0, 2, 1)
    y.index_fill_(2, PLACES, 0.5).index_copy_(1, PLACES, x[:, :2])
    y.diagonal(1, 2, 3).mul_(3)
    return (y + y.diagonal(-1, 3, 2).mean()) / 2


def _parts(x: Tensor) -> Tensor:
    """As deformable attention takes its places."""
    y = x[..., :8].reshape(1, 2, 2, 5, 8, 2)
    return y[..., 1:5:2, ::2].flatten(2) + y[:, 1:, ..., 3:7, 1:].flip(3)[..., :2, :].flatten(2)


def _splatted(x: Tensor) -> Tensor:
    """Numbers added at computed places, some met twice, as a bird's eye view has them."""
    rows, columns = (x[0, :2, 0].abs() * 4).long()  # (9,)
    features, canvas = x[0, :, 1].mT, x[0].permute(1, 2, 0) * 2  # (9, 4), (10, 9, 4)
    made = canvas.index_put((rows - 8, columns), features, accumulate=True)
    once = made.index_put((rows, torch.tensor([3])), torch.ones(4), accumulate=True)
    return once.index_put((torch.tensor([0, 0]), torch.tensor([1, 1])), features[:2], True)


def _reordered(x: Tensor) -> Tensor:
    y, order = x * 2, x[0, 0, 0].argsort()
    y[:, :, order] = x[:, :, :9].flip(1)
    seen = torch.zeros(10, 9) > 1
    seen[order[:4], order[2:6]] = True
    counts = torch.zeros(10, 9, dtype=torch.int64)
    counts[[0, 5], [3, 4]] = 7
    return torch.where(seen, y, -y) + counts * x


def _warped(x: Tensor, padding: str, *, corners: bool, mode: str = "bicubic") -> Tensor:
    places = x[:, :2].permute(0, 2, 3, 1) * 0.7
    return F.grid_sample(x, places, mode, padding, align_corners=corners)


def _of_seven_axes(x: Tensor) -> Tensor:
    y = x[:, :, :8, :6].reshape(1, 2, 2, 4, 2, 2, 3).flip(3) * 2
    return (y + y.permute(0, 2, 1, 3, 5, 4, 6)).mean(6).reshape(1, 16, 4)


def _doubled(x: Tensor) -> Tensor:
    y = x.clone()
    y[x > 0] = x[x > 0] * 2
    return y


class AllCases(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(case(x) for case in CASES.values())


def example() -> Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(5)) * 4 - 2


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Export:
    module = AllCases().eval()
    outputs = tuple(
        TensorSpec(f"y{i}", tuple(y.shape), "features", tolerance=1e-3)
        for i, y in enumerate(module(example()))
    )
    spec = ModelSpec("cases", AllCases, (TensorSpec("x", SHAPE, "features"),), outputs)
    return export(Program(spec, module), tmp_path_factory.mktemp("cases"))


@pytest.mark.parametrize("kind", FORMATS)
def test_each_kind_computes_what_pytorch_computes(
    kind: str, exported: Export, tmp_path: Path
) -> None:
    with Worker(kind) as worker:
        runner = open_runner(worker.convert(exported, tmp_path))
    got = runner.run({"x": example().numpy()})
    runner.close()
    wrong = []
    for i, (name, case) in enumerate(CASES.items()):
        want, ours = case(example()).numpy(), got[f"y{i}"]
        assert want.std() > 0.1, name
        if ours.shape != want.shape:
            wrong.append(f"{name}: {ours.shape}, not {want.shape}")
        elif not np.allclose(ours, want, rtol=1e-5, atol=2e-5):
            wrong.append(f"{name}: off by {np.abs(ours - want).max()}")
    assert not wrong


class Masked(nn.Module):
    def __init__(self, case: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.case = case

    def forward(self, x: Tensor) -> Tensor:
        return self.case(x)


@pytest.mark.parametrize(
    ("case", "what"),
    [
        (lambda x: x[x > 0].sigmoid().mean(), "x[mask] makes"),
        (lambda x: F.softplus(x[:, x[0, :, 0, 0] > 0], 2, 3), "x[mask] makes"),
        (lambda x: torch.masked_select(x, x > 0), "masked_select makes"),
        (lambda x: (x > 0).nonzero().float(), "nonzero makes"),
        (lambda x: x[x.abs() >= 0].reshape(3, -1), "x[mask] makes"),
        (lambda x: x * 2 if x[x > 0].shape[0] > 2 else x, "this needs to know the size of"),
    ],
)
def test_a_size_that_depends_on_data_is_refused_where_it_stands(
    case: Callable[[Tensor], Tensor], what: str
) -> None:
    with pytest.raises(BadModule) as error:
        capture_graph(Masked(case).eval(), (example(),))
    assert error.value.what == f"{what} a tensor whose size depends on data, {FIXED}"
    assert "torch.where(mask, x, 0)" in error.value.do
    assert "test_shared_cases.py:" in error.value.where


def test_core_ml_replicates_no_edge_more_often_than_there_are_elements() -> None:
    module = Masked(lambda x: F.pad(x, (10, 30, 6, 11), mode="replicate")).eval()
    captured = capture_graph(module, (example(),)).decomposed(FOR_CORE_ML)
    pads = [node for node in captured.operations if packet_of(node) is torch.ops.aten.pad]
    assert len(pads) == 2
    for node in pads:
        height, width = node.args[0].meta["val"].shape[2:]  # type: ignore[union-attr]
        left, right, above, below = node.args[1]  # type: ignore[misc]
        assert max(left, right) <= width
        assert max(above, below) <= height
    assert torch.equal(captured.module(example())[0], module(example()))


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 1, 4, 1)])
def test_core_ml_samples_bicubically_as_a_sum_of_pixels(
    shape: tuple[int, ...], padding: str, corners: bool
) -> None:
    x = torch.rand(shape) * 4 - 2
    grid = torch.rand(2, 6, 4, 2) * 5 - 2.5
    # Corners, centres of pixels and what lies far outside are where implementations differ.
    grid.view(-1)[:8] = torch.tensor([-1, 1, 0, -1, 1, 0, 40, -300])
    number = {"zeros": 0, "border": 1, "reflection": 2}[padding]
    want = F.grid_sample(x, grid, "bicubic", padding, align_corners=corners)
    assert torch.allclose(sample_bicubic(x, grid, 2, number, corners), want, atol=1e-5)


class Given(nn.Module):
    """A value under two names, an input that is an output, and what depends on no input."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors = nn.Parameter(KERNEL)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = x.relu()
        constants = self.anchors, torch.arange(7), torch.arange(5) > 2, torch.ones_like(x)
        return y, x, y, *constants, self.anchors, x * torch.nan


def test_a_package_gives_inputs_constants_and_a_value_by_two_names(tmp_path: Path) -> None:
    module, x = Given().eval(), example()
    module.requires_grad_(False)
    wanted = module(x)
    outputs = tuple(
        TensorSpec(f"y{i}", tuple(y.shape), "features", tolerance=0.1, dtype=str(y.dtype)[6:])  # type: ignore[arg-type]
        for i, y in enumerate(wanted)
    )
    spec = ModelSpec("given", Given, (TensorSpec("x", SHAPE, "features"),), outputs)
    exported = export(Program(spec, module), tmp_path)
    with Worker("coreml") as worker:
        runner = open_runner(worker.convert(exported, tmp_path))
    for fed in (x, x * torch.inf, x * torch.nan):  # constants are what they are, whatever comes in
        got = runner.run({"x": fed.numpy()})
        for spec_of, want in zip(outputs, module(fed), strict=True):
            np.testing.assert_array_equal(got[spec_of.name], want.numpy())


@pytest.mark.parametrize("value", [KERNEL, torch.arange(7), torch.arange(5) > 2])
def test_a_net_that_no_input_reaches_is_traced(value: Tensor) -> None:
    module = Masked(lambda x: value).eval()
    captured = capture_graph(module, (example(),))
    traced = scripted(captured, (example(),))
    assert torch.equal(traced(example() * torch.nan), value)
