"""The prune-weights pass: how many numbers become 0, and which."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from converters.api import Encoding, Program
from converters.capture import capture
from model_defs.errors import MlshipError
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.passes.fold_batchnorm import FoldBatchnorm
from toolchain.passes.prune_weights import PruneWeights
from toolchain.passes.weights_fp16 import WeightsFp16
from toolchain.recipes import pipeline


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
        self.up, self.last = nn.ConvTranspose2d(8, 4, 2), nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.up(self.depthwise(self.norm(self.first(x)))))


SPEC = ModelSpec(
    "tiny",
    Net,
    (TensorSpec("x", (1, 4, 8, 8), "map", low=0, high=1),),
    (TensorSpec("y", (1, 4, 5, 5), "map", tolerance=0.1),),
)
KERNELS = ("first.weight", "depthwise.weight", "up.weight", "last.weight")


def program() -> Program:
    return capture(SPEC)


def kernels(program: Program) -> dict[str, Tensor]:
    return {name: program.module.get_parameter(name) for name in KERNELS}


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.9])
def test_the_least_numbers_of_kernels_become_0(ratio: float, scope: Any) -> None:
    before = program()
    old, new = kernels(before), kernels(PruneWeights(ratio, scope)(before))
    groups = [KERNELS] if scope == "global" else [(name,) for name in KERNELS]
    for names in groups:
        was = torch.cat([old[name].flatten() for name in names])
        now = torch.cat([new[name].flatten() for name in names])
        assert int((now == 0).sum()) == round(ratio * len(now))
        assert torch.equal(now[now != 0], was[now != 0])
        assert was[now == 0].abs().max() <= now[now != 0].abs().min()


def test_everything_else_stays_and_the_input_too() -> None:
    before = program()
    state = {name: tensor.clone() for name, tensor in before.module.state_dict().items()}
    after = pipeline.run(before, (PruneWeights(0.5), FoldBatchnorm(), WeightsFp16()))
    assert all(torch.equal(t, state[name]) for name, t in before.module.state_dict().items())
    pruned = PruneWeights(0.5)(before).module.state_dict()
    assert all(torch.equal(pruned[name], state[name]) for name in state.keys() - {*KERNELS})
    assert int((after.module.get_parameter("last.weight") == 0).sum()) > 0
    assert "50% of 513 numbers" in after.notes[-1]


@pytest.mark.parametrize("wanted", [PruneWeights(0.5), PruneWeights(pattern="2:4")])
def test_once_is_enough(wanted: PruneWeights) -> None:
    after = wanted(program())
    assert wanted(after) is after
    assert PruneWeights(0.0)(after) is after


@pytest.mark.parametrize(("stay", "of"), [(2, 4), (1, 4), (1, 2)])
def test_of_neighbours_along_the_inputs_so_many_stay(stay: int, of: int) -> None:
    before = program()
    after = PruneWeights(pattern=f"{stay}:{of}")(before)
    old, new = kernels(before), kernels(after)
    for name, inputs in (("first.weight", 1), ("up.weight", 0)):
        was, now = (k[name].movedim(inputs, -1).unflatten(-1, (-1, of)) for k in (old, new))
        assert ((now != 0).sum(-1) == stay).all()
        assert torch.equal(now[now != 0], was[now != 0])
        kept = now.abs().amax(-1)
        assert torch.equal(kept, was.abs().amax(-1))
    assert torch.equal(old["depthwise.weight"], new["depthwise.weight"])
    assert torch.equal(old["last.weight"], new["last.weight"])
    assert "2 kernels were left" in after.notes[-1]


def test_a_kernel_that_two_layers_share_stays_shared() -> None:
    class Shared(Net):
        def __init__(self) -> None:
            super().__init__()
            self.other = nn.Linear(5, 5)
            self.other.weight = self.last.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.other(super().forward(x))

    after = PruneWeights(0.5, "layer")(capture(replace(SPEC, build=Shared))).module
    assert after.other.weight is after.last.weight
    assert int((after.last.weight == 0).sum()) == 12  # type: ignore[operator,union-attr]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 1.0}, "ratio is 1"),
        ({"ratio": -0.5}, "ratio is -0.5"),
        ({"ratio": float("nan")}, "ratio is nan"),
        ({"scope": "each"}, "unknown scope 'each'"),
        ({"pattern": "4:2"}, "pattern is '4:2'"),
        ({"pattern": "0:4"}, "pattern is '0:4'"),
        ({"pattern": "half"}, "pattern is 'half'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MlshipError, match=message):
        PruneWeights(**options)


def test_encoded_weights_are_refused() -> None:
    encoded = replace(program(), encodings={"first.weight": Encoding("float16")})
    with pytest.raises(MlshipError, match="encoded already"):
        PruneWeights()(encoded)
