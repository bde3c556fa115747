"""Recurrent layers over sequences of shape (steps, batch, features)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from converters.mil.ops.signature import Op
from model_defs.errors import BadArtifact, UnsupportedOperation

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}
"""Those whose parameters the operations do not leave open."""


def _activation(name: str) -> Callable[[Tensor], Tensor]:
    if name not in ACTIVATIONS:
        raise UnsupportedOperation(f"a recurrent layer with activation '{name}'")
    return ACTIVATIONS[name]


def _scan(
    x: Tensor, step: Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]], *initial: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Every step's first state, and the last states."""
    states: tuple[Tensor, ...] = initial
    seen = []
    for inputs in x:
        states = step(inputs, states)
        seen.append(states[0])
    return torch.stack(seen), states


def rnn(
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    activation: str = "tanh",
) -> tuple[Tensor, Tensor]:
    function = _activation(activation)

    def step(inputs: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (function(F.linear(inputs, weight_ih, bias) + F.linear(states[0], weight_hh)),)

    if direction not in ("forward", "reverse"):
        raise UnsupportedOperation(f"rnn of direction '{direction}'")
    backwards = direction == "reverse"
    outputs, (last,) = _scan(x.flip(0) if backwards else x, step, initial_h)
    # Back in the order of time. `last` stays the state after the first step in time, where the way
    # back ends.
    if backwards:
        outputs = outputs.flip(0)
    return (outputs if output_sequence else last.unsqueeze(0)), last


def _lstm_direction(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    activations: tuple[str, str, str],
    clip: float | None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One direction; gates are stored in the order input, forget, output, cell."""
    gate, cell, out = map(_activation, activations)
    weight_ih, weight_hh, bias, peephole = weights
    # None are zeros, so that one formula does for both.
    peeps = h.new_zeros(3, 1) if peephole is None else peephole.reshape(3, -1)

    def step(inputs: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        h, c = states
        sums = F.linear(inputs, weight_ih, bias) + F.linear(h, weight_hh)
        i, f, o, z = sums.chunk(4, 1)
        # What is clipped is the cell gate, as coremltools documents it, not the cell's state.
        candidate = cell(z) if clip is None else cell(z).clamp(-clip, clip)
        c_next = gate(f + peeps[1] * c) * c + gate(i + peeps[0] * c) * candidate
        # The output gate's peephole looks at the new cell, the other two at the old.
        return gate(o + peeps[2] * c_next) * out(c_next), c_next

    return _scan(x, step, h, c)


def lstm(
    x: Tensor,
    initial_h: Tensor,
    initial_c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    peephole: Tensor | None = None,
    weight_ih_back: Tensor | None = None,
    weight_hh_back: Tensor | None = None,
    bias_back: Tensor | None = None,
    peephole_back: Tensor | None = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The two directions of a bidirectional layer lie side by side in states and outputs."""
    functions = (recurrent_activation, cell_activation, activation)
    ahead = (weight_ih, weight_hh, bias, peephole)
    if direction == "forward":
        outputs, (h, c) = _lstm_direction(x, initial_h, initial_c, ahead, functions, clip)
    elif direction == "reverse":
        outputs, (h, c) = _lstm_direction(x.flip(0), initial_h, initial_c, ahead, functions, clip)
        outputs = outputs.flip(0)
    elif direction != "bidirectional":
        raise UnsupportedOperation(f"lstm of direction '{direction}'")
    elif weight_ih_back is None or weight_hh_back is None:
        raise BadArtifact("a bidirectional lstm without weights for its way back")
    else:
        back = (weight_ih_back, weight_hh_back, bias_back, peephole_back)
        h0, h1 = initial_h.chunk(2, 1)
        c0, c1 = initial_c.chunk(2, 1)
        there, (ha, ca) = _lstm_direction(x, h0, c0, ahead, functions, clip)
        home, (hb, cb) = _lstm_direction(x.flip(0), h1, c1, back, functions, clip)
        outputs = torch.cat([there, home.flip(0)], 2)
        h, c = torch.cat([ha, hb], 1), torch.cat([ca, cb], 1)
    return (outputs if output_sequence else h.unsqueeze(0)), h, c


OPS: dict[str, Op] = {
    "lstm": Op(lstm, gives=("x", "x", "x")),
    "rnn": Op(rnn, gives=("x", "x")),
}
