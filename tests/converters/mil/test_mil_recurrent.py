"""Recurrent layers on Core ML: an LSTM as coremltools has it, what it lacks by plain operations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mil_packages import Battery, Case, compare, producers
from torch import Tensor, nn

from converters.graph.recurrent import decompositions

ROUNDED = {"FLOAT32": 1e-5, "FLOAT16": 5e-3}
WAYS = {
    "one": {},
    "both_first": {"bidirectional": True, "batch_first": True},
    "bare_two": {"bias": False, "num_layers": 2},
    "both_two": {"bidirectional": True, "num_layers": 2},
}


def _inputs(layer: nn.RNNBase, batch: int, given: bool) -> tuple[Tensor, ...]:
    noise = torch.Generator().manual_seed(layer.num_layers + batch)
    x = torch.randn(3, batch, 3, generator=noise)
    count = layer.num_layers * (1 + layer.bidirectional)
    h = torch.randn(count, batch, layer.proj_size or 4, generator=noise)
    c = torch.randn(count, batch, 4, generator=noise)
    start = ((h, c) if isinstance(layer, nn.LSTM) else (h,)) if given else ()
    return (x.transpose(0, 1).contiguous() if layer.batch_first else x, *start)


def _flat(results: Any) -> tuple[Tensor, ...]:
    y, last = results
    return (y, *last) if isinstance(last, tuple) else (y, last)


def called(layer: nn.RNNBase) -> Callable[..., tuple[Tensor, ...]]:
    def run(x: Tensor, *start: Tensor) -> tuple[Tensor, ...]:
        given = (start if isinstance(layer, nn.LSTM) else start[0],) if start else ()
        return _flat(layer(x, *given))

    return run


def hidden(layer: nn.RNNBase) -> Callable[[Tensor], Tensor]:
    """The last state alone, as a classifier uses it."""
    return lambda x: _flat(layer(x))[1]


def in_steps(layer: nn.RNNBase) -> Callable[..., tuple[Tensor, ...]]:
    """The layer by the function that stands for its operator, which is called as that is."""
    aten = torch.ops.aten
    operator = {
        "LSTM": aten.lstm.input,
        "GRU": aten.gru.input,
        "RNN_TANH": aten.rnn_tanh.input,
        "RNN_RELU": aten.rnn_relu.input,
    }[layer.mode]

    def run(x: Tensor, *start: Tensor) -> tuple[Tensor, ...]:
        return decompositions()[operator](
            x,
            start if isinstance(layer, nn.LSTM) else start[0],
            layer._flat_weights,
            layer.bias,
            layer.num_layers,
            0.0,
            False,
            layer.bidirectional,
            layer.batch_first,
        )

    return run


GIVEN = dict(zip(WAYS, ((1, True), (2, True), (1, False), (1, False)), strict=True))
"""The batch, and whether there is a first state."""
LSTMS = {way: nn.LSTM(3, 4, **options).eval() for way, options in WAYS.items()}
LACKED = {
    f"{kind}_{way}": make(3, 4, **options, **WAYS[way]).eval()
    for kind, (make, options) in {
        "gru": (nn.GRU, {}),
        "projected": (nn.LSTM, {"proj_size": 2}),
        "relu": (nn.RNN, {"nonlinearity": "relu"}),
    }.items()
    for way in ("both_first", "bare_two")
}
"""coremltools makes a loop of a GRU, and refuses projections and an RNN of both directions."""


def cases(precision: str) -> dict[str, Case]:
    """By plain operations what coremltools lacks; `ops` are what each must become."""
    found, tolerance = {}, ROUNDED[precision]
    for way, layer in LSTMS.items():
        inputs = _inputs(layer, *GIVEN[way])
        found[way] = Case(called(layer), inputs, ("lstm",), tolerance, (layer,))
    last = LSTMS["both_two"]
    found["hidden"] = Case(hidden(last), _inputs(last, 1, False), ("lstm",), tolerance, (last,))
    for name, layer in LACKED.items():
        inputs = _inputs(layer, 2 if "first" in name else 1, True)
        found[name] = Case(in_steps(layer), inputs, ("linear",), tolerance, (layer,))
    return found


HALF = ("both_two", "gru_both_first", "projected_bare_two")
"""Those that are converted in float16 as well."""
BATTERIES = {
    "FLOAT32": Battery(cases("FLOAT32")),
    "FLOAT16": Battery({name: cases("FLOAT16")[name] for name in HALF}, precision="FLOAT16"),
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return lambda name: tmp_path_factory.mktemp(name)


@pytest.mark.parametrize(
    ("precision", "name"), [(p, name) for p, battery in BATTERIES.items() for name in battery.cases]
)
def test_equals_pytorch(precision: str, name: str, folder: Callable[[str], Path]) -> None:
    battery = BATTERIES[precision]
    battery.check(name, folder(precision))
    if name not in LACKED:
        return
    assert battery.package is not None
    used = set().union(*(producers(battery.package, o) for o in battery.names[name]))
    assert not used & {"while_loop", "lstm", "rnn"}
    with torch.no_grad():
        wanted = called(LACKED[name])(*battery.cases[name].inputs)
    for ours, theirs in zip(battery.results[name], wanted, strict=True):
        compare(ours, theirs.numpy(), ROUNDED[precision])
