"""The prune-channels pass: what goes, what a target does, what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from converters.api import Encoding, Program
from converters.capture import capture, example
from converters.channels.find import channels_of
from model_defs.counting import macs, parameters
from model_defs.errors import BadWeights, MlshipError, UnknownName
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.data.task import Item, Task
from toolchain.passes.fold_batchnorm import FoldBatchnorm
from toolchain.passes.prune_channels import NOTHING, PruneChannels
from toolchain.pruning import importance
from toolchain.pruning.goal import IMPORTANCES
from toolchain.quantization.gradients import collect_squared_gradients
from toolchain.recipes import pipeline

IMAGE = TensorSpec("image", (1, 3, 16, 16), "image", low=0, high=1)


class Net(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.second = nn.Conv2d(width, 24, 3, padding=1)
        self.last = nn.Conv2d(24, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.norm(self.first(image)).relu()
        return self.last(self.second(self.depthwise(x).relu()).relu())


SPEC = ModelSpec("tiny", Net, (IMAGE,), (TensorSpec("map", (1, 1, 16, 16), "map", tolerance=0.1),))


def program() -> Program:
    return capture(SPEC)


def widths(program: Program) -> tuple[int, int]:
    return program.module.first.out_channels, program.module.second.out_channels  # type: ignore[union-attr,return-value]


def work(program: Program) -> int:
    return macs(program.module, example(program.spec))


EXACTLY: dict[str, Any] = {"multiple": 1, "scope": "layer"}


def test_takes_the_ratio_of_the_channels_of_each_layer() -> None:
    before = program()
    after = PruneChannels(0.25, **EXACTLY)(before)
    assert widths(after) == (24, 18)
    assert after.module.depthwise.groups == after.module.norm.num_features == 24
    assert work(after) < 0.6 * work(before)
    assert "are left" in after.notes[-1]
    assert "14 of 56 channels" in after.notes[-1]


def test_a_net_of_which_nothing_can_go_says_so() -> None:
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8)
            self.last = nn.Conv2d(8, 1, 1)

        def forward(self, image: Tensor) -> Tensor:
            return self.last(self.norm(self.first(image)).relu())

    before = capture(replace(SPEC, build=Normalised))
    after = PruneChannels(0.5)(before)
    assert after.module is before.module
    assert after.notes[-1].startswith("prune-channels took nothing out")
    assert after.notes[-1].endswith("Here: norm (GroupNorm)")
    assert PruneChannels(0.5)(after) is after
    alone = PruneChannels(0.5)(capture(replace(SPEC, build=lambda: nn.Conv2d(3, 1, 1))))
    assert alone.notes == (NOTHING,)


def test_kernels_in_two_places_are_named_where_nothing_can_go() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
            self.second.weight = self.first.weight

        def forward(self, image: Tensor) -> Tensor:
            return self.second(self.first(image).relu())[:, :1]

    after = PruneChannels(0.5)(capture(replace(SPEC, build=Tied)))
    assert after.notes[-1].endswith("Here: first.weight is second.weight")


def test_a_ratio_of_less_than_a_layer_can_lose_says_so() -> None:
    before = program()
    after = PruneChannels(0.01)(before)
    assert after.module is before.module
    assert "so few of 56 channels" in after.notes[-1]
    assert "multiple of 8" in after.notes[-1]
    assert PruneChannels(0.01)(after) is after


def test_a_pass_never_edits_its_input_and_the_pipeline_lets_it_through() -> None:
    before = program()
    state = {name: tensor.clone() for name, tensor in before.module.state_dict().items()}
    after = pipeline.run(before, (PruneChannels(0.3), FoldBatchnorm()))
    assert after is not before
    assert widths(before) == (32, 24)
    assert all(torch.equal(t, state[name]) for name, t in before.module.state_dict().items())


def test_nothing_to_do_returns_the_same_object() -> None:
    before = program()
    assert PruneChannels(0.0)(before) is before
    assert PruneChannels(macs=1.0)(before) is before
    assert PruneChannels(bytes=10**9)(before) is before


def test_a_target_that_is_met_is_met_again() -> None:
    once = PruneChannels(macs=0.6)(program())
    whole = work(program())
    assert PruneChannels(macs=min(1.0, 0.6 * whole / work(once)))(once) is once


@pytest.mark.parametrize("kind", IMPORTANCES[:2])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_target_of_multiply_adds_is_met_and_hardly_more(scope: Any, kind: Any) -> None:
    before = program()
    after = PruneChannels(macs=0.55, scope=scope, importance=kind, multiple=1)(before)
    assert 0.5 * work(before) < work(after) <= 0.55 * work(before)


def test_targets_of_numbers_and_bytes_are_met() -> None:
    before = program()
    numbers = sum(t.numel() for t in before.module.state_dict().values())
    for wanted in (PruneChannels(params=0.6), PruneChannels(bytes=int(2.4 * numbers))):
        left = sum(t.numel() for t in wanted(before).module.state_dict().values())
        assert 0.4 * numbers < left <= 0.6 * numbers


def test_an_impossible_target_says_what_is_possible() -> None:
    with pytest.raises(MlshipError, match="multiply-adds cannot be") as caught:
        PruneChannels(macs=0.01)(program())
    assert "the least possible is" in caught.value.do
    assert caught.value.exit_code == 2


def test_widths_are_multiples_but_for_narrow_layers() -> None:
    assert widths(PruneChannels(0.3, scope="layer")(program())) == (24, 24)
    assert widths(PruneChannels(0.3, scope="layer", multiple=16)(program())) == (32, 17)
    narrow = capture(replace(SPEC, build=lambda: Net(8)))
    assert widths(PruneChannels(0.5, scope="layer")(narrow)) == (4, 16)


def test_layers_have_ratios_of_their_own_and_keep_the_least() -> None:
    own = PruneChannels(0.0, layers=(("second", 0.9),), multiple=1)
    assert widths(own(program())) == (32, 2)
    assert widths(replace(own, least=5)(program())) == (32, 5)


def test_no_layer_loses_more_than_the_most() -> None:
    before = program()
    with torch.no_grad():
        before.module.second.weight.mul_(1e-3)  # type: ignore[union-attr,operator]
    first, second = widths(PruneChannels(0.3, most=0.4, multiple=1)(before))
    assert second >= 15
    assert first >= 20


@pytest.mark.parametrize("kind", IMPORTANCES)
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_channels_that_do_nothing_go_first(
    kind: Any, scope: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolchain.data.task.find", lambda name: TASK)
    before = program()
    dead = torch.tensor([1, 5, 6, 20, 21, 22, 30, 31])
    with torch.no_grad():
        before.module.first.weight[dead] *= 1e-6  # type: ignore[index]
        before.module.norm.weight[dead] *= 1e-6  # type: ignore[index]
        before.module.norm.bias[dead] *= 1e-6  # type: ignore[index]
        before.module.depthwise.weight[dead] *= 1e-6  # type: ignore[index]
        before.module.depthwise.bias[dead] *= 1e-6  # type: ignore[index]
        before.module.second.weight[:, dead] *= 1e-6  # type: ignore[index]
    pruned = PruneChannels(
        8 / 56 if scope == "global" else 0.25,
        layers=() if scope == "global" else (("second", 0.0),),
        importance=kind,
        scope=scope,
        multiple=1,
        examples=3,
    )(before)
    assert widths(pruned) == (24, 24)
    x = example(SPEC)
    torch.testing.assert_close(pruned.module(*x), before.module(*x), atol=1e-4, rtol=1e-4)


class Learner(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        return self.net(image).square().mean()


def picture(inputs: tuple[TensorSpec, ...], number: int) -> Item:
    drawn = torch.Generator().manual_seed(number)
    return (torch.rand(inputs[0].shape[1:], generator=drawn),)


TASK = Task(SPEC, picture, Learner, "loss", lambda net, batch: 0.0, multiple=1)


def products(program: Program, loss: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Each weight of `second`'s channels times its gradient, a channel a row."""
    net: Any = program.module.requires_grad_(True)
    net.zero_grad()
    loss(net).backward()
    net.requires_grad_(False)
    rows = [
        (t.detach() * t.grad).movedim(place, 0).flatten(1) if t.ndim > 1 else (t * t.grad)[:, None]
        for t, place in ((net.second.weight, 0), (net.second.bias, 0), (net.last.weight, 1))
    ]
    return [row.detach() for row in rows]


