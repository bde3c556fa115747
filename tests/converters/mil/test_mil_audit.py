"""The range audit finds what half precision would break, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mil_packages import convert
from torch import Tensor, nn

from converters import mil
from converters.mil.audit import AuditRow, audit
from model_defs.errors import BadArtifact


class Net(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def rows(
    folder: Path, function: Callable[[Tensor], Tensor], scale: float = 1, precision: str = "FLOAT16"
) -> list[AuditRow]:
    path = folder / "net.mlpackage"
    convert(Net(function), [torch.rand(1, 2, 4, 4)], path, ["y"], "iOS16", precision)
    x = np.linspace(0.1, 1, 32, dtype=np.float32).reshape(1, 2, 4, 4) * scale
    return audit(mil.open_package(path), {"in_0": x})


def squares(x: Tensor) -> Tensor:
    return (x * 2 * x).mean((1, 2, 3))


@pytest.mark.parametrize("precision", ["FLOAT16", "FLOAT32"])
def test_finds_an_overflow_and_its_real_size(tmp_path: Path, precision: str) -> None:
    found = rows(tmp_path, squares, 300, precision)
    assert {r.kind for r in found} == {"overflow"}
    (row,) = (r for r in found if r.operation == "mul")
    assert row.value == pytest.approx(180000, rel=1e-2)
    assert "float32" in row.advice


def test_finds_a_near_overflow(tmp_path: Path) -> None:
    kinds = [r.kind for r in rows(tmp_path, squares, 150)]
    assert kinds == ["near-overflow"]


def test_is_quiet_where_nothing_is_wrong(tmp_path: Path) -> None:
    assert rows(tmp_path, squares) == []


def test_finds_a_vanishing_constant(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, lambda x: x / (x + 1e-8))
    assert (row.kind, row.operation) == ("vanishing-constant", "add")
    assert 0 < row.value < 6e-5


def test_finds_a_small_epsilon(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, lambda x: nn.functional.instance_norm(x, eps=1e-5))
    assert (row.kind, row.operation) == ("small-epsilon", "instance_norm")
    assert row.value == pytest.approx(1e-5, rel=0.05)


def test_finds_what_is_no_number_in_float32_either(tmp_path: Path) -> None:
    kinds = [r.kind for r in rows(tmp_path, lambda x: torch.log(x - 0.5), precision="FLOAT32")]
    assert set(kinds) - {"small-epsilon"} == {"no-number"}


def test_takes_the_worst_of_several_inputs(tmp_path: Path) -> None:
    path = tmp_path / "net.mlpackage"
    convert(Net(squares), [torch.rand(1, 2, 4, 4)], path, ["y"], "iOS16", "FLOAT16")
    feeds = [{"in_0": np.full((1, 2, 4, 4), v, np.float32)} for v in (1, 400, 2)]
    (row,) = (
        r for r in audit(mil.open_package(path), feeds) if r.operation == "mul" and r.value > 2e5
    )
    assert row.kind == "overflow"


def test_needs_inputs(tmp_path: Path) -> None:
    path = tmp_path / "net.mlpackage"
    convert(Net(squares), [torch.rand(1, 2, 4, 4)], path, ["y"], "iOS16")
    with pytest.raises(BadArtifact, match="needs inputs"):
        audit(mil.open_package(path), [])
