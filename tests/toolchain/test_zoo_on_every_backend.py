"""The zoo's nets of up to a GMAC, as they ship, on every backend that a machine can have.

`make parity-zoo` compares the others, too, and makes the table of them all.
"""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from converters.backends import BACKENDS
from model_defs import zoo
from model_defs.counting import count
from toolchain.cli import main

LARGEST = 1_000_000_000
HERE = [backend.name for backend in BACKENDS.values() if not backend.system]


def small() -> list[str]:
    """The nets' names."""
    shipped = [name for name in zoo.MODELS if not zoo.load(name).baseline]
    return [name for name in shipped if count(zoo.load(name)).macs <= LARGEST]


@pytest.mark.parametrize("model", small())
def test_every_backend_computes_what_pytorch_does(model: str) -> None:
    required = [word for name in HERE for word in ("--require", name)]
    result = CliRunner().invoke(main, ["parity", model, *required, "--json"])
    assert result.exit_code == 0, result.output
    outcomes = json.loads(result.stdout)
    rows = [row for outcome in outcomes for row in outcome["rows"]]
    passed = {row["backend"] for row in rows if row["verdict"] == "passed"}
    assert passed == {*HERE, "golden"}
