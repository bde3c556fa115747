"""`mlship prune`: some channels fewer, training, fewer again; each stage may be resumed.

OUT/plan.json                   what was asked for
OUT/1/start.safetensors         the weights, pruned
OUT/1/weights.safetensors       trained again; beside it what training keeps
OUT/2/...
OUT/weights.safetensors         those of the last stage
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from converters.api import Program
from converters.capture import capture, example
from model_defs.counting import macs, parameters
from model_defs.errors import BadCheckpoint
from toolchain.bundle.files import file_digest, write_whole
from toolchain.bundle.reading import DataFile, json_object
from toolchain.data.task import Task
from toolchain.passes.prune_channels import PruneChannels
from toolchain.training import loop
from toolchain.training import weights as files
from toolchain.training.loop import CHECKPOINT, WEIGHTS
from toolchain.training.state import FREE, Settings, describe_changes

PLAN, START = "plan.json", "start.safetensors"

StageListener = Callable[[int, int, float, float | None], None]
"""Called with (stage, steps done in it, loss, the metric so far: at checkpoints only)."""


@dataclass(frozen=True)
class Sizes:
    """Multiply-adds for one input, trained numbers, and the task's metric."""

    macs: int
    parameters: int
    score: float


@dataclass(frozen=True)
class Pruned:
    """The weights' file, and the net before and after."""

    weights: Path
    metric: str
    before: Sizes
    after: Sizes


def prune(
    task: Task,
    wanted: PruneChannels,
    settings: Settings,
    out: Path,
    *,
    stages: int = 3,
    base: Path | None = None,
    resume: bool = False,
    say: StageListener = lambda stage, step, loss, score: None,
) -> Pruned:
    """Prunes in stages of the same factor each, and trains after each of them.

    Starts from the weights in `base`, by default the model's own. A run that was killed and
    resumed ends with the same bits as one that was not. Raises BadCheckpoint as training does,
    and what a target below the possible raises.
    """
    whole = capture(task.spec, base)
    _begin(_plan(task, wanted, settings, stages, base), out, resume)
    before = _sizes(task, whole, settings)
    weights, program = base or task.spec.weights, whole
    for stage in range(1, stages + 1):
        folder = out / str(stage)
        if not (folder / WEIGHTS).exists():
            _cut(program, _share(wanted, whole, program, stage, stages), folder / START, weights)

            def report(step: int, loss: float, score: float | None, stage: int = stage) -> None:
                say(stage, step, loss, score)

            again = (folder / CHECKPOINT).exists()
            loop.train(task, settings, folder, resume=again, base=folder / START, say=report)
        weights = folder / WEIGHTS
        program = capture(task.spec, weights)
    final = out / WEIGHTS
    files.write(final, files.state_of(program.module), files.history(folder / WEIGHTS))
    return Pruned(final, task.metric, before, _sizes(task, program, settings))


def _plan(
    task: Task, wanted: PruneChannels, settings: Settings, stages: int, base: Path | None
) -> dict[str, Any]:
    learned = {k: v for k, v in asdict(settings).items() if k not in FREE}
    start = base or task.spec.weights
    digest = file_digest(start) if start is not None else ""
    asked = {"model": task.spec.name, "stages": stages, "start": digest, **asdict(wanted)}
    # As it will be read back, its tuples lists, for the two to be compared.
    plan: dict[str, Any] = json.loads(json.dumps(asked | {"training": learned}))
    return plan


def _begin(plan: dict[str, Any], out: Path, resume: bool) -> None:
    """Writes the plan, or finds the same one; one that came to nothing is not in the way."""
    path = out / PLAN
    if not resume:
        if (out / "1" / START).exists():
            raise BadCheckpoint(
                "there is a pruning here already",
                where=str(out),
                do="--resume it, or choose another folder with --out",
            )
        write_whole(path, json.dumps(plan, indent=1) + "\n")
        return
    if changed := describe_changes(_read(path), plan):
        raise BadCheckpoint(
            f"the pruning is of other settings: {changed}",
            where=str(path),
            do="resume with the same ones, or prune anew in another folder",
        )


def _read(path: Path) -> dict[str, Any]:
    file = DataFile("the plan", str(path), BadCheckpoint, "prune anew")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadCheckpoint(
            "there is no pruning to resume", where=str(path), do="prune without --resume first"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise file.refuse(str(error)) from error
    return json_object(text, file)


def _share(
    wanted: PruneChannels, whole: Program, now: Program, stage: int, stages: int
) -> PruneChannels:
    """What a stage takes of the net as it is now; all stages together take what is wanted."""
    part = stage / stages
    # Of the net as it is now, since a stage may have taken more or less than it was to: the next
    # one makes up for it.
    if wanted.macs is not None:
        left = wanted.macs**part * work(whole) / work(now)
        return replace(wanted, macs=min(1.0, left))
    if wanted.params is not None:
        left = wanted.params**part * parameters(whole.module) / parameters(now.module)
        return replace(wanted, params=min(1.0, left))
    if wanted.bytes is not None:
        first = 4 * parameters(whole.module)
        return replace(wanted, bytes=int(first * (wanted.bytes / first) ** part))
    ratios = tuple((path, _of(ratio, stages)) for path, ratio in wanted.layers)
    return replace(wanted, ratio=_of(wanted.ratio, stages), layers=ratios)


def _of(ratio: float, stages: int) -> float:
    return 1 - (1 - ratio) ** (1 / stages)


def _cut(program: Program, stage: PruneChannels, path: Path, weights: Path | None) -> None:
    """Writes the program's weights, pruned, unless they are there already."""
    if path.exists():
        return
    pruned = stage(program)
    known = weights is not None and weights.suffix == ".safetensors"
    before = files.history(weights) if known and weights is not None else []
    run = {"model": program.spec.name, "pruned": list(pruned.notes[len(program.notes) :])}
    files.write(path, files.state_of(pruned.module), [*before, run])


def work(program: Program) -> int:
    return macs(program.module, example(program.spec))


def _sizes(task: Task, program: Program, settings: Settings) -> Sizes:
    score = loop.score(task, task.around(program.module), replace(settings, size=1.0))
    return Sizes(work(program), parameters(program.module), score)
