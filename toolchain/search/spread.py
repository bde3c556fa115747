"""What takes long in shrink, sensitivity, prune and train, as jobs for a cluster's workers.

A model's layers are measured in parts, and what the parts found is put together in the order in
which one process would have found it: the result is the same. Scenes that a training sees are drawn
into the cache, and a pruning is done in the folder that it names: for these the disk has to be
shared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.progress import Say
from model_defs.errors import ERRORS, ClusterFailed
from toolchain.bundle.files import write_whole
from toolchain.cluster.job import Failure, Job, Json
from toolchain.cluster.pool import Pool, Run
from toolchain.recipes.sensitivity import LayerSensitivity
from toolchain.search.prune import PLAN

if TYPE_CHECKING:
    from toolchain.passes.prune_channels import PruneChannels
    from toolchain.training.state import Settings

PARTS = 2
"""For each slot: who is quicker does more of them."""


def done(pool: Pool, jobs: Sequence[Job], title: str, say: Say) -> list[Json]:
    """What the jobs came to, in their order. Raises what the first of them raised."""
    found = {job.key: outcome for job, outcome in Run(pool, title, say).each(jobs)}
    for job in jobs:
        if (failure := found[job.key].failure) is not None:
            raise _error(failure)
    return [found[job.key].value for job in jobs]


def _error(failure: Failure) -> Exception:
    kind = ERRORS.get(failure.kind, ClusterFailed)
    return kind(failure.what, where=failure.where, do=failure.do)


def _parts(pool: Pool, name: str, kind: str, arguments: Mapping[str, Json]) -> list[Job]:
    count = PARTS * pool.slots
    return [
        Job(f"{name}, part {n + 1} of {count}", kind, {**arguments, "part": [n, count]}, keep=False)
        for n in range(count)
    ]


def sensitivity(
    pool: Pool, name: str, recipe: str, target: str, weights: Path | None, scenes: int, say: Say
) -> list[LayerSensitivity]:
    """The sensitivity of a model's layers, the most first."""
    asked = {
        "model": name,
        "recipe": recipe,
        "target": target,
        "weights": _path(weights),
        "scenes": scenes,
    }
    parts = done(pool, _parts(pool, name, "sensitivity", asked), name, say)
    numbered = sorted((number, one) for part in parts for number, one in part)
    return sorted((LayerSensitivity(**one) for _, one in numbered), key=lambda one: -one.share)


def measure_part(arguments: Mapping[str, Json], say: Say) -> Json:
    """The work of a part of `sensitivity`: each layer's number and what it loses."""
    from toolchain.recipes import recipes
    from toolchain.search.sensitivity import measure_layers

    recipe = recipes.find(arguments["recipe"]).on(arguments["target"])
    first, step = arguments["part"]
    weights = arguments["weights"]
    found = measure_layers(
        arguments["model"],
        recipe,
        Path(weights) if weights else None,
        arguments["scenes"],
        say,
        slice(first, None, step),
    )
    return [[first + step * n, one.to_json()] for n, one in enumerate(found)]


def choices(
    pool: Pool, name: str, kinds: Sequence[str], weights: Path | None, say: Say
) -> dict[str, float]:
    """What each layer of a model loses as each kind, by the name that `shrink` remembers it by."""
    asked = {"model": name, "kinds": [*kinds], "weights": _path(weights)}
    parts = done(pool, _parts(pool, name, "choices", asked), name, say)
    return {what: number for part in parts for what, number in part.items()}


