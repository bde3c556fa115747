"""`mlship prune`: stages, resuming to the same bits, and nets that build as others do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from converters.capture import capture
from model_defs import lookup
from model_defs.errors import BadCheckpoint, MlshipError
from toolchain.cli.main import main
from toolchain.data import task as tasks
from toolchain.passes.prune_channels import PruneChannels
from toolchain.search import prune
from toolchain.training import weights as files
from toolchain.training.loop import CHECKPOINT, train
from toolchain.training.state import Settings

TASK = """
import torch
from torch import nn
from model_defs.spec import ModelSpec, Postprocess, Preprocess, TensorSpec
from toolchain.data.task import Task


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 24, 3, padding=1, stride=2), nn.BatchNorm2d(24)
        self.depthwise = nn.Conv2d(24, 24, 3, padding=1, groups=24)
        self.second, self.out = nn.Conv2d(24, 16, 3, padding=1), nn.Conv2d(40, 1, 1)

    def forward(self, image):
        x = self.depthwise(self.norm(self.first(image)).relu()).relu()
        return self.out(torch.cat((x, self.second(x).relu()), 1)).sigmoid()


class Learner(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, image, shade):
        return nn.functional.mse_loss(self.net(image), shade)


def example(inputs, number):
    drawn = torch.Generator().manual_seed(number)
    image = torch.rand(inputs[0].shape[1:], generator=drawn)
    return image, image.mean(0, keepdim=True)[:, ::2, ::2]


@torch.no_grad()
def closeness(net, batch):
    return 1 - float((net(batch[0]) - batch[1]).abs().mean())


