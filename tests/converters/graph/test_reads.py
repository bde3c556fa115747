"""Numbers that forward reads: those of constants are facts, those of the inputs are refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from converters.graph.captured import CapturedGraph, capture_graph
from model_defs.errors import BadModule

RUNS: list[type] = []
"""What forward was given in each run: numbers, or what stands for them."""
X = torch.linspace(-2, 2, 24).reshape(1, 3, 2, 4)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("std", torch.tensor([0.5, 0.25, 2.0]))

    def forward(self, x: Tensor) -> Tensor:
        RUNS.append(type(x))
        return self.compute(x)

    def compute(self, x: Tensor) -> Tensor:
        return x * 2


class Normalizes(Net):
    """As torchvision's transform."""

    std: Tensor

    def compute(self, x: Tensor) -> Tensor:
        std = torch.as_tensor(self.std, dtype=x.dtype)
        if (std == 0).any():
            raise ValueError("no")
        return x / std[:, None, None]


class Counts(Net):
    """Numbers become sizes and steps of Python's."""

    std: Tensor

    def compute(self, x: Tensor) -> Tensor:
        times = int(self.std.max().item())
        for factor in self.std.tolist():
            x = x * factor if factor > 0.3 else x + factor
        return torch.cat([x] * times, 1)


class Catches(Net):
    """Makes do where a value cannot be read."""

    std: Tensor

    def compute(self, x: Tensor) -> Tensor:
        try:
            return x * float(self.std[0])
        except RuntimeError:
            return x * 100


class ReadsWhenExported(Net):
    std: Tensor

    def compute(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            return x * float(self.std[2])
        return x * 2


def check(net: Net) -> CapturedGraph:
    captured = capture_graph(net.eval(), (X,))
    torch.testing.assert_close(captured.module(X)[0], net(X))
    return captured


@pytest.mark.parametrize("kind", [Normalizes, Counts, Catches, ReadsWhenExported])
def test_numbers_of_constants_are_facts(kind: type[Net]) -> None:
    check(kind())


def test_other_numbers_make_another_graph() -> None:
    net = Counts()
    net.std = torch.tensor([0.1, 3.5, 1.0])
    names = [[node.name for node in check(one).operations] for one in (net, Counts())]
    assert names[0] != names[1]


def test_a_forward_that_reads_nothing_is_not_run_ahead() -> None:
    RUNS.clear()
    capture_graph(Net().eval(), (X,))
    assert RUNS
    assert Tensor not in RUNS
    capture_graph(Counts().eval(), (X,))
    assert Tensor in RUNS


@pytest.mark.parametrize("read", [bool, float, Tensor.item, Tensor.tolist, torch.is_nonzero])
def test_a_number_of_the_inputs_is_refused_with_its_line(read: object) -> None:
    class Reads(Net):
        def compute(self, x: Tensor) -> Tensor:
            scale = x.mean() * self.std[0]
            return x * 2 if read(scale) else x  # type: ignore[operator]

    with pytest.raises(BadModule, match="depends on data") as caught:
        capture_graph(Reads().eval(), (X,))
    assert "test_reads.py" in caught.value.where
