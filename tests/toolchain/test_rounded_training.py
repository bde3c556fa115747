"""Training through a recipe's rounding: it computes what the recipe will, learns, and resumes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from torch import Tensor, nn

from converters.capture import capture
from model_defs.errors import BadCheckpoint, RecipeMismatch
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.cli.main import main
from toolchain.data.task import Item, Task
from toolchain.quantization import grids
from toolchain.recipes import recipes
from toolchain.training import rounding
from toolchain.training.loop import train
from toolchain.training.state import Settings


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _only_the_last_kernel_keeps_eight_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grids, "SMALL", 100)


def edges(inputs: tuple[TensorSpec, ...], number: int) -> Item:
    """A picture of noise, and where it is lighter than to the left."""
    image = torch.rand(inputs[0].shape[1:], generator=torch.Generator().manual_seed(number))
    return image, (image.mean(0, keepdim=True).diff(dim=2, prepend=image[:1, :, :1]) > 0).float()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 8, 2, 2)
        self.last = nn.Conv2d(8, 1, 2, 2)

    def forward(self, image: Tensor) -> Tensor:
        return self.last(self.up(self.norm(self.first(image)).relu()).relu())


class Learner(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, edges: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(self.net(image), edges)


def likelihood(net: nn.Module, batch: Item) -> float:
    with torch.no_grad():
        return -float(Learner(net)(*batch))


TASK = Task(
    ModelSpec(
        "edges",
        Net,
        (TensorSpec("image", (1, 3, 8, 8), "image", low=0, high=1),),
        (TensorSpec("edges", (1, 1, 8, 8), "map", tolerance=0.01),),
    ),
    edges,
    Learner,
    "log likelihood",
    likelihood,
)
BASE = Settings(steps=60, batch=8, rate=0.02, warm=2, held_out=32)
SETTINGS = Settings(steps=12, batch=8, rate=0.003, warm=2, every=5, held_out=32, recipe="int8")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(TASK, BASE, tmp_path_factory.mktemp("base")).weights


@pytest.mark.parametrize(
    ("recipe", "bound"), [("weights-int8", 1e-5), ("weights-int4", 1e-5), ("int8", 0.3)]
)
def test_a_net_computes_what_the_recipe_will(base: Path, recipe: str, bound: float) -> None:
    net = Net()
    net.load_state_dict(load_file(base))
    rounding.put(net, rounding.of_recipe(TASK, recipe, base))
    program = capture(TASK.spec, base)
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    whole = program.module(image)
    for step in recipes.find(recipe).load():
        program = step(program)
    with torch.no_grad():
        ours, theirs = net(image), program.module(image)
    assert float((theirs - whole).abs().max()) > 1e-3, "a recipe that rounds nothing"
    if recipe != "weights-int4":  # whose rounding is adaptive
        assert float((ours - theirs).abs().max()) < bound
    assert float((ours - whole).abs().max()) > 1e-3


def test_the_recipe_loses_less_of_weights_that_were_trained_through_it(
    base: Path, tmp_path: Path
) -> None:
    many = replace(SETTINGS, steps=80, recipe="weights-int4")
    learned = train(TASK, many, tmp_path, base=base).weights
    examples = [edges(TASK.spec.inputs, number) for number in range(64)]
    batch = tuple(torch.stack(t) for t in zip(*examples, strict=True))

    def after(weights: Path) -> float:
        program = capture(TASK.spec, weights)
        for step in recipes.find("weights-int4").load():
            program = step(program)
        return likelihood(program.module, batch)

    assert after(learned) > after(base)


def test_a_killed_training_resumes_to_the_same_bits(base: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(step: int, loss: float, score: float | None) -> None:
        if step == 8:
            raise Killed

    whole = train(TASK, SETTINGS, tmp_path / "whole", base=base)
    with pytest.raises(Killed):
        train(TASK, SETTINGS, tmp_path / "killed", base=base, say=kill)
    torch.manual_seed(99)
    again = train(TASK, SETTINGS, tmp_path / "killed", base=base, resume=True)
    assert again.weights.read_bytes() == whole.weights.read_bytes()


def test_statistics_of_batchnorm_stay(base: Path, tmp_path: Path) -> None:
    learned = load_file(train(TASK, SETTINGS, tmp_path, base=base).weights)
    before = load_file(base)
    assert torch.equal(learned["norm.running_var"], before["norm.running_var"])
    assert not torch.equal(learned["first.weight"], before["first.weight"])


def test_another_recipe_does_not_resume(base: Path, tmp_path: Path) -> None:
    train(TASK, SETTINGS, tmp_path, base=base)
    other = replace(SETTINGS, recipe="weights-int8")
    with pytest.raises(BadCheckpoint, match="recipe int8, not weights-int8"):
        train(TASK, other, tmp_path, base=base, resume=True)


def test_weights_to_round_have_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeMismatch, match="rounds weights that were trained"):
        train(TASK, SETTINGS, tmp_path)


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        ("prune-channels=0.2,int8", "takes channels out"),
        ("fast", "takes channels out"),
        ("fp16", "rounds nothing to what can be trained through"),
        ("weights-uint8", "rounds nothing to what can be trained through"),
        ("palettize=4", "rounds not all to what can be trained through"),
    ],
)
def test_recipes_that_cannot_be_trained_through(base: Path, recipe: str, why: str) -> None:
    with pytest.raises(RecipeMismatch, match=why):
        rounding.of_recipe(TASK, recipe, base)


def test_weights_that_are_given_have_the_channels_that_smallest_trains(base: Path) -> None:
    kernels = [r.kernel.dtype for r in rounding.of_recipe(TASK, "smallest", base).values()]
    assert kernels == ["int4", "int4", "int8"]


def test_the_command_wants_weights_to_round(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["train", "portrait", "--recipe", "int8", "--out", str(tmp_path)]
    )
    assert result.exit_code == 2
    assert "--from FILE" in result.stderr
