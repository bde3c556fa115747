"""`mlship train`: weights from scenes made by rule, or from examples of one's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolchain.cli.command import command, print_result
from toolchain.cli.options import CLUSTER
from toolchain.cli.training import training

if TYPE_CHECKING:
    from toolchain.training.state import Settings


@command
@click.argument("model")
@click.option(
    "--steps", type=click.IntRange(0), default=2000, show_default=True, help="0: where it starts."
)
@click.option("--from", "base", type=Path, help="Start from what fits of another net's weights.")
@click.option(
    "--recipe", default="", help="Learn to live with its rounding: int8, weights-int4 ..."
)
@CLUSTER
@training
def train(
    model: str,
    base: Path | None,
    recipe: str,
    cluster: str,
    out: Path | None,
    resume: bool,
    settings: Settings,
    as_json: bool,
) -> int:
    """Train MODEL and write its weights: on scenes made by rule, or on what its task says.

    MODEL is a name that `mlship list` shows, or path/to/file.py:task for examples of your own.
    With --cluster its workers draw the scenes beforehand; training itself is done here.
    Ship them with: mlship build MODEL --weights runs/MODEL/weights.safetensors
    """
    from dataclasses import replace

    from toolchain.cluster.connect import SERIAL, connect
    from toolchain.report import terminal
    from toolchain.search import spread
    from toolchain.training import loop, task

    found, settings = task.find(model), replace(settings, recipe=recipe)
    steps = settings.steps
    name = found.spec.name
    if cluster != SERIAL:
        with terminal.progress() as say_of_jobs, connect(cluster) as pool:
            spread.draw(pool, model, settings, say_of_jobs)
    folder = out or Path("runs") / name
    with click.progressbar(length=steps, label=name, file=sys.stderr) as bar:
        metric_text = ""

        def say(step: int, loss: float, score: float | None) -> None:
            nonlocal metric_text
            metric_text = metric_text if score is None else f", {found.metric} {score:.3f}"
            bar.label = f"{name}, loss {loss:.4f}{metric_text}"
            bar.update(step - bar.pos)

        result = loop.train(found, settings, folder, resume=resume, base=base, say=say)
    facts = {
        "weights": str(result.weights),
        "steps": steps,
        "metric": result.metric,
        "score": round(result.score, 4),
    }
    said = f"{result.weights}: {result.metric} {result.score:.4f} on held-out examples"
    return print_result(facts, said, as_json)
