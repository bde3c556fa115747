"""The loop that trains any task: deterministic, resumable, and honest about divergence."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from model_defs.errors import BadCheckpoint, BadWeights, UnknownName
from model_defs.files import check_file
from toolchain.bundle.files import writing
from toolchain.data.task import HELD_OUT, SEEDS_APART, Examples, Item, Task
from toolchain.training import rounding
from toolchain.training import weights as files
from toolchain.training.state import FREE, Settings, TrainingState, moved

CHECKPOINT, WEIGHTS = "checkpoint.pt", "weights.safetensors"


StepListener = Callable[[int, float, float | None], None]
"""Called with (steps done, loss, the metric so far: at checkpoints only)."""


@dataclass(frozen=True)
class Trained:
    """The weights' file and what they score on examples that were not trained on."""

    weights: Path
    metric: str
    score: float
    loss: float


def train(
    task: Task,
    settings: Settings,
    out: Path,
    *,
    resume: bool = False,
    base: Path | None = None,
    until: int | None = None,
    say: StepListener = lambda step, loss, score: None,
) -> Trained:
    """Trains from the start, or from the checkpoint in `out`, to the last step or that of `until`.

    The start is what fits of the weights in the file `base`, or else weights drawn at random.

    On a CPU a training that was killed and resumed ends with the same bits as one that was
    not. Raises BadCheckpoint where `out` has one and it was not asked for, or the other way
    round, or it is of other settings; TrainingDiverged when the loss is no longer finite.
    """
    checkpoint = out / CHECKPOINT
    if checkpoint.exists() and not resume:
        raise BadCheckpoint(
            "there is a training here already",
            where=str(out),
            do="--resume it, or choose another folder with --out",
        )
    if base is not None:
        settings = replace(settings, base=_digest(base))
    last = settings.steps if until is None else min(until, settings.steps)
    state = TrainingState.fresh(task, settings, base)
    if resume:
        state.load(checkpoint, settings)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    loss = reached = math.nan
    for batch in _batches(task, settings, state.step, last):
        loss = state.advance(batch, settings)
        saved = state.step % settings.every == 0 or state.step == last
        if saved:
            state.save(checkpoint, settings)
            reached = score(task, state.average, settings)
        say(state.step, loss, reached if saved else None)
    weights = out / WEIGHTS
    learned = state.average.get_submodule(task.part)
    rounding.settle(learned, state.layers)
    files.write(weights, files.state_of(learned), _history(task, settings, base))
    if math.isnan(reached):  # nothing was left to do
        reached = score(task, state.average, settings)
    return Trained(weights, task.metric, reached, loss)


def use_threads(count: int) -> None:
    """Where other programs compute too, one thread is faster than two that wait for each other."""
    torch.set_num_threads(count)


def device_named(name: str) -> str:
    """The device of that name; `auto` is CUDA where there is one. Raises UnknownName."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and not (name.startswith("cuda") and torch.cuda.is_available()):
        raise UnknownName.among("device", name, ["cpu", "auto"])
    return name


def _history(task: Task, settings: Settings, base: Path | None) -> list[dict[str, Any]]:
    """How the weights came to be: the trainings before this one, then this one."""
    learned = {k: v for k, v in asdict(settings).items() if k not in FREE}
    before = files.history(base) if base is not None and base.suffix == ".safetensors" else []
    return [*before, {"model": task.spec.name, **learned}]


def _digest(base: Path) -> str:
    check_file(base, "weights file", BadWeights)
    return hashlib.sha256(base.read_bytes()).hexdigest()


def _batches(task: Task, settings: Settings, done: int, last: int) -> Iterator[Item]:
    """The batches of the steps up to the `last`; a step's are the same in every training."""
    first, count = done * settings.batch, (last - done) * settings.batch
    examples = Examples(task, settings.size, settings.seed * SEEDS_APART + first, count)
    yield from _loader(examples, settings)


def _loader(examples: Examples, settings: Settings) -> DataLoader[Item]:
    """In order; its generator is its own, so that none but the net draws from torch's."""
    return DataLoader(
        examples, settings.batch, num_workers=settings.workers, generator=torch.Generator()
    )


def score(task: Task, net: nn.Module, settings: Settings) -> float:
    """The task's metric on examples that are never trained on."""
    examples = Examples(task, settings.size, HELD_OUT, settings.held_out)
    total = 0.0
    net.eval()  # draws again what eval mode keeps of the weights
    for batch in _loader(examples, settings):
        total += task.score(net, moved(batch, settings)) * len(batch[0])
    return total / settings.held_out
