"""LSTM, GRU and RNN as PyTorch's own modules, their gates put into PyTorch's order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from converters.files.onnx.call import Layer, NodeCall

GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""PyTorch's gates, as places in ONNX's order: LSTM has i, o, f, c; GRU z, r, h."""
DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
KINDS: dict[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}


def recurrent(call: NodeCall) -> Layer:
    """Y (time, directions, batch, hidden), the last state and, of an LSTM, the last cell."""
    op = call.node.op
    read = call.read(
        activation_alpha=None,
        activation_beta=None,
        activations=None,
        clip=None,
        direction="forward",
        hidden_size=None,
        input_forget=0,
        layout=0,
        linear_before_reset=0,
        output_sequence=0,
    )
    directions = 2 if read.direction == "bidirectional" else 1
    _check(call, read, DEFAULTS[op] * directions)
    both = [i for i in (5, 6) if call.has(i)]
    time = call.shape()[1 if read.layout else 0]
    if call.has(4) and set(call.integers(4, "lengths")) != {time}:
        raise call.refuse("sequences of several lengths", do="feed one sequence of full length")
    states = [_numbers(call, call.node.op, i, directions) for i in (1, 2, 3)]
    settings = {
        "hidden": call.shape(2)[2],
        "backward": read.direction == "reverse",
        "batch_first": bool(read.layout),
    }
    module = _filled(call, states, settings["hidden"], directions)
    if op == "GRU" and not read.linear_before_reset:
        module = _ResetFirst(module)
    return Layer(_Recurrent(module, **settings), (0, *both), (1, 2, 3))


def _check(call: NodeCall, read: Any, usual: Sequence[str]) -> None:
    given = [a if isinstance(a, str) else a.decode() for a in read.activations or usual]
    if [a.lower() for a in given] != [a.lower() for a in usual]:
        raise call.refuse(f"activations {', '.join(given)}")
    if read.clip is not None:
        raise call.refuse("clip")
    if read.input_forget:
        raise call.refuse("input_forget")
    if call.node.op == "LSTM" and call.has(7):
        raise call.refuse("peepholes")
    if not call.is_constant(1, 2, 3):
        raise call.refuse("weights that are computed while running")


def _numbers(call: NodeCall, op: str, index: int, directions: int) -> list[list[Tensor]]:
    """For each direction the blocks of gates, in PyTorch's order."""
    if not call.has(index):
        return []
    value = call.value(index)
    gates = GATES[op]
    found = []
    for direction in range(directions):
        parts = value[direction].chunk(len(gates) * (2 if index == 3 else 1))
        halves = [parts[: len(gates)], parts[len(gates) :]] if index == 3 else [parts]
        found.append([torch.cat([half[gate] for gate in gates]) for half in halves])
    return found


def _filled(call: NodeCall, numbers: Any, hidden: int, directions: int) -> Any:
    weights, recurrences, biases = numbers
    module = KINDS[call.node.op](
        call.shape(1)[2], hidden, bias=bool(biases), bidirectional=directions == 2
    )
    for direction, end in zip(range(directions), ("", "_reverse"), strict=False):
        made = {"weight_ih": weights[direction][0], "weight_hh": recurrences[direction][0]}
        if biases:
            made |= {"bias_ih": biases[direction][0], "bias_hh": biases[direction][1]}
        for name, value in made.items():
            setattr(module, f"{name}_l0{end}", nn.Parameter(value.clone()))
    return module


class _ResetFirst(nn.Module):
    """A GRU that resets the state before its product, which PyTorch's does after: unrolled."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, value: Tensor, first: Tensor | None) -> tuple[Tensor, Tensor]:
        count = 2 if self.layer.bidirectional else 1
        if first is None:
            first = torch.zeros(count, value.shape[1], self.layer.hidden_size)
        found, ends = [], []
        for direction in range(count):
            along = value.flip(0) if direction else value
            rows = self._along(along, first[direction], "_reverse" if direction else "")
            ends.append(rows[-1])
            found.append(torch.stack(rows[::-1] if direction else rows))
        return torch.cat(found, -1), torch.stack(ends)

    def _along(self, value: Tensor, state: Tensor, end: str) -> list[Tensor]:
        def numbers(name: str) -> Any:
            return getattr(self.layer, f"{name}_l0{end}", None)

        bias, inner = numbers("bias_ih"), numbers("bias_hh")
        r_h, z_h, n_h = numbers("weight_hh").chunk(3)
        r_b, z_b, n_b = (None,) * 3 if inner is None else inner.chunk(3)
        rows = []
        for row in nn.functional.linear(value, numbers("weight_ih"), bias).unbind(0):
            reset, update, new = row.chunk(3, -1)
            reset = torch.sigmoid(reset + nn.functional.linear(state, r_h, r_b))
            update = torch.sigmoid(update + nn.functional.linear(state, z_h, z_b))
            new = torch.tanh(new + nn.functional.linear(reset * state, n_h, n_b))
            state = (1 - update) * new + update * state
            rows.append(state)
        return rows


class _Recurrent(nn.Module):
    """A module of PyTorch between ONNX's axes: (time, batch, size), or batch first."""

    def __init__(self, layer: Any, hidden: int, backward: bool, batch_first: bool) -> None:
        super().__init__()
        self.layer, self.hidden = layer, hidden
        self.backward, self.batch_first = backward, batch_first

    def forward(self, value: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        if self.batch_first:
            value, states = value.transpose(0, 1), tuple(s.transpose(0, 1) for s in states)
        if self.backward:
            value = value.flip(0)
        is_lstm = isinstance(self.layer, nn.LSTM)
        if is_lstm and len(states) == 1:
            states = (states[0], torch.zeros_like(states[0]))
        first: Any = (states if is_lstm else states[0]) if states else None
        found, last = self.layer(value, first)
        if self.backward:
            found = found.flip(0)
        time, batch = found.shape[:2]
        found = found.reshape(time, batch, -1, self.hidden).transpose(1, 2)
        ends = last if is_lstm else (last,)
        if self.batch_first:
            return (found.permute(2, 0, 1, 3), *(s.transpose(0, 1) for s in ends))
        return (found, *ends)
