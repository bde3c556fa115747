"""The job of building a trained variant: pruned, rounded, proved, weighed and examined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from converters.processes import scratch
from converters.progress import Say
from toolchain.build.build import build
from toolchain.build.request import BuildRequest, Built
from toolchain.bundle.bundle import Bundle
from toolchain.cluster.job import Job, JobOutcome, Json
from toolchain.recipes import recipes, targets
from toolchain.sweep import train
from toolchain.sweep.variant import Variant

if TYPE_CHECKING:
    from toolchain.data.task import Task


def job(variant: Variant, trained: Mapping[str, Json], places: Sequence[str], scenes: int) -> Job:
    """Building what was trained for these targets; each file is examined on so many examples."""
    said = {key: trained[key] for key in ("steps", "weights")}
    asked = {"variant": variant.to_json(), "trained": said, "targets": [*places], "scenes": scenes}
    return Job(f"{variant.name}, built", "ship", asked)


def work(arguments: Mapping[str, Json], say: Say) -> Json:
    """Builds for each target, and says of each what came of it, and of the net what it counts."""
    from model_defs.counting import count

    variant = Variant.from_json(arguments["variant"])
    task = variant.load()
    weights = train.found_weights(variant, arguments["trained"], say)
    counted = count(task.spec)
    with scratch.temporary() as out:
        request = BuildRequest(
            (task.spec,),
            targets.find(arguments["targets"]),
            recipes.find(variant.recipe),
            weights=weights,
            out=out,
        )
        found = {
            one.target: _described(one, task, arguments["scenes"], say)
            for one in build(request, say)
        }
    return {"macs": counted.macs, "parameters": counted.parameters, "targets": found}


def _described(built: Built, task: Task, scenes: int, say: Say) -> dict[str, Any]:
    """What came of a target: its bytes, its verdict, its score, its place in the cache."""
    if built.bundle is None:
        error = built.error
        why = error.what if error is not None else "; ".join(built.problems)
        return {"ok": False, "problem": why, "exit_code": built.exit_code}
    bundle = built.bundle
    passes = bundle.manifest.recipe.pass_report
    say(f"{built.model}-{built.target}", "examining the file")
    found = {
        "ok": True,
        "object": built.object,
        "bytes": bundle.artifact_bytes,
        "score": round(examined(bundle, task, scenes), 6),
    }
    if passes:  # pruning makes another net
        found |= {"macs": passes[-1].macs, "parameters": passes[-1].parameters}
    return found


def examined(bundle: Bundle, task: Task, count: int) -> float:
    """The task's metric of the file that ships, on held-out examples at the model's own size."""
    from toolchain.bundle.running import RunningModel
    from toolchain.training import loop
    from toolchain.training.state import Settings

    running = RunningModel.of_bundle(bundle)
    try:
        net = task.around(_shipped(running))
        return loop.score(task, net, Settings(held_out=count, batch=min(8, count)))
    finally:
        running.runner.close()


def _shipped(running: Any) -> Any:
    """A file as a module of PyTorch, that takes as many examples at a time as it is given."""
    import torch
    from torch import nn

    class ShippedFile(nn.Module):
        """Inputs (N, ...) -> the first output (N, ...), example by example."""

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            name = running.outputs[0].name
            found = []
            for each in zip(*(one.split(1) for one in inputs), strict=True):
                given = {s.name: t.numpy() for s, t in zip(running.inputs, each, strict=True)}
                found.append(torch.tensor(running.runner.run(given)[name]))
            return torch.cat(found)

    return ShippedFile()


def is_there(outcome: JobOutcome) -> bool:
    """Whether the cache still has all that was built."""
    if outcome.failure is not None:
        return True
    found = [one for one in outcome.value["targets"].values() if one["ok"]]
    return all(bundle_of(one) is not None for one in found)


def bundle_of(found: Mapping[str, Any]) -> Bundle | None:
    """The bundle of a built target; None where the cache has it no more."""
    from toolchain.build import shared

    return shared.find(found["object"])
