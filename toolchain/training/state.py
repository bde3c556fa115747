"""All that changes while a net trains, and how it is kept for later."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_defs.errors import BadCheckpoint, RecipeMismatch, TrainingDiverged
from toolchain.bundle.files import whole
from toolchain.data.task import Item, Task
from toolchain.training import rounding, start
from toolchain.training.rounding import Rounding

DECAY = 0.998
"""Of the weights' moving average, which is what ships."""


@dataclass(frozen=True)
class Settings:
    """`rate` is the learning rate's peak; it rises for `warm` steps and falls as a cosine."""

    steps: int = 2000
    batch: int = 16
    rate: float = 1e-3
    warm: int = 50
    seed: int = 0
    size: float = 1.0
    """Of the net's input that it is trained on, as a share of its height and width."""
    half: bool = False
    """Forward and backward in bfloat16 where PyTorch thinks that it does; weights stay float32."""
    base: str = ""
    """The digest of the weights that it starts from; drawn anew where there are none."""
    recipe: str = ""
    """Whose rounding it learns to live with; none where it is empty."""
    every: int = 200
    """Steps between checkpoints."""
    held_out: int = 64
    """Examples that the metric is measured on."""
    workers: int = 0
    device: str = "cpu"


FREE = ("workers", "device", "every", "held_out")
"""What may differ when training resumes: it does not change what is learned."""


@dataclass
class TrainingState:
    """All that changes from step to step, and how a recipe rounds layers, where one does."""

    learner: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    layers: Mapping[str, Rounding] = field(default_factory=dict)

    @classmethod
    def fresh(cls, task: Task, settings: Settings, base: Path | None) -> TrainingState:
        torch.manual_seed(settings.seed)
        net = task.net(settings.size)
        learned = net.get_submodule(task.part)
        start.draw(learned)
        if task.initialize is not None:
            task.initialize(learned)
        if base is not None:
            start.narrow(learned, base, task.learned(settings.size))
            start.load(learned, base)
        learner = task.learner(net).to(settings.device).train()
        learner = learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = copy.deepcopy(net).to(settings.device).eval().requires_grad_(False)
        if settings.half:
            widen(learner)
        layers = _layers(settings.recipe, task, base)
        for module in (learner.net, average):
            assert isinstance(module, nn.Module)
            rounding.put(module.get_submodule(task.part), layers)
        learning = [weights for weights in learner.parameters() if weights.requires_grad]
        optimiser = torch.optim.AdamW(learning, settings.rate)
        return cls(learner, average, optimiser, layers=layers)

    def advance(self, batch: Item, settings: Settings) -> float:
        """One step down the gradient of a batch; returns its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(self.step, settings)
        kind = torch.device(settings.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=settings.half):
            loss: Tensor = self.learner(*moved(batch, settings))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"the loss is {value} after {self.step} steps",
                do=f"resume from the last checkpoint with a lower --rate than {settings.rate:g}",
            )
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.learner.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        self._follow()
        return value

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the average towards the net, faster at first."""
        decay = min(DECAY, self.step / (self.step + 10))
        theirs = self._net().state_dict()
        for name, mine in self.average.state_dict().items():
            if mine.is_floating_point():
                mine.lerp_(theirs[name], 1 - decay)
            else:
                mine.copy_(theirs[name])

    def _net(self) -> nn.Module:
        net = self.learner.net
        assert isinstance(net, nn.Module)
        return net

    def save(self, path: Path, settings: Settings) -> None:
        """Writes a checkpoint: whole, or not at all."""
        content = {
            "settings": asdict(settings),
            "step": self.step,
            "learner": self.learner.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
        }
        with whole(path) as fresh:
            torch.save(content, fresh)

    def load(self, path: Path, settings: Settings) -> None:
        content = _read(path)
        before, now = asdict(Settings()) | content["settings"], asdict(settings)
        learned = {key: value for key, value in now.items() if key not in FREE}
        if changed := describe_changes(before, learned):
            raise BadCheckpoint(
                f"the checkpoint is of other settings: {changed}",
                where=str(path),
                do="resume with the same ones, or train anew in another folder",
            )
        self.step = content["step"]
        self.learner.load_state_dict(content["learner"])
        self.average.load_state_dict(content["average"])
        self.optimiser.load_state_dict(content["optimiser"])
        torch.set_rng_state(content["random"])


def describe_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which of today's settings were others before, and what they were; "" if none."""
    return ", ".join(
        f"{key} {before.get(key)}, not {value}"
        for key, value in now.items()
        if before.get(key) != value
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise BadCheckpoint(
            "there is no checkpoint to resume", where=str(path), do="train without --resume first"
        ) from error
    except (OSError, RuntimeError, EOFError, LookupError, ValueError, pickle.PickleError) as error:
        raise BadCheckpoint(
            f"the checkpoint cannot be read: {error}", where=str(path), do="train anew"
        ) from error
    return content


def _layers(recipe: str, task: Task, base: Path | None) -> Mapping[str, Rounding]:
    """How a recipe rounds the weights in a file; RecipeMismatch where there is none."""
    if not recipe:
        return {}
    if base is None:
        raise RecipeMismatch(
            f"recipe {recipe} rounds weights that were trained", do="name them: --from FILE"
        )
    return rounding.of_recipe(task, recipe, base)


def widen(learner: nn.Module) -> None:
    """Leaves depthwise kernels in float32, but for the plain 3x3, where that is faster on CPUs.

    Gradients in bfloat16, measured on an AVX-512 core: of FastDepth's 5x5 kernels 480 ms, not
    185; of a 3x3 kernel of stride 2, 260 ms, not 75; of stride 1, 54 ms, not 145.
    """
    for layer in learner.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups > 1 and not _plain(layer):
            layer.forward = partial(_in_float32, layer)  # type: ignore[method-assign]


def _plain(conv: nn.Conv2d) -> bool:
    return max(conv.kernel_size) <= 3 and max(*conv.stride, *conv.dilation) == 1


def _in_float32(conv: nn.Conv2d, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return F.conv2d(
            x.float(),
            conv.weight,
            conv.bias,
            conv.stride,
            conv.padding,
            conv.dilation,
            conv.groups,
        )


def rate_at(step: int, settings: Settings) -> float:
    """The learning rate of a step, counted from 0."""
    if step < settings.warm:
        return settings.rate * (step + 1) / settings.warm
    done = (step - settings.warm) / max(1, settings.steps - settings.warm)
    return settings.rate * 0.5 * (1 + math.cos(math.pi * done))


def moved(batch: Item, settings: Settings) -> Item:
    return tuple(tensor.to(settings.device) for tensor in batch)
