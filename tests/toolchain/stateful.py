"""Two nets with state, whose specifications say so."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from converters.api import Program
from converters.capture import capture
from mlship import ModelSpec, Preprocess, TensorSpec


class ConvGRU(nn.Module):
    """Of a frame and its memory a matte and the next memory; the gates' biases are far from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.see, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.gates, self.new = nn.Conv2d(12, 12, 3, padding=1), nn.Conv2d(12, 6, 3, padding=1)
        self.show = nn.Conv2d(6, 1, 1)
        nn.init.uniform_(self.norm.running_var, 0.02, 0.1)
        nn.init.uniform_(self.gates.bias, -0.5, 0.5)

    def forward(self, image: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.norm(self.see(image)).relu()
        r, z = self.gates(torch.cat([seen, hidden], 1)).sigmoid().chunk(2, 1)
        new = self.new(torch.cat([seen, r * hidden], 1)).tanh()
        hidden = (1 - z) * hidden + z * new
        return (3 * self.show(hidden)).sigmoid(), hidden


class LSTM(nn.Module):
    """A cell with two states, which are of one shape: to mix them up shows in numbers alone."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTMCell(5, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h, c = self.cell(x, (h, c))
        return self.out(h), h, c


def tensor(name: str, *shape: int, **more: Any) -> TensorSpec:
    return TensorSpec(name, shape, "features", **more)


PLANE = (1, 6, 16, 16)
GRU = ModelSpec(
    "gru",
    ConvGRU,
    (
        TensorSpec("image", (1, 3, 16, 16), "image", low=0, high=1, preprocess=Preprocess()),
        TensorSpec("hidden", PLANE, "state", low=-1, high=1),
    ),
    (
        TensorSpec("matte", (1, 1, 16, 16), "map", low=0, high=1, tolerance=0.01),
        TensorSpec("hidden_out", PLANE, "state", low=-1, high=1, tolerance=0.01),
    ),
    state={"hidden": "hidden_out"},
)
CELL = ModelSpec(
    "cell",
    LSTM,
    (tensor("x", 1, 5, low=-2, high=2), tensor("h", 1, 6), tensor("c", 1, 6)),
    (
        tensor("y", 1, 3, tolerance=0.01),
        tensor("h_out", 1, 6, tolerance=0.01),
        tensor("c_out", 1, 6, tolerance=0.01),
    ),
    state={"h": "h_out", "c": "c_out"},
)


@cache
def program_of(spec: ModelSpec) -> Program:
    return capture(spec)
