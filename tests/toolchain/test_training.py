"""Training: it learns, it resumes to the same bits, and it stops where it diverges."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from torch import Tensor, nn

from model_defs.errors import BadCheckpoint, BadWeights, MlshipError, TrainingDiverged, UnknownName
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.cli.main import main
from toolchain.data.task import HELD_OUT, Item, Task
from toolchain.training import loop, task
from toolchain.training import weights as files
from toolchain.training.loop import CHECKPOINT, train
from toolchain.training.state import Settings, TrainingState, rate_at

pytestmark = pytest.mark.usefixtures("one_thread")


SETTINGS = Settings(steps=12, batch=4, rate=0.05, warm=2, every=5, held_out=8)


def brightness(inputs: tuple[TensorSpec, ...], number: int) -> Item:
    """Which half of a picture is lighter, as a mask of one number."""
    drawn = torch.Generator().manual_seed(number)
    image = torch.rand(inputs[0].shape[1:], generator=drawn)
    return image, (image[..., :4].mean() > image[..., 4:].mean()).float()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, (4, 8))
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(8, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.out(self.drop(self.norm(self.conv(image)).flatten(1))).flatten()


class Learner(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, lighter: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(self.net(image), lighter)


def right(net: nn.Module, batch: Item) -> float:
    return float(((net(batch[0]) > 0).float() == batch[1]).float().mean())


TASK = Task(
    ModelSpec(
        "brightness",
        Net,
        (TensorSpec("image", (1, 3, 4, 8), "image"),),
        (TensorSpec("lighter", (1,), "map", tolerance=0.01),),
    ),
    brightness,
    Learner,
    "share that is right",
    right,
)


def stacked(examples: Iterable[Item]) -> Item:
    return tuple(torch.stack(tensors) for tensors in zip(*examples, strict=True))


def test_it_learns_and_writes_weights_that_fit(tmp_path: Path) -> None:
    done = train(TASK, replace(SETTINGS, steps=120, held_out=64), tmp_path)
    assert done.score > 0.7
    net = Net()
    net.load_state_dict(load_file(done.weights))
    held_out = stacked(brightness(TASK.spec.inputs, HELD_OUT + i) for i in range(64))
    assert right(net.eval(), held_out) == pytest.approx(done.score)


class Killed(Exception):
    """What a kill is to Python."""


@pytest.mark.parametrize("at", [6, 11])
def test_a_killed_training_resumes_to_the_same_bits(tmp_path: Path, at: int) -> None:
    def kill(step: int, loss: float, score: float | None) -> None:
        if step == at:
            raise Killed

    whole = train(TASK, SETTINGS, tmp_path / "whole")
    with pytest.raises(Killed):
        train(TASK, SETTINGS, tmp_path / "killed", say=kill)
    torch.manual_seed(99)
    steps: list[int] = []
    again = train(
        TASK, SETTINGS, tmp_path / "killed", resume=True, say=lambda step, *_: steps.append(step)
    )
    assert steps == list(range(at // 5 * 5 + 1, 13))
    assert again.weights.read_bytes() == whole.weights.read_bytes()
    assert again.score == whole.score


def test_workers_change_nothing(tmp_path: Path) -> None:
    alone = train(TASK, SETTINGS, tmp_path / "alone")
    helped = train(TASK, replace(SETTINGS, workers=2), tmp_path / "helped")
    assert alone.weights.read_bytes() == helped.weights.read_bytes()


def test_another_seed_sees_other_examples(tmp_path: Path) -> None:
    first = train(TASK, SETTINGS, tmp_path / "0")
    second = train(TASK, replace(SETTINGS, seed=1), tmp_path / "1")
    assert first.loss != second.loss


def test_a_diverging_loss_stops_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingDiverged, match="the loss is") as caught:
        train(TASK, replace(SETTINGS, rate=float("inf")), tmp_path)
    assert "lower --rate" in caught.value.do
    assert caught.value.exit_code == 1


def test_a_training_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    train(TASK, SETTINGS, tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(BadCheckpoint, match="already"):
        train(TASK, SETTINGS, tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no checkpoint to resume"), (b"", "cannot be read"), (b"junk" * 99, "cannot be read")],
)
def test_a_checkpoint_that_is_missing_or_damaged_is_refused(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(BadCheckpoint, match=message):
        train(TASK, SETTINGS, tmp_path, resume=True)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    train(TASK, SETTINGS, tmp_path)
    with pytest.raises(BadCheckpoint, match="batch 4, not 8"):
        train(TASK, replace(SETTINGS, batch=8), tmp_path, resume=True)


def test_the_rate_rises_then_falls_to_nothing() -> None:
    rates = [rate_at(step, SETTINGS) for step in range(13)]
    assert rates[:3] == pytest.approx([0.025, 0.05, 0.05])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[12] == pytest.approx(0)


def test_unknown_tasks_and_devices_are_told_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'portrait'"):
        task.find("portrai")
    with pytest.raises(MlshipError, match="unknown device 'gpu'"):
        loop.device_named("gpu")
    assert loop.device_named("cpu") == "cpu"


@pytest.mark.parametrize("name", task.TASKS)
def test_a_task_gives_examples_that_its_model_learns_from(name: str) -> None:
    found = task.find(name)
    assert found.spec.name == name
    share = 0.2
    torch.manual_seed(0)
    learner = found.learner(found.net(share)).train()
    examples = [found.example(found.sized(share), number) for number in (7, 8)]
    again = found.example(found.sized(share), 8)
    assert all(torch.equal(a, b) for a, b in zip(examples[1], again, strict=True))
    batch = stacked(examples)
    learner(*batch).backward()
    learning = [weights for weights in learner.parameters() if weights.requires_grad]
    assert learning
    assert all(weights.grad is not None for weights in learning)
    assert -1 <= found.score(learner.net.eval(), batch) <= 60


def test_the_command_trains_and_says_what_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "find", lambda name: TASK)
    out = tmp_path / "run"
    options = ["--steps", "3", "--batch", "2", "--workers", "0", "--device", "cpu", "--json"]
    command = ["train", "brightness", "--out", str(out), *options]
    first = CliRunner().invoke(main, command)
    assert first.exit_code == 0, first.output
    said = json.loads(first.stdout)
    assert said["metric"] == "share that is right"
    assert Path(said["weights"]).is_file()
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 2
    assert json.loads(again.stdout)["error"]["kind"] == "BadCheckpoint"
    assert json.loads(CliRunner().invoke(main, [*command, "--resume"]).stdout) == said


def test_no_steps_write_the_weights_where_training_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def initialize(net: nn.Module) -> None:
        assert isinstance(net, Net)
        nn.init.constant_(net.out.bias, 7)

    monkeypatch.setattr(task, "find", lambda name: replace(TASK, initialize=initialize))
    command = ["train", "brightness", "--out", str(tmp_path), "--steps", "0", "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    weights = Path(json.loads(result.stdout)["weights"])
    assert load_file(weights)["out.bias"] == 7
    assert [run["steps"] for run in files.history(weights)] == [0]


def test_weights_to_start_from_replace_what_is_initialized(tmp_path: Path) -> None:
    def initialize(net: nn.Module) -> None:
        assert isinstance(net, Net)
        nn.init.constant_(net.out.bias, 7)

    base = tmp_path / "base.safetensors"
    files.write(base, {"out.bias": torch.tensor([3.0])}, [])
    state = TrainingState.fresh(replace(TASK, initialize=initialize), SETTINGS, base)
    assert isinstance(state.average, Net)
    assert state.average.out.bias == 3


def test_a_model_without_a_task_exits_2() -> None:
    result = CliRunner().invoke(main, ["train", "inpaint"])
    assert result.exit_code == 2
    assert "known: select, select-coarse, portrait" in result.stderr


def test_training_may_start_from_another_nets_weights(tmp_path: Path) -> None:
    first = train(TASK, SETTINGS, tmp_path / "first")
    settings = replace(SETTINGS, steps=1, rate=0.0)
    then = train(TASK, settings, tmp_path / "then", base=first.weights)
    kept = load_file(first.weights)["out.weight"]
    assert torch.allclose(load_file(then.weights)["out.weight"], kept)
    runs = files.history(then.weights)
    assert [run["steps"] for run in runs] == [12, 1]
    assert runs[1]["base"] == hashlib.sha256(first.weights.read_bytes()).hexdigest()


def test_a_resumed_training_must_start_from_the_same_weights(tmp_path: Path) -> None:
    first = train(TASK, SETTINGS, tmp_path / "first")
    train(TASK, SETTINGS, tmp_path / "then", base=first.weights)
    with pytest.raises(BadCheckpoint, match="base"):
        train(TASK, SETTINGS, tmp_path / "then", resume=True)


def test_weights_to_start_from_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="no such weights file"):
        train(TASK, SETTINGS, tmp_path / "run", base=tmp_path / "none.safetensors")


def test_the_metric_is_told_at_checkpoints(tmp_path: Path) -> None:
    told: dict[int, float | None] = {}
    done = train(TASK, SETTINGS, tmp_path, say=lambda step, loss, score: told.update({step: score}))
    assert [step for step, score in told.items() if score is not None] == [5, 10, 12]
    assert told[12] == done.score


def test_computing_in_bfloat16_resumes_to_the_same_bits(tmp_path: Path) -> None:
    settings = replace(SETTINGS, half=True)
    whole = train(TASK, settings, tmp_path / "whole")
    train(TASK, settings, tmp_path / "again")
    (tmp_path / "again" / loop.WEIGHTS).unlink()
    again = train(TASK, settings, tmp_path / "again", resume=True)
    assert again.weights.read_bytes() == whole.weights.read_bytes()
    assert load_file(again.weights)["conv.weight"].dtype == torch.float32
    assert whole.weights.read_bytes() != train(TASK, SETTINGS, tmp_path / "32").weights.read_bytes()