spec = ModelSpec(
    "shade",
    Net,
    (TensorSpec("image", (1, 3, 32, 32), "image", low=0, high=1, preprocess=Preprocess()),),
    (TensorSpec("shade", (1, 1, 16, 16), "map", low=0, high=1, tolerance=0.01,
                postprocess=Postprocess()),),
)
task = Task(spec, example, Learner, "closeness", closeness, multiple=4)
"""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "shade.py").write_text(TASK)
    return f"{tmp_path}/shade.py"


SETTINGS = Settings(steps=6, batch=4, rate=1e-3, warm=2, every=4, held_out=8)


def wanted(file: str, **options: Any) -> PruneChannels:
    given = {"macs": 0.5, "importance": "taylor", "multiple": 1, "examples": 4, **options}
    return PruneChannels(task=f"{file}:task", **given)


def test_prunes_in_stages_and_trains(file: str, tmp_path: Path) -> None:
    task = tasks.find(f"{file}:task")
    done = prune.prune(task, wanted(file), SETTINGS, tmp_path / "out", stages=2)
    assert 0.4 < done.after.macs / done.before.macs <= 0.5
    assert done.after.parameters < done.before.parameters
    assert 0 < done.after.score <= 1
    between = capture(task.spec, tmp_path / "out" / "1" / "weights.safetensors")
    whole = capture(task.spec)
    assert 0.5 < prune.work(between) / prune.work(whole) <= 0.5**0.5
    trained = load_file(tmp_path / "out/2/weights.safetensors")
    started = load_file(tmp_path / "out/2/start.safetensors")
    assert not torch.equal(trained["second.weight"], started["second.weight"])
    history = files.history(done.weights)
    assert [("pruned" in run, run.get("steps")) for run in history] == [
        *((True, None), (False, 6)) * 2
    ]
    assert all(torch.equal(t, trained[name]) for name, t in load_file(done.weights).items())


class Killed(Exception):
    """What a kill is to Python."""


@pytest.mark.parametrize("at", [(1, 2), (1, 5), (2, 1), (2, 6)])
def test_a_killed_pruning_resumes_to_the_same_bits(
    file: str, tmp_path: Path, at: tuple[int, int]
) -> None:
    task = tasks.find(f"{file}:task")

    def kill(stage: int, step: int, loss: float, score: float | None) -> None:
        if (stage, step) == at:
            raise Killed

    def run(name: str, **options: Any) -> bytes:
        folder = tmp_path / name
        done = prune.prune(task, wanted(file), SETTINGS, folder, stages=2, **options)
        return done.weights.read_bytes()

    whole = run("whole")
    with pytest.raises(Killed):
        run("killed", say=kill)
    torch.manual_seed(99)
    assert run("killed", resume=True) == whole
    assert run("killed", resume=True) == whole


def test_other_settings_and_other_folders_are_refused(file: str, tmp_path: Path) -> None:
    task, out = tasks.find(f"{file}:task"), tmp_path / "out"
    with pytest.raises(BadCheckpoint, match="no pruning to resume"):
        prune.prune(task, wanted(file), SETTINGS, out, resume=True)
    prune.prune(task, wanted(file), SETTINGS, out, stages=1)
    with pytest.raises(BadCheckpoint, match="a pruning here already"):
        prune.prune(task, wanted(file), SETTINGS, out, stages=1)
    with pytest.raises(BadCheckpoint, match=r"macs 0.5, not 0.4"):
        prune.prune(task, wanted(file, macs=0.4), SETTINGS, out, stages=1, resume=True)
    (out / "plan.json").write_text("{")
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        prune.prune(task, wanted(file), SETTINGS, out, stages=1, resume=True)


@pytest.mark.parametrize(
    "target",
    [{"ratio": 0.4, "macs": None}, {"params": 0.5, "macs": None}, {"bytes": 12_000, "macs": None}],
)
def test_stages_together_meet_each_kind_of_target(
    file: str, tmp_path: Path, target: dict[str, Any]
) -> None:
    task = tasks.find(f"{file}:task")
    done = prune.prune(task, wanted(file, **target), SETTINGS, tmp_path / "out", stages=3)
    state = load_file(done.weights)
    if "ratio" in target:
        left = state["first.weight"].shape[0] + state["second.weight"].shape[0]
        assert left == pytest.approx(40 * 0.6, abs=2)
    elif "params" in target:
        assert done.after.parameters <= 0.52 * done.before.parameters
    else:
        assert 4 * sum(tensor.numel() for tensor in state.values()) <= 12_000


def test_training_goes_on_from_a_pruned_net(file: str, tmp_path: Path) -> None:
    task = tasks.find(f"{file}:task")
    done = prune.prune(task, wanted(file), SETTINGS, tmp_path / "out", stages=1)
    more = train(task, SETTINGS, tmp_path / "more", base=done.weights)
    shapes = {name: tensor.shape for name, tensor in load_file(done.weights).items()}
    assert {name: tensor.shape for name, tensor in load_file(more.weights).items()} == shapes
    assert (tmp_path / "more" / CHECKPOINT).is_file()


def test_a_pruned_net_builds_for_every_target_and_the_build_proves_it(
    file: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ["prune", f"{file}:task", "--macs", "0.5", "--stages", "1", "--steps", "2"]
    options = ["--batch", "2", "--multiple", "1", "--out", str(out), "--json"]
    result = CliRunner().invoke(main, [*command, *options])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["after"]["macs"] <= 0.5 * facts["before"]["macs"]
    weights = ["--weights", facts["weights"]]
    build = ["build", f"{file}:spec", "--target", "all", "--out", str(tmp_path / "dist"), "--json"]
    result = CliRunner().invoke(main, [*build, *weights])
    assert result.exit_code == 0, result.output
    built = json.loads(result.stdout)
    assert [one["ok"] for one in built] == [True] * 3
    bundle = str(tmp_path / "dist" / "shade-android")
    result = CliRunner().invoke(main, ["parity", bundle, "--model", f"{file}:spec", *weights])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(main, ["parity", bundle, "--model", f"{file}:spec"])
    assert result.exit_code == 1, "the whole net is another net"


def test_a_recipe_that_prunes_builds_and_blames_no_layer(file: str, tmp_path: Path) -> None:
    recipe = ["--recipe", "prune-channels=0.4,prune-weights=0.3,weights-fp16"]
    build = ["build", f"{file}:spec", "--target", "android", "--out", str(tmp_path), *recipe]
    result = CliRunner().invoke(main, build)
    assert result.exit_code == 0, result.output
    asked = ["blame", str(tmp_path / "shade-android"), "--model", f"{file}:spec", "--json"]
    result = CliRunner().invoke(main, asked)
    assert '"off": false' in result.stdout
    assert '"off": true' not in result.stdout
    assert "Infinity" not in result.stdout


@pytest.mark.parametrize("step", ["prune-channels=1", "prune-channels=x", "prune-weights=0"])
def test_a_ratio_out_of_range_is_refused_before_anything_is_built(step: str, file: str) -> None:
    result = CliRunner().invoke(
        main, ["build", f"{file}:spec", "--target", "ios", "--recipe", step]
    )
    assert result.exit_code == 2
    assert "ratio is between 0 and 1" in result.output


def test_an_unknown_task_and_a_wrong_target_are_short_errors(tmp_path: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(main, ["prune", "depht"])
    assert result.exit_code == 2
    assert "did you mean 'depth'" in result.output
    result = runner.invoke(main, ["prune", "depth", "--ratio", "1.5", "--out", str(tmp_path / "x")])
    assert result.exit_code == 2
    assert "ratio is 1.5" in result.output


def test_what_cannot_be_reached_says_what_can(file: str, tmp_path: Path) -> None:
    task = tasks.find(f"{file}:task")
    with pytest.raises(MlshipError, match="multiply-adds cannot be"):
        prune.prune(task, wanted(file, macs=0.001), SETTINGS, tmp_path / "out", stages=1)
    done = prune.prune(task, wanted(file, macs=0.8), SETTINGS, tmp_path / "out", stages=1)
    assert done.weights.is_file()


def test_a_models_own_name_is_its_spec(file: str) -> None:
    assert lookup.load(f"{file}:spec").name == "shade"
