"""LSTM, GRU and RNN without a loop: every step is emitted, one after the other.

TFLite has a fused LSTM. It is not taken: XNNPACK does not run it, it is no faster (the steps take
0.8 to 1.06 of its time for 100 steps of 128 and of 256 features, on 1 and on 2 threads), and it
keeps its state from one call to the next, so that the second call of a network gives another
result unless the app resets its variables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.lowering.activation import add, mul
from converters.lowering.call import Call, Target
from converters.lowering.join import joined
from converters.lowering.tf import Tensor, constant, gen_array_ops, gen_math_ops, gen_nn_ops
from converters.lowering.value import Value, as_tensor, reshape

State = tuple[Tensor, ...]
Function = Callable[[Tensor], Tensor]
Step = Callable[[Tensor, State | None], State]
"""The projected input of a step and the state before it -> the state after it, h first.

None is a state of zeros, for which no product is emitted.
"""

ACTIVATIONS: dict[str, Function] = {
    "relu": gen_nn_ops.relu,
    "sigmoid": gen_math_ops.sigmoid,
    "tanh": gen_math_ops.tanh,
}
"""Those without parameters, by ONNX's names in lower case."""

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""Whether each goes backwards."""

FEW = 4
"""Up to this many rows, a product with XNNPACK is one of numbers, and their sum."""


@dataclass(frozen=True)
class Weights:
    """Those of one direction, G gates below each other, and how they are used."""

    target: Target
    w: np.ndarray  # (G * H, I)
    r: np.ndarray  # (G * H, H)
    b: np.ndarray  # what is added to the product with w, (G * H,)
    rb: np.ndarray  # what is added to the product with r, (G * H,)
    peepholes: np.ndarray | None  # (3 * H,)
    functions: tuple[Function, ...]

    @property
    def hidden(self) -> int:
        return int(self.r.shape[1])


Cell = Callable[[Weights], tuple[np.ndarray, Step]]
"""The bias of the projection, and how a step goes."""


def lstm(call: Call) -> tuple[Value, ...]:
    """LSTM, with peepholes as well."""
    a = _attributes(call, input_forget=0)
    if a.input_forget:
        raise call.refuse("input_forget", do="use nn.LSTM")
    return _unrolled(call, a, _lstm, ("sigmoid", "tanh", "tanh"), states=2)


def gru(call: Call) -> tuple[Value, ...]:
    """GRU; PyTorch's is the one with linear_before_reset."""
    a = _attributes(call, linear_before_reset=0)
    cell = _gru if a.linear_before_reset else _gru_of_reset_state
    return _unrolled(call, a, cell, ("sigmoid", "tanh"), states=1)


def rnn(call: Call) -> tuple[Value, ...]:
    """RNN: h = tanh(x + r @ h), or with another activation."""
    return _unrolled(call, _attributes(call), _rnn, ("tanh",), states=1)


def _attributes(call: Call, **own: Any) -> Any:
    a = call.read(
        activation_alpha=(),
        activation_beta=(),
        activations=(),
        clip=0.0,
        direction="forward",
        hidden_size=None,
        layout=0,
        **own,
    )
    if a.activation_alpha or a.activation_beta:
        raise call.refuse("activations with parameters", do=f"use {', '.join(ACTIVATIONS)}")
    if a.clip:
        raise call.refuse("clip", do="use nn.LSTM, nn.GRU or nn.RNN, which do not clip")
    if a.direction not in DIRECTIONS:
        raise call.refuse(f"direction '{a.direction}'", do=f"use {', '.join(DIRECTIONS)}")
    return a


def _unrolled(
    call: Call, a: Any, cell: Cell, functions: Sequence[str], states: int
) -> tuple[Value, ...]:
    """Y of shape (T, D, N, H), then each state (D, N, H) after a direction's last step.

    With `layout` 1 the batch is the first axis of all of them, of X as well. The product with X
    hangs on no state: it is one product for all steps.
    """
    x = call.value().transposed((1, 0, 2)) if a.layout else call.value()
    steps, batch, features = x.shape
    if call.has(4) and set(call.integers(4, "lengths")) != {steps}:
        raise call.refuse("sequences of unlike lengths", do="run all of them to the last step")
    rows = reshape(as_tensor(call.arrange(x, (0, 1, 2))), (steps * batch, features))
    sides, lasts = [], []
    for place, backwards in enumerate(DIRECTIONS[a.direction]):
        weights = _weights(call, a, place, functions)
        bias, step = cell(weights)
        projected = _affine(rows, weights.w, bias)
        seen = _scanned(step, projected, batch, _initial(call, a, place, states), backwards)
        lasts.append(seen[-1])
        sides.append([h for h, *_ in (reversed(seen) if backwards else seen)])
    return _results(call, a, sides, lasts)


