"""`mlship prune`: fewer channels, and training that makes up for it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolchain.cli.command import command, print_result
from toolchain.cli.options import CLUSTER
from toolchain.cli.training import training

if TYPE_CHECKING:
    from toolchain.data.task import Task
    from toolchain.passes.prune_channels import PruneChannels
    from toolchain.search.prune import Pruned
    from toolchain.training.state import Settings


@command
@click.argument("model")
@click.option("--ratio", type=float, default=0.3, show_default=True, help="Of channels that go.")
@click.option("--macs", type=float, help="Instead: the share of multiply-adds that is left.")
@click.option("--params", type=float, help="Instead: the share of numbers that is left.")
@click.option("--bytes", "size_", type=int, help="Instead: the float32 weights' size, at most.")
@click.option(
    "--importance",
    default="taylor",
    show_default=True,
    help="magnitude, batchnorm, taylor, hessian: by what channels are chosen.",
)
@click.option(
    "--scope", default="global", show_default=True, help="global, or layer: alike from each."
)
@click.option("--most", type=float, help="Of a layer, in a stage.  [default: 0.5]")
@click.option("--multiple", default=8, show_default=True, help="Of channels, that layers keep.")
@click.option("--stages", type=click.IntRange(1), default=3, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=300, show_default=True, help="A stage.")
@click.option("--weights", type=Path, help="To start from.  [default: the model's own]")
@CLUSTER
@training
def prune(
    model: str,
    ratio: float,
    macs: float | None,
    params: float | None,
    size_: int | None,
    importance: str,
    scope: str,
    most: float | None,
    multiple: int,
    stages: int,
    weights: Path | None,
    cluster: str,
    out: Path | None,
    resume: bool,
    settings: Settings,
    as_json: bool,
) -> int:
    """Take channels out of MODEL and train what is left, in stages.

    MODEL is a name that `mlship list` shows, or path/to/file.py:task for examples of your own.
    Ship it with: mlship build MODEL --weights runs/MODEL-pruned/weights.safetensors
    """
    from toolchain.cluster.connect import SERIAL, connect
    from toolchain.data import task
    from toolchain.passes.prune_channels import PruneChannels
    from toolchain.report import terminal
    from toolchain.search import spread
    from toolchain.search.prune import Pruned, Sizes

    found = task.find(model)
    wanted = PruneChannels(
        ratio=ratio,
        macs=macs,
        params=params,
        bytes=size_,
        importance=importance,  # type: ignore[arg-type]  # checked there
        scope=scope,  # type: ignore[arg-type]
        most=most,
        multiple=multiple,
        task=model,
    )
    name = found.spec.name
    folder = out or Path("runs") / f"{name}-pruned"
    if cluster != SERIAL:
        options = {"stages": stages, "base": weights and str(weights.absolute()), "resume": resume}
        with terminal.progress() as say_of_jobs, connect(cluster) as pool:
            made = spread.prune(pool, model, wanted, settings, folder, options, say_of_jobs)
        both = (Sizes(**made[when]) for when in ("before", "after"))
        result = Pruned(Path(made["weights"]), made["metric"], *both)
    else:
        result = _pruned(found, wanted, settings, folder, stages, weights, resume)
    before, after = result.before, result.after
    facts = {"weights": str(result.weights), "metric": result.metric}
    said = (
        f"{result.weights}: {after.macs / before.macs:.0%} of the multiply-adds, "
        f"{after.parameters / before.parameters:.0%} of the parameters, {result.metric} "
        f"{after.score:.4f} on held-out examples (before: {before.score:.4f})"
    )
    facts_of_both = facts | {"before": asdict(before), "after": asdict(after)}
    return print_result(facts_of_both, said, as_json)


def _pruned(
    found: Task,
    wanted: PruneChannels,
    settings: Settings,
    folder: Path,
    stages: int,
    base: Path | None,
    resume: bool,
) -> Pruned:
    """Pruned in this process, with a bar."""
    from toolchain.search.prune import prune

    steps, name = settings.steps, found.spec.name
    with click.progressbar(length=stages * steps, label=name, file=sys.stderr) as bar:
        metric_text = ""

        def say(stage: int, step: int, loss: float, score: float | None) -> None:
            nonlocal metric_text
            metric_text = metric_text if score is None else f", {found.metric} {score:.3f}"
            bar.label = f"{name}, stage {stage} of {stages}, loss {loss:.4f}{metric_text}"
            bar.update((stage - 1) * steps + step - bar.pos)

        return prune(
            found, wanted, settings, folder, stages=stages, base=base, resume=resume, say=say
        )
