"""Recurrent layers by plain operations give PyTorch's own numbers."""

from __future__ import annotations

import warnings
from itertools import product

import pytest
import torch
from torch import nn

from converters.graph.recurrent import (
    decompositions,
    gru,
    gru_cell,
    lstm,
    lstm_cell,
    rnn_relu,
    rnn_relu_cell,
    rnn_tanh,
    rnn_tanh_cell,
)
from model_defs.errors import UnsupportedOperation

EXACT = 1e-12
KINDS = {
    "lstm": (nn.LSTM, {}, lstm),
    "lstm_projected": (nn.LSTM, {"proj_size": 2}, lstm),
    "gru": (nn.GRU, {}, gru),
    "rnn_tanh": (nn.RNN, {}, rnn_tanh),
    "rnn_relu": (nn.RNN, {"nonlinearity": "relu"}, rnn_relu),
}


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_equals_pytorch_in_every_direction_and_layout(kind: str) -> None:
    torch.manual_seed(0)
    layer, options, function = KINDS[kind]
    for layers, both, first, bias, steps in product(
        (1, 2), (False, True), (False, True), (False, True), (1, 4)
    ):
        how = {"num_layers": layers, "bidirectional": both, "batch_first": first, "bias": bias}
        net = layer(3, 5, **how, **options).double().eval()
        h = noise(layers * (1 + both), 2, options.get("proj_size", 5))
        c = noise(layers * (1 + both), 2, 5)
        hx = (h, c) if layer is nn.LSTM else h
        x = noise(2, steps, 3) if first else noise(steps, 2, 3)
        with torch.no_grad():
            y, state = net(x, hx)
            found = function(x, hx, net._flat_weights, bias, layers, 0.5, False, both, first)
        wanted = (y, *state) if layer is nn.LSTM else (y, state)
        for got, want in zip(found, wanted, strict=True):
            assert got.shape == want.shape
            assert (got - want).abs().max() <= EXACT, how


CELLS = {
    "lstm": (nn.LSTMCell, {}, lstm_cell),
    "gru": (nn.GRUCell, {}, gru_cell),
    "rnn_tanh": (nn.RNNCell, {}, rnn_tanh_cell),
    "rnn_relu": (nn.RNNCell, {"nonlinearity": "relu"}, rnn_relu_cell),
}


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("bias", [True, False])
def test_a_cell_is_one_step(kind: str, bias: bool) -> None:
    torch.manual_seed(0)
    layer, options, function = CELLS[kind]
    cell = layer(3, 5, bias, **options).double()
    x, h, c = noise(2, 3), noise(2, 5), noise(2, 5)
    hx = (h, c) if kind == "lstm" else h
    weights = [cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh]
    with torch.no_grad():
        found, wanted = function(x, hx, *weights), cell(x, hx)
    pairs = zip(found, wanted, strict=True) if kind == "lstm" else [(found, wanted)]
    assert all((a - b).abs().max() <= EXACT for a, b in pairs)


class Nets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True, proj_size=2)
        self.gru, self.rnn = nn.GRU(4, 4), nn.RNN(4, 3, nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y, (h, c) = self.lstm(x)
        z, last = self.gru(y)
        return (y, h, c, z, last, *self.rnn(z))


def exported() -> tuple[torch.export.ExportedProgram, torch.Tensor, tuple[torch.Tensor, ...]]:
    torch.manual_seed(1)
    net, x = Nets().double().eval(), noise(2, 5, 3)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.export.export(net, (x,), strict=False), x, net(x)


def equal(found: tuple[torch.Tensor, ...], wanted: tuple[torch.Tensor, ...]) -> bool:
    return all((a - b).abs().max() <= EXACT for a, b in zip(found, wanted, strict=True))


def test_stands_for_the_operator_in_a_graph_of_torch_export() -> None:
    program, x, wanted = exported()
    module = program.module()
    swapped = 0
    for node in module.graph.nodes:
        if node.target in decompositions():
            node.target = decompositions()[node.target]
            swapped += 1
    assert swapped == 3
    module.recompile()
    with torch.no_grad():
        assert equal(module(x), wanted)


def test_is_a_decomposition() -> None:
    program, x, wanted = exported()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = program.run_decompositions(decompositions())
    assert not {node.target for node in program.graph.nodes} & decompositions().keys()
    with torch.no_grad():
        assert equal(program.module()(x), wanted)


def test_dropout_in_training_is_refused() -> None:
    net = nn.GRU(3, 4, 2)
    with pytest.raises(UnsupportedOperation, match="GRU: dropout in training mode"):
        gru(torch.ones(2, 1, 3), torch.ones(2, 1, 4), net._flat_weights, True, 2, 0.5, True,
            False, False)  # fmt: skip
