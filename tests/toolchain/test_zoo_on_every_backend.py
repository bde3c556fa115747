"""The zoo as it ships on every backend that a machine can have.

Nets of up to a GMAC on all of them; larger ones on those that do not emulate a GPU, the largest
for smaller pictures. Of those that share their trunks and blocks `make test` takes one, and
`make slow` all; `make parity-zoo` compares each at its own size, and makes the table.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from converters.backends import BACKENDS
from converters.format import Backend
from model_defs import zoo
from model_defs.counting import count
from toolchain.cli.main import main

HERE = [backend for backend in BACKENDS.values() if not backend.system]
MODERATE, LARGE = 1_000_000_000, 20_000_000_000
"""Multiply-adds up to which a net runs everywhere, and up to which at its own size."""

REDUCED = Path(__file__).with_name("small_pictures.py")


def shipped(low: int, high: int) -> list[str]:
    """The nets that need so many multiply-adds."""
    names = [name for name in zoo.MODELS if not zoo.load(name).baseline]
    return [name for name in names if low < count(zoo.load(name)).macs <= high]


LARGEST = shipped(LARGE, 10**15)
ALWAYS = ("portrait-video", "depth", "select-coarse", "inpaint")
"""The nets that `make test` takes."""


def mostly_slow(names: list[str]) -> list[Any]:
    slow = pytest.mark.slow
    return [pytest.param(n, marks=() if n in ALWAYS else slow, id=n) for n in names]


def passes(model: str, backends: list[Backend]) -> None:
    """Each of the backends, and none but these, ran and passed."""
    chosen = [word for backend in backends for word in ("--backend", backend.name)]
    result = CliRunner().invoke(main, ["parity", model, *chosen, "--json"])
    assert result.exit_code == 0, result.output
    outcomes = json.loads(result.stdout)
    rows = [row for outcome in outcomes for row in outcome["rows"]]
    passed = {row["backend"] for row in rows if row["verdict"] == "passed"}
    assert passed == {"golden", *(backend.name for backend in backends)}


@pytest.mark.parametrize("model", mostly_slow(shipped(0, MODERATE)))
def test_every_backend_computes_what_pytorch_does(model: str) -> None:
    passes(model, HERE)


@pytest.mark.parametrize("model", mostly_slow(shipped(MODERATE, LARGE)))
def test_a_larger_net_is_equal_wherever_no_gpu_is_emulated(model: str) -> None:
    passes(model, [backend for backend in HERE if not backend.slow])


@pytest.mark.parametrize("model", mostly_slow(LARGEST))
def test_the_largest_are_equal_for_smaller_pictures(model: str) -> None:
    reduced = f"{REDUCED}:{model.replace('-', '_')}"
    passes(reduced, [backend for backend in HERE if not backend.slow])
