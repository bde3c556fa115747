"""More axes than Core ML has: the same numbers with five at most, or a refusal where it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.graph.captured import CapturedGraph, capture_graph
from converters.graph.ranks import PARTS, parts_of_five_axes, with_five_axes
from converters.graph.sources import packet_of
from model_defs.errors import UnsupportedOperation

AXES = (1, 2, 2, 4, 2, 4, 3)
WEIGHT = torch.linspace(-1, 1, 6).reshape(2, 3)

CASES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "amax": lambda x: x.amax((2, -1), keepdim=True),
    "broadcast": lambda x: x * torch.arange(4.0).reshape(4, 1, 1, 1) + x.mean(4, keepdim=True),
    "cat": lambda x: torch.cat([x, x.exp()], -2),
    "chunk": lambda x: torch.cat([part * i for i, part in enumerate(x.chunk(2, 3))], 3),
    "cumsum": lambda x: x.cumsum(3),
    "expand": lambda x: x[:, :1].expand(2, 3, -1, -1, -1, -1, -1) + 1,
    "flip": lambda x: x.flip(3, 0, 5) * 2,
    "index_select": lambda x: x.index_select(3, torch.tensor([3, 0, 1])),
    "linear": lambda x: F.layer_norm(F.linear(x, WEIGHT, torch.ones(2)), (4, 2), eps=0.1),
    "matmul": lambda x: torch.matmul(x, x.transpose(-1, -2)),
    "mean": lambda x: x.mean(6),
    "mean_of_all": lambda x: x.exp().mean().expand(2),
    "permute": lambda x: x.permute(6, 0, 3, 2, 5, 1, 4) * 2,
    "select": lambda x: x[:, :, 1, ..., -1],
    "slice": lambda x: x[:, :, :, 1:4:2, :, ::3],
    "softmax": lambda x: x.softmax(3),
    "split": lambda x: torch.cat([part * i for i, part in enumerate(x.split([1, 3], 3))], 3),
    "squeeze": lambda x: (x.unsqueeze(4).squeeze(0) * 2).flatten(0, 3),
    "stack": lambda x: torch.stack([x.select(0, 0), x.select(0, 0) * 2], 3),
    "sum": lambda x: x.sum((1, 3, 6)),
    "transpose": lambda x: torch.relu(x.transpose(1, -2)),
    "unbind": lambda x: x.permute(1, 2, 0, 3, 5, 4, 6).unbind(1)[1] * 3,
    "where": lambda x: torch.where(x > 0, x, torch.zeros(())).clamp(max=1.0),
    "written": lambda x: _written(x),
}


def _written(x: Tensor) -> Tensor:
    y = x * 1
    y[:, :, 0] = 5.0
    return y


class OfSevenAxes(nn.Module):
    def __init__(self, *cases: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.cases = cases

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(case(x.reshape(AXES)).reshape(-1) for case in self.cases)


X = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(2))


def most_axes(graph: CapturedGraph) -> int:
    values = [node.meta.get("val") for node in graph.graph.nodes]
    return max(value.ndim for value in values if isinstance(value, Tensor))


def test_the_numbers_of_seven_axes_are_computed_with_five() -> None:
    module = OfSevenAxes(*CASES.values()).eval()
    graph = capture_graph(module, (X,))
    assert most_axes(graph) > 5
    five = with_five_axes(graph)
    assert most_axes(five) <= 5
    for name, got, want in zip(CASES, five.module(X), module(X), strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5, msg=name)
    assert most_axes(graph) > 5


def test_one_permutation_is_left_to_coremltools() -> None:
    graph = capture_graph(OfSevenAxes(lambda x: x.permute(0, 2, 1, 5, 4, 3, 6)).eval(), (X,))
    assert [n.target for n in with_five_axes(graph).operations] == [
        n.target for n in graph.operations
    ]


def test_parts_alone_are_of_five_axes() -> None:
    captured = capture_graph(OfSevenAxes(*CASES.values()).eval(), (X,))
    made = parts_of_five_axes(captured)
    for name, got, want in zip(CASES, made.module(X), captured.module(X), strict=True):
        torch.testing.assert_close(got, want, msg=name)
    for node in made.operations:
        if packet_of(node) in PARTS:
            assert all(n.meta["val"].ndim <= 5 for n in node.all_input_nodes)
    assert most_axes(made) == most_axes(captured) > 5


def test_few_axes_are_left_alone() -> None:
    graph = capture_graph(nn.Softmax(1), (X,))
    assert with_five_axes(graph) is graph


def test_an_operation_of_seven_axes_that_is_not_known_is_refused_where_it_stands() -> None:
    graph = capture_graph(OfSevenAxes(lambda x: x.cummax(3)[0]).eval(), (X,))
    with pytest.raises(UnsupportedOperation, match=r"cummax of 7 axes \(1, 2, 2, 4") as error:
        with_five_axes(graph)
    assert "test_ranks.py:" in error.value.where
    assert "reshape to fewer axes" in error.value.do


def test_an_output_of_seven_axes_is_refused() -> None:
    class Returned(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(AXES) * 2

    with pytest.raises(UnsupportedOperation, match="Core ML's tensors have 5 at most"):
        with_five_axes(capture_graph(Returned(), (X,)))
