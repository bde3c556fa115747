"""PyTorch's recurrent layers by plain operations, one step after the other.

Each function takes the arguments of the ATen operator of its name, so that it can stand for it
in a graph of torch.export, where the number of steps is known: as a decomposition, or as the
`target` of its node where the graph is only run or traced (for 2 bidirectional layers of 100
steps the first takes 20 s, the second nothing).

The product with the input hangs on no state: it is computed for all steps at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from model_defs.errors import UnsupportedOperation

if TYPE_CHECKING:
    from torch import Tensor

    State = tuple[Tensor, ...]
    Step = Callable[[Tensor, State], State]
    """The projected input of a step and the state before it -> the state after it, h first."""
    Layer = Callable[[Sequence[Tensor]], tuple[Tensor | None, Step]]
    """The weights of one layer and direction -> the bias of the projection, and its step."""


def decompositions() -> dict[Any, Callable[..., Any]]:
    """ATen's operator -> the function that computes the same."""
    import torch

    aten = torch.ops.aten
    return {
        aten.lstm.input: lstm,
        aten.gru.input: gru,
        aten.rnn_tanh.input: rnn_tanh,
        aten.rnn_relu.input: rnn_relu,
    }


def lstm(
    input: Tensor,
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """aten.lstm.input, with projections of h as well: all outputs, and the last h and c."""
    _refuse_dropout("LSTM", dropout, train)
    y, (h, c) = _stacked(_lstm, input, tuple(hx), params, num_layers, bidirectional, batch_first)
    return y, h, c


def gru(
    input: Tensor,
    hx: Tensor,
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor]:
    """aten.gru.input: all outputs, and the last h."""
    _refuse_dropout("GRU", dropout, train)
    y, (h,) = _stacked(_gru, input, (hx,), params, num_layers, bidirectional, batch_first)
    return y, h


def rnn_tanh(
    input: Tensor,
    hx: Tensor,
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor]:
    """aten.rnn_tanh.input: all outputs, and the last h."""
    import torch

    _refuse_dropout("RNN", dropout, train)
    layer = _rnn(torch.tanh)
    y, (h,) = _stacked(layer, input, (hx,), params, num_layers, bidirectional, batch_first)
    return y, h


def rnn_relu(
    input: Tensor,
    hx: Tensor,
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor]:
    """aten.rnn_relu.input: all outputs, and the last h."""
    import torch

    _refuse_dropout("RNN", dropout, train)
    layer = _rnn(torch.relu)
    y, (h,) = _stacked(layer, input, (hx,), params, num_layers, bidirectional, batch_first)
    return y, h


def _refuse_dropout(layer: str, dropout: float, train: bool) -> None:
    if train and dropout:
        raise UnsupportedOperation(
            f"{layer}: dropout in training mode", do="call eval() before exporting"
        )


def _stacked(
    layer: Layer,
    x: Tensor,
    hx: State,
    params: Sequence[Tensor],
    num_layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, State]:
    """All outputs of the last layer, and each state after the last step of every layer."""
    import torch

    x = x.transpose(0, 1) if batch_first else x  # (T, N, I)
    directions = 2 if bidirectional else 1
    each = len(params) // (num_layers * directions)
    last: list[State] = []
    for _ in range(num_layers):
        outputs = []
        for backwards in (False, True)[:directions]:
            place = len(last)
            initial = tuple(h[place] for h in hx)
            weights = params[place * each : (place + 1) * each]
            y, state = _scanned(layer, x, initial, weights, backwards)
            outputs.append(y)
            last.append(state)
        x = torch.cat(outputs, 2) if bidirectional else outputs[0]
    states = tuple(torch.stack(parts) for parts in zip(*last, strict=True))
    return (x.transpose(0, 1) if batch_first else x), states


def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """aten.lstm_cell: the next h and c of one step."""
    h, c = _stepped(_lstm, input, (hx[0], hx[1]), w_ih, w_hh, b_ih, b_hh)
    return h, c


def _cell(layer: Layer) -> Callable[..., Tensor]:
    """A cell whose state is h alone: its next h of one step."""

    def cell(
        input: Tensor,
        hx: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Tensor:
        return _stepped(layer, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]

    return cell


def _stepped(layer: Layer, x: Tensor, state: State, *given: Tensor | None) -> State:
    """One step of one layer; `given` are its weights, and both biases or none."""
    import torch.nn.functional as F

    weights = [one for one in given if one is not None]
    bias, step = layer(weights)
    return step(F.linear(x, weights[0], bias), state)


def _scanned(
    layer: Layer, x: Tensor, state: State, weights: Sequence[Tensor], backwards: bool
) -> tuple[Tensor, State]:
    """One layer in one direction: (T, N, H) in the order of time, and the state that is last."""
    import torch
    import torch.nn.functional as F

    bias, step = layer(weights)
    projected = F.linear(x, weights[0], bias)
    steps = range(x.shape[0])
    seen = []
    for t in reversed(steps) if backwards else steps:
        state = step(projected.select(0, t), state)
        seen.append(state[0])
    return torch.stack(seen[::-1] if backwards else seen), state


def _lstm(weights: Sequence[Tensor]) -> tuple[Tensor | None, Step]:
    """The gates are stored in the order input, forget, cell, output.

    `weights` are w_ih, w_hh, then both biases or none, then the projection of h or none.
    """
    import torch.nn.functional as F

    w_hh, projects = weights[1], len(weights) in (3, 5)

    def step(x: Tensor, state: State) -> State:
        h, c = state
        i, f, g, o = (x + F.linear(h, w_hh)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return (F.linear(h, weights[-1]) if projects else h), c

    return (weights[2] + weights[3] if len(weights) > 3 else None), step


def _gru(weights: Sequence[Tensor]) -> tuple[Tensor | None, Step]:
    """The gates are stored in the order reset, update, new."""
    import torch.nn.functional as F

    w_hh = weights[1]
    # The recurrent bias of the new gate lies within what the reset gate multiplies: it cannot
    # be added to the input's.
    b_ih, b_hh = (weights[2], weights[3]) if len(weights) > 2 else (None, None)

    def step(x: Tensor, state: State) -> State:
        (h,) = state
        (xr, xz, xn), (hr, hz, hn) = x.chunk(3, 1), F.linear(h, w_hh, b_hh).chunk(3, 1)
        update = (xz + hz).sigmoid()
        new = (xn + (xr + hr).sigmoid() * hn).tanh()
        return (new + update * (h - new),)

    return b_ih, step


def _rnn(activation: Callable[[Tensor], Tensor]) -> Layer:
    def layer(weights: Sequence[Tensor]) -> tuple[Tensor | None, Step]:
        import torch.nn.functional as F

        def step(x: Tensor, state: State) -> State:
            return (activation(x + F.linear(state[0], weights[1])),)

        return (weights[2] + weights[3] if len(weights) > 2 else None), step

    return layer


gru_cell = _cell(_gru)
rnn_tanh_cell = _cell(_rnn(lambda x: x.tanh()))
rnn_relu_cell = _cell(_rnn(lambda x: x.relu()))
"""aten's of these names."""
