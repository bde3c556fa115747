"""A program in float64, whatever its code writes of float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from converters.capture import capture
from converters.doubles import call, roundings
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.parity.reference import Reference


class Flat(nn.Module):
    """Norms of what does not vary: rounding divided by rounding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
        self.norm = nn.InstanceNorm2d(4, eps=1e-12)
        self.table = torch.randn(4, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.norm(self.conv(x).float()).to(torch.float32)
        mixed = torch.einsum("bchw,cd->bdhw", y, self.table) + torch.ones(4, 1, 1)
        return {"y": mixed @ torch.eye(8, dtype=torch.float32)}


@pytest.mark.parametrize("value", [None, 0.3])
def test_all_that_a_net_casts_and_makes_is_float64(value: float | None) -> None:
    x = torch.rand(1, 3, 8, 8) if value is None else torch.full((1, 3, 8, 8), value)
    net = Flat().eval()
    found = call(net, [x])["y"]
    y = net.double().conv(x.double())
    y = (y - y.mean((2, 3), True)) / (y.var((2, 3), correction=0, keepdim=True) + 1e-12).sqrt()
    wanted = torch.einsum("bchw,cd->bdhw", y, net.table.double()) + 1
    assert found.dtype == torch.float64
    if value is None:
        assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_the_module_stays_as_it_is() -> None:
    net = Flat().eval()
    call(net, [torch.rand(1, 3, 8, 8)])
    assert net.conv.weight.dtype == torch.float32


class NoDouble(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            raise TypeError("float32 only")
        return x * 2


def test_a_reference_knows_float64_where_the_code_runs_in_it() -> None:
    image = TensorSpec("image", (1, 3, 8, 8), "image", low=0, high=1)
    given = {"image": np.full((1, 3, 8, 8), 0.3, np.float32)}
    for module, name, known in ((Flat, "y", True), (NoDouble, "output", False)):
        output = TensorSpec(name, (1, 4 if known else 3, 8, 8), "map", tolerance=0.01)
        program = capture(ModelSpec("net", lambda made=module: made().eval(), (image,), (output,)))
        reference = Reference({}, {}, (output,), program=program)
        own = reference.answer(given)
        assert (name in reference.roundings(given, own)) == known
    assert not Reference({}, {}, ()).roundings(given, {})


def test_rounding_moves_what_divides_rounding_by_rounding() -> None:
    image = TensorSpec("image", (1, 3, 8, 8), "image", low=0, high=1)
    output = TensorSpec("y", (1, 4, 8, 8), "map", tolerance=0.01)
    program = capture(ModelSpec("net", lambda: Flat().eval(), (image,), (output,)))
    reference = Reference({}, {}, (output,), program=program)
    noise = np.random.default_rng(0).random((1, 3, 8, 8))
    moved = []
    for value in (np.full((1, 3, 8, 8), 0.3), noise):
        given = {"image": value.astype(np.float32)}
        moved.append(roundings(program, given, reference.answer(given))["y"])
    assert moved[0] > 1e-3
    assert moved[1] < 1e-4