def choose_part(arguments: Mapping[str, Json], say: Say) -> Json:
    """The work of a part of `choices`."""
    from converters.capture import capture
    from model_defs import lookup
    from toolchain.passes.fold_batchnorm import FoldBatchnorm
    from toolchain.recipes import pipeline
    from toolchain.search.choices import measure_choices

    weights, found = arguments["weights"], {}

    def remember(what: str, how: Callable[[], float]) -> float:
        found[what] = how()
        return found[what]

    captured = capture(lookup.load(arguments["model"]), Path(weights) if weights else None)
    program = pipeline.run(captured, [FoldBatchnorm()])
    first, step = arguments["part"]
    measure_choices(
        program,
        arguments["kinds"],
        remember,
        lambda n, total: say(captured.spec.name, f"layer {n + 1} of {total}"),
        slice(first, None, step),
    )
    return found


def prune(
    pool: Pool,
    task: str,
    wanted: PruneChannels,
    settings: Settings,
    out: Path,
    options: Mapping[str, Json],
    say: Say,
) -> dict[str, Any]:
    """A pruning by one worker, in a folder that it shares; `options` are stages, base, resume."""
    asked = {
        "task": task,
        "wanted": asdict(wanted),
        "settings": asdict(settings),
        "out": str(out.absolute()),
        **options,
    }
    (found,) = done(pool, [Job(f"prune {task}", "prune", asked, keep=False)], "prune", say)
    return dict(found)


def prune_work(arguments: Mapping[str, Json], say: Say) -> Json:
    """The work of `prune`."""
    from toolchain.data import task
    from toolchain.passes.prune_channels import PruneChannels
    from toolchain.search.prune import prune
    from toolchain.training.state import Settings

    found, base = task.find(arguments["task"]), arguments["base"]
    wanted = {**arguments["wanted"], "layers": tuple(map(tuple, arguments["wanted"]["layers"]))}

    def hear(stage: int, step: int, loss: float, score: float | None) -> None:
        if score is not None:
            say(found.spec.name, f"stage {stage}, step {step}: score {score:.4f}")

    out = Path(arguments["out"])
    result = prune(
        found,
        PruneChannels(**wanted),
        Settings(**arguments["settings"]),
        out,
        stages=arguments["stages"],
        base=Path(base) if base else None,
        resume=arguments["resume"] or _began(out, arguments),
        say=hear,
    )
    return {
        "weights": str(result.weights),
        "metric": result.metric,
        "before": asdict(result.before),
        "after": asdict(result.after),
    }


def _began(out: Path, arguments: Mapping[str, Json]) -> bool:
    """Whether this very job was begun here before, by a worker that is gone; noted for the next."""
    mark, text = out / "job.json", json.dumps(arguments, sort_keys=True)
    if mark.is_file() and mark.read_text(encoding="utf-8") == text and (out / PLAN).exists():
        return True
    if not (out / PLAN).exists():
        write_whole(mark, text)
    return False


DRAWN = 64
"""Examples whose scenes are drawn by one job."""


def draw(pool: Pool, task: str, settings: Settings, say: Say) -> None:
    """Draws the scenes that a training will see into the cache, so that it need not wait."""
    from toolchain.data.scenery import SCENES
    from toolchain.data.task import SEEDS_APART

    first, count = settings.seed * SEEDS_APART, min(settings.steps * settings.batch, SCENES)
    jobs = [
        Job(
            f"examples {n} to {min(n + DRAWN, count)}",
            "examples",
            {
                "task": task,
                "size": settings.size,
                "first": first + n,
                "count": min(DRAWN, count - n),
            },
            keep=False,
        )
        for n in range(0, count, DRAWN)
    ]
    done(pool, jobs, "drawing scenes", say)


def draw_part(arguments: Mapping[str, Json], say: Say) -> Json:
    """The work of a part of `draw`: examples are made, and their scenes stay in the cache."""
    from toolchain.data import task
    from toolchain.data.task import Examples

    found = task.find(arguments["task"])
    examples = Examples(found, arguments["size"], arguments["first"], arguments["count"])
    for number in range(len(examples)):
        examples[number]
    say(found.spec.name, f"{len(examples)} examples")
    return len(examples)


def _path(weights: Path | None) -> str | None:
    return str(weights.absolute()) if weights else None
