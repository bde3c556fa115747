"""LSTM and GRU as ONNX's operators: one for each layer, both directions in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.graph.writing.emit import Emission, shape_of

GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""ONNX's order of gates in PyTorch's (input, forget, cell, output; reset, update, new)."""


def lstm(e: Emission) -> tuple[str, str, str]:
    y, (h, c) = _stacked(e, "LSTM", list(e.arg(1)))
    return y, h, c


def gru(e: Emission) -> tuple[str, str]:
    y, (h,) = _stacked(e, "GRU", [e.arg(1)])
    return y, h


def rnn(activation: str) -> Any:
    def write(e: Emission) -> tuple[str, str]:
        y, (h,) = _stacked(e, "RNN", [e.arg(1)], activation)
        return y, h

    return write


def _stacked(
    e: Emission, operation: str, states: Sequence[Any], activation: str = ""
) -> tuple[str, list[str]]:
    weights, biases, layers = list(e.arg(2)), bool(e.arg(3)), int(e.arg(4))
    bidirectional, batch_first = bool(e.arg(7)), bool(e.arg(8))
    directions = 2 if bidirectional else 1
    per = len(weights) // (layers * directions)
    if per != (4 if biases else 2):
        raise e.refuse("with a projection", "leave proj_size at 0")
    if e.tensor().ndim != 3:
        raise e.refuse("without a batch", "add an axis for the batch")
    x = e.input()
    if batch_first:
        x = e.emit("Transpose", x, perm=[1, 0, 2])
    given = [e.name(state) for state in states]
    hidden = shape_of(weights[1]).shape[1]
    steps, batch = _sizes(e, batch_first)
    last: list[list[str]] = [[] for _ in states]
    for layer in range(layers):
        own = weights[layer * directions * per : (layer + 1) * directions * per]
        parts = [own[i * per : (i + 1) * per] for i in range(directions)]
        initial = [_layer_state(e, name, layer, layers, directions) for name in given]
        made = e.emit_all(
            operation,
            (x, *_weights(e, operation, parts, biases), "", *initial),
            1 + len(states),
            hidden_size=hidden,
            direction="bidirectional" if bidirectional else "forward",
            activations=[activation] * directions if activation else None,
            linear_before_reset=1 if operation == "GRU" else None,
        )
        for found, name in zip(last, made[1:], strict=True):
            found.append(name)
        x = e.emit("Transpose", made[0], perm=[0, 2, 1, 3])
        x = e.reshape(x, (steps, batch, directions * hidden))
    if batch_first:
        x = e.emit("Transpose", x, perm=[1, 0, 2])
    return x, [n[0] if len(n) == 1 else e.emit("Concat", *n, axis=0) for n in last]


def _sizes(e: Emission, batch_first: bool) -> tuple[int, int]:
    first, second, _ = e.tensor().shape
    return (second, first) if batch_first else (first, second)


def _layer_state(e: Emission, name: str, layer: int, layers: int, directions: int) -> str:
    if layers == 1:
        return name
    bounds = (e.ints(layer * directions), e.ints((layer + 1) * directions))
    return e.emit("Slice", name, *bounds, e.ints(0))


def _weights(
    e: Emission, operation: str, parts: Sequence[Sequence[Any]], biases: bool
) -> tuple[str, ...]:
    def stored(place: int) -> np.ndarray:
        return np.stack([_reordered(e, operation, part[place]) for part in parts])

    found = [e.constant(stored(0)), e.constant(stored(1))]
    if biases:
        found.append(e.constant(np.concatenate([stored(2), stored(3)], axis=1)))
    else:
        found.append("")
    return tuple(found)


def _reordered(e: Emission, operation: str, weight: Any) -> np.ndarray:
    stored = e.sheet.constants.get(e.name(weight))
    if stored is None:
        raise e.refuse("its weights are computed while running", "make them parameters")
    gates = np.split(stored, len(GATES[operation]))
    return np.concatenate([gates[gate] for gate in GATES[operation]])