def test_taylor_is_the_squared_change_that_gradients_foretell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("toolchain.data.task.find", lambda name: TASK)
    before = program()
    channels = channels_of(before.module, example(SPEC))
    found = importance.score_channels(before, channels, "taylor", examples=2)["second"]
    want = torch.zeros(24)
    for number in range(2):
        given = picture(SPEC.inputs, number)[0][None]
        for row in products(before, lambda net, x=given: Learner(net)(x)):  # type: ignore[misc]
            want += row.sum(1) ** 2 / 2
    np.testing.assert_allclose(found, want.numpy(), rtol=1e-4)


def test_hessian_is_half_the_squared_move_of_the_outputs() -> None:
    before = program()
    channels = channels_of(before.module, example(SPEC))
    found = importance.score_channels(before, channels, "hessian")["second"]
    slopes = collect_squared_gradients(before)
    net = before.module
    want = sum(
        (net.get_parameter(name) ** 2 * torch.from_numpy(slopes[name]))
        .movedim(place, 0)
        .reshape(24, -1)
        .sum(1)
        / 2
        for name, place in (("second.weight", 0), ("second.bias", 0), ("last.weight", 1))
    )
    np.testing.assert_allclose(found, np.asarray(want), rtol=1e-4)


def test_a_loss_that_is_not_finite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Diverged(Learner):
        def forward(self, image: Tensor) -> Tensor:
            return super().forward(image) * float("inf")

    monkeypatch.setattr("toolchain.data.task.find", lambda name: replace(TASK, learner=Diverged))
    with pytest.raises(MlshipError, match="the loss of example 0 is inf"):
        PruneChannels(importance="taylor")(program())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 1.0}, "ratio is 1"),
        ({"ratio": -0.1}, "ratio is -0.1"),
        ({"ratio": float("nan")}, "ratio is nan"),
        ({"ratio": 0.7, "most": 0.5}, "ratio 0.7 is beyond most, 0.5"),
        ({"most": 1.5}, "most is 1.5"),
        ({"macs": 0.0}, "macs is 0"),
        ({"params": 1.2}, "params is 1.2"),
        ({"macs": 0.5, "params": 0.5}, "several targets"),
        ({"macs": 0.5, "bytes": 9}, "several targets"),
        ({"bytes": 0}, "bytes is 0"),
        ({"least": 0}, "least is 0"),
        ({"multiple": 0}, "multiple is 0"),
        ({"examples": 0}, "examples is 0"),
        ({"layers": (("second", 1.5),)}, "second is 1.5"),
        ({"importance": "tailor"}, "unknown importance 'tailor'"),
        ({"scope": "world"}, "unknown scope 'world'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MlshipError, match=message):
        PruneChannels(**options)


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownName, match="'secnd'") as caught:
        PruneChannels(layers=(("secnd", 0.5),))(program())
    assert "did you mean 'second'" in caught.value.do