def _scanned(
    step: Step, projected: Tensor, batch: int, state: State | None, backwards: bool
) -> list[State]:
    """The state after each step, in the order in which they are computed."""
    rows, width = (int(n) for n in projected.shape)
    begins = range(0, rows, batch)
    seen = []
    for begin in reversed(begins) if backwards else begins:
        state = step(_slice(projected, (begin, 0), (batch, width)), state)
        seen.append(state)
    return seen


def _results(
    call: Call, a: Any, sides: Sequence[Sequence[Tensor]], lasts: Sequence[State]
) -> tuple[Value, ...]:
    """The node's outputs; those that are left out have no name, and no tensor here."""
    batch, hidden = (int(n) for n in lasts[0][0].shape)
    results = []
    for place, name in enumerate(call.node.outputs):
        if not name:
            results.append(Value.of(np.zeros(0, np.float32)))
        elif place == 0:
            # Directions side by side, as PyTorch has them, so that its Transpose moves nothing.
            both = joined(call.target, [joined(call.target, side, 0) for side in sides], 1)
            stored = reshape(both, (len(sides[0]), batch, len(sides), hidden))
            results.append(Value(stored, (1, 0, 2, 3) if a.layout else (0, 2, 1, 3)))
        else:
            last = [state[place - 1] for state in lasts]
            shape = (batch, len(last), hidden) if a.layout else (len(last), batch, hidden)
            results.append(Value.of(reshape(joined(call.target, last, int(a.layout)), shape)))
    return tuple(results)


def _weights(call: Call, a: Any, place: int, defaults: Sequence[str]) -> Weights:
    w, r = call.constant(1, "weights")[place], call.constant(2, "weights")[place]
    bias = call.constant(3, "bias")[place] if call.has(3) else np.zeros(2 * len(w), np.float32)
    peepholes = call.constant(7, "peepholes")[place] if call.has(7) else None
    chosen = a.activations[place * len(defaults) :][: len(defaults)] or defaults
    named = [str(name).lower() for name in chosen]
    for name in named:
        if name not in ACTIVATIONS:
            raise call.refuse(f"activation '{name}'", do=f"use {', '.join(ACTIVATIONS)}")
    functions = tuple(ACTIVATIONS[name] for name in named)
    return Weights(call.target, w, r, bias[: len(w)], bias[len(w) :], peepholes, functions)


def _initial(call: Call, a: Any, place: int, states: int) -> State | None:
    """One direction's state before its first step."""
    given = [call.value(i) if call.has(i) else None for i in range(5, 5 + states)]
    known = [value for value in given if value is not None]
    if all(value.is_constant and not np.any(value.tensor) for value in known):
        return None
    zeros = Value.of(np.zeros(known[0].shape, np.float32))
    return tuple(_of_direction(call, a, value or zeros, place) for value in given)


def _of_direction(call: Call, a: Any, value: Value, place: int) -> Tensor:
    """(N, H) of an initial state."""
    ordered = value.transposed((1, 0, 2)) if a.layout else value
    _, batch, hidden = ordered.shape
    if ordered.is_constant:
        return constant(np.ascontiguousarray(ordered.logical[place]))
    stored = as_tensor(call.arrange(ordered, (0, 1, 2)))
    return reshape(_slice(stored, (place, 0, 0), (1, batch, hidden)), (batch, hidden))


def _lstm(weights: Weights) -> tuple[np.ndarray, Step]:
    """i, o, f = sigmoid, g = tanh of the gates; c' = f * c + i * g; h = o * tanh(c')."""
    to_gate, to_cell, to_output = weights.functions
    times = _product(weights, weights.r)
    pi, po, pf = (None, None, None) if weights.peepholes is None else _thirds(weights.peepholes)

    def step(x: Tensor, state: State | None) -> State:
        h, c = state or (None, None)
        i, o, f, g = _parts(x if h is None else add(x, times(h)), 4)
        new = mul(to_gate(_peeped(i, pi, c)), to_cell(g))
        if c is not None:
            new = add(mul(to_gate(_peeped(f, pf, c)), c), new)
        return mul(to_gate(_peeped(o, po, new)), to_output(new)), new

    return weights.b + weights.rb, step


