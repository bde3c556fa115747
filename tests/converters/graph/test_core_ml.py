"""What is written for Core ML computes what PyTorch computes, in what both agree on."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.graph import core_ml, integers
from converters.graph.captured import CapturedGraph, capture_graph
from converters.graph.rules import FOR_CORE_ML
from converters.graph.sources import packet_of

aten = torch.ops.aten

HOW = list(itertools.product((2, 3, 4), (1, 2, 3, 5), (0, 1), (True, False)))


def written(function: Callable[[Tensor], Tensor], x: Tensor) -> CapturedGraph:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x)

    found = capture_graph(Net().eval(), (x,)).decomposed(FOR_CORE_ML)
    torch.testing.assert_close(found.module(x)[0], function(x), rtol=0, atol=1e-6)
    return found


def calls(graph: CapturedGraph, packet: object) -> list[tuple[object, ...]]:
    return [node.args for node in graph.operations if packet_of(node) is packet]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_averages_with_ceil_mode(axes: int) -> None:
    x = torch.rand(1, 2, *[7, 9, 8][:axes])
    pool = core_ml.AVERAGES[axes]
    for kernel, stride, pad, with_pad in HOW:
        want = pool(x, kernel, stride, pad, True, with_pad)
        got = core_ml.average(x, kernel, stride, pad, True, with_pad)
        torch.testing.assert_close(got, want, rtol=0, atol=1e-6)


def test_maxima_of_volumes_with_ceil_mode() -> None:
    x = torch.rand(1, 2, 7, 9, 8) - 2
    for kernel, stride, pad, _ in HOW:
        want = F.max_pool3d(x, kernel, stride, pad, 1, True)
        assert torch.equal(core_ml.maximum_of_volume(x, kernel, stride, pad, 1, True), want)


def test_the_overhang_of_an_average_counts_as_padding_where_there_is_none() -> None:
    found = written(lambda x: F.avg_pool2d(x, 2, 3, ceil_mode=True), torch.rand(1, 2, 7, 7))
    (call,) = calls(found, aten.avg_pool2d)
    assert call[4:6] == (True, False)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.avg_pool2d(x, 2, 3),
        lambda x: F.avg_pool2d(x, 2, 3, 1, ceil_mode=True, count_include_pad=False),
    ],
)
def test_an_average_on_which_both_agree_stays(function: Callable[[Tensor], Tensor]) -> None:
    assert len(written(function, torch.rand(1, 2, 7, 7)).operations) == 1


@pytest.mark.parametrize("divisor", [1, 5])
def test_a_divisor_of_its_own_in_three_axes(divisor: int) -> None:
    x = torch.rand(1, 2, 5, 6, 7)
    written(lambda x: F.avg_pool3d(x, 2, 2, 1, divisor_override=divisor), x)
    written(lambda x: F.avg_pool3d(x, 2, 2, 1, True, divisor_override=divisor), x)


PADS = [
    ((4, 5, 6, 7, 8), (1, 2, 2, 1, 1, 3)),
    ((4, 5, 6, 7, 8), (0, 0, 0, 0, 2, 0)),
    ((4, 5, 6, 7), (0, 0, 1, 2, 2, 1)),
]


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
@pytest.mark.parametrize(("shape", "pad"), PADS)
def test_pads_an_axis_before_the_last_two_as_the_last(
    shape: tuple[int, ...], pad: tuple[int, ...], mode: str
) -> None:
    found = written(lambda x: F.pad(x, pad, mode=mode), torch.rand(shape))
    made = calls(found, aten.pad)
    assert len(made) == 1 + any(pad[:4])
    assert not any(any(args[1][4:]) for args in made)  # type: ignore[index]


def test_pads_on_which_both_agree_stay() -> None:
    for function in (
        lambda x: F.pad(x, (1, 2, 3, 4), mode="reflect"),
        lambda x: F.pad(x, (5, 5, 5, 5), mode="replicate"),
        lambda x: F.pad(x, (1, 1, 1, 1, 1, 1), value=2.0),
    ):
        assert len(written(function, torch.rand(1, 2, 5, 5)).operations) == 1


PRODUCTS = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 4)),
    ((2, 2, 3), (3, 4)),
    ((5, 2, 1, 2, 3), (2, 3, 4)),
]


@pytest.mark.parametrize(("left", "right"), PRODUCTS)
def test_products_of_integers(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    # Beyond 2^24, float32 does not hold them.
    x, y = torch.randint(-(2**14), 2**14, left), torch.randint(-(2**14), 2**14, right)
    assert torch.equal(integers.whole_product(x, y), x @ y)


def test_products_of_integers_are_written_as_sums() -> None:
    weight, bias = torch.arange(20).reshape(4, 5) - 7, torch.arange(5)
    for function in (
        lambda x: torch.addmm(bias, x.long(), weight, beta=2, alpha=3).float(),
        lambda x: F.linear(x.long(), weight.t(), bias).float(),
        lambda x: torch.mv(x.long(), weight[:, 0]).float(),
        lambda x: torch.bmm(x.long()[None], weight[None]).float(),
    ):
        found = written(function, torch.rand(3, 4) * 9)
        assert len(calls(found, aten.sum)) == 1
        for packet in (aten.addmm, aten.linear, aten.mv, aten.bmm, aten.matmul):
            assert not calls(found, packet)


def test_a_product_of_floats_stays() -> None:
    assert len(written(lambda x: x @ x.mT, torch.rand(3, 4)).operations) == 2