def test_gradients_need_a_task() -> None:
    with pytest.raises(UnknownName, match="unknown task 'tiny'"):
        PruneChannels(importance="taylor")(program())


def test_encoded_weights_are_refused() -> None:
    encoded = replace(program(), encodings={"first.weight": Encoding("float16")})
    with pytest.raises(MlshipError, match="encoded already"):
        PruneChannels()(encoded)


class Sorts(Net):
    def forward(self, image: Tensor) -> Tensor:
        x = self.norm(self.first(image)).relu()
        return self.last(self.second(self.depthwise(x).relu()).sort(1).values)


class Writes(Net):
    def forward(self, image: Tensor) -> Tensor:
        x = self.norm(self.first(image)).relu()
        return self.last(self.second(self.depthwise(x).relu()).reshape(1, 24, 16, 16))


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        (Sorts, "channels at sort were not followed, and left"),
        (Writes, "channels of second were left: the net's code has their number in it"),
    ],
)
def test_what_is_left_is_noted(kind: type[Net], note: str) -> None:
    after = PruneChannels(0.3)(capture(replace(SPEC, build=kind)))
    assert widths(after)[0] < 32
    assert widths(after)[1] == 24
    assert after.notes[-1] == note


# Weights of a pruned net fit the specification of the whole one.


def pruned_file(folder: Path, **changes: Tensor) -> tuple[Program, Path]:
    after = PruneChannels(0.4, multiple=1)(program())
    path = folder / "pruned.safetensors"
    save_file({**after.module.state_dict(), **changes}, path)
    return after, path


def test_capture_takes_the_weights_of_a_pruned_net(tmp_path: Path) -> None:
    after, path = pruned_file(tmp_path)
    again = capture(SPEC, path)
    assert widths(again) == widths(after)
    assert parameters(again.module) == parameters(after.module)
    x = example(SPEC)
    assert torch.equal(again.module(*x), after.module(*x))
    assert any("a pruned net's" in note for note in again.notes)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm.weight": torch.ones(3)},
        {"last.weight": torch.zeros(1, 25, 1, 1)},
        {"last.weight": torch.zeros(2, 14, 1, 1)},
        {"first.weight": torch.zeros(19, 3, 1, 1)},
        {"first.weight": torch.zeros(19, 3)},
        {"last.extra": torch.zeros(1)},
    ],
    ids=["inconsistent", "wider", "other-output", "other-window", "other-rank", "other-name"],
)
def test_capture_refuses_what_is_no_pruning_of_the_net(
    tmp_path: Path, changes: dict[str, Tensor]
) -> None:
    _, path = pruned_file(tmp_path, **changes)
    with pytest.raises(BadWeights, match="do not fit the module"):
        capture(SPEC, path)