def _peeped(gate: Tensor, peephole: np.ndarray | None, cell: Tensor | None) -> Tensor:
    if peephole is None or cell is None:
        return gate
    return add(gate, mul(cell, constant(peephole)))


def _gru(weights: Weights) -> tuple[np.ndarray, Step]:
    """z, r = sigmoid, n = tanh(xn + r * (hn + bias)); h' = n + z * (h - n).

    The recurrent bias of n lies within what r multiplies: it is not the projection's.
    """
    to_gate, to_new = weights.functions
    hidden = weights.hidden
    times = _product(weights, weights.r)
    bias = weights.rb[2 * hidden :]
    outside = np.concatenate([weights.rb[: 2 * hidden], np.zeros_like(bias)])

    def biased(new: Tensor | None) -> Tensor | None:
        if not np.any(bias):
            return new
        return constant(bias) if new is None else add(new, constant(bias))

    def step(x: Tensor, state: State | None) -> State:
        z, r, n = _parts(x, 3)
        within = None
        if state is not None:
            hz, hr, within = _parts(times(state[0]), 3)
            z, r = add(z, hz), add(r, hr)
        within = biased(within)
        new = to_new(n if within is None else add(n, mul(to_gate(r), within)))
        return (_updated(to_gate(z), new, state),)

    return weights.b + outside, step


def _gru_of_reset_state(weights: Weights) -> tuple[np.ndarray, Step]:
    """z, r = sigmoid, n = tanh(xn + (r * h) @ R); h' = n + z * (h - n)."""
    to_gate, to_new = weights.functions
    hidden = weights.hidden
    times = _product(weights, weights.r[: 2 * hidden])
    times_reset = _product(weights, weights.r[2 * hidden :])

    def step(x: Tensor, state: State | None) -> State:
        z, r, n = _parts(x, 3)
        if state is not None:
            (h,), (hz, hr) = state, _parts(times(state[0]), 2)
            z, r = add(z, hz), add(r, hr)
            n = add(n, times_reset(mul(to_gate(r), h)))
        return (_updated(to_gate(z), to_new(n), state),)

    return weights.b + weights.rb, step


def _updated(update: Tensor, new: Tensor, state: State | None) -> Tensor:
    if state is None:
        return gen_math_ops.sub(new, mul(update, new))
    return add(new, mul(update, gen_math_ops.sub(state[0], new)))


def _rnn(weights: Weights) -> tuple[np.ndarray, Step]:
    (activation,) = weights.functions
    times = _product(weights, weights.r)

    def step(x: Tensor, state: State | None) -> State:
        return (activation(x if state is None else add(x, times(state[0]))),)

    return weights.b + weights.rb, step


def _product(weights: Weights, r: np.ndarray) -> Callable[[Tensor], Tensor]:
    """h of shape (N, H) -> h @ r.T, of which every step reads the same constant.

    XNNPACK keeps a packed copy of the weights for every FULLY_CONNECTED, which for 100 steps of
    an LSTM of 256 features are 105 MB; what multiplies and sums reads the file's own. For N = 1
    it takes 0.6 to 1.1 of the time, being bound by memory either way.
    """
    if weights.target == "tfjs":
        matrix = constant(np.ascontiguousarray(r.T))
        return lambda h: gen_math_ops.mat_mul(h, matrix)
    of_rows, of_all = constant(np.ascontiguousarray(r.T)), constant(r[None])

    def times(h: Tensor) -> Tensor:
        batch, hidden = (int(n) for n in h.shape)
        if batch > FEW:
            return gen_math_ops.mat_mul(h, of_rows)
        return gen_math_ops._sum(mul(of_all, reshape(h, (batch, 1, hidden))), np.array([2]))

    return times


def _affine(x: Tensor, weight: np.ndarray, bias: np.ndarray) -> Tensor:
    product = gen_math_ops.mat_mul(x, constant(np.ascontiguousarray(weight.T)))
    return gen_nn_ops.bias_add(product, constant(bias)) if np.any(bias) else product


def _parts(x: Tensor, count: int) -> list[Tensor]:
    return list(gen_array_ops.split(axis=1, value=x, num_split=count))


def _thirds(array: np.ndarray) -> list[np.ndarray]:
    return np.split(array, 3)


def _slice(x: Tensor, begin: Sequence[int], size: Sequence[int]) -> Tensor:
    return gen_array_ops._slice(x, np.array(begin, np.int32), np.array(size, np.int32))
