"""`mlship train`: weights from scenes made by rule, or from examples of one's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolchain.cli.command import command_of

if TYPE_CHECKING:
    from toolchain.training.state import Settings


def add_to(group: click.Group) -> None:
    """Adds the command to a group."""
    command_of(group)(train)


def warm(steps: int) -> int:
    """Steps in which the learning rate rises."""
    return min(50, steps // 10 + 1)


OPTIONS = (
    click.option("--batch", type=click.IntRange(1), default=16, show_default=True),
    click.option(
        "--rate", type=float, default=1e-3, show_default=True, help="Of learning, at most."
    ),
    click.option("--seed", type=click.IntRange(0, 1_000_000), default=0, show_default=True),
    click.option(
        "--size",
        type=click.FloatRange(0.05, 1),
        default=1.0,
        show_default=True,
        help="Of the input.",
    ),
    click.option(
        "--half", is_flag=True, help="Compute in bfloat16: twice as fast on many machines."
    ),
    click.option("--out", type=Path, help="The folder.  [default: runs/MODEL]"),
    click.option("--resume", is_flag=True, help="Go on from the folder's checkpoint."),
    click.option("--every", type=click.IntRange(1), default=200, help="Steps between checkpoints."),
    click.option(
        "--workers", type=click.IntRange(0), default=0, help="Processes that make examples."
    ),
    click.option("--threads", type=click.IntRange(1), help="That compute.  [default: PyTorch's]"),
    click.option("--device", default="auto", help="cpu, cuda.  [default: cuda where there is one]"),
)
"""Of every command that trains, beside `--steps`."""

SETTINGS = ("batch", "rate", "seed", "size", "half", "every", "workers")
"""Those that are taken as they are."""


def training(function: Callable[..., int]) -> Callable[..., int]:
    """The function with these options, called with the `settings` that they and `steps` make."""

    @wraps(function)
    def called(*, threads: int | None, device: str, steps: int, **options: Any) -> int:
        from toolchain.training import loop
        from toolchain.training.state import Settings

        if threads is not None:
            loop.use_threads(threads)
        chosen = {name: options.pop(name) for name in SETTINGS}
        where = loop.device_named(device)
        settings = Settings(steps=steps, warm=warm(steps), device=where, **chosen)
        return function(settings=settings, **options)

    for option in reversed(OPTIONS):
        called = option(called)
    return called


@click.argument("model")
@click.option(
    "--steps", type=click.IntRange(0), default=2000, show_default=True, help="0: where it starts."
)
@click.option("--from", "base", type=Path, help="Start from what fits of another net's weights.")
@click.option(
    "--recipe", default="", help="Learn to live with its rounding: int8, weights-int4 ..."
)
@training
def train(
    model: str,
    base: Path | None,
    recipe: str,
    out: Path | None,
    resume: bool,
    settings: Settings,
    as_json: bool,
) -> int:
    """Train MODEL and write its weights: on scenes made by rule, or on what its task says.

    MODEL is a name that `mlship list` shows, or path/to/file.py:task for examples of your own.
    Ship them with: mlship build MODEL --weights runs/MODEL/weights.safetensors
    """
    from dataclasses import replace

    from toolchain.training import loop, task

    found, settings = task.find(model), replace(settings, recipe=recipe)
    steps = settings.steps
    name = found.spec.name
    folder = out or Path("runs") / name
    with click.progressbar(length=steps, label=name, file=sys.stderr) as bar:
        told = ""

        def say(step: int, loss: float, score: float | None) -> None:
            nonlocal told
            told = told if score is None else f", {found.metric} {score:.3f}"
            bar.label = f"{name}, loss {loss:.4f}{told}"
            bar.update(step - bar.pos)

        result = loop.train(found, settings, folder, resume=resume, base=base, say=say)
    facts = {
        "weights": str(result.weights),
        "steps": steps,
        "metric": result.metric,
        "score": round(result.score, 4),
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(f"{result.weights}: {result.metric} {result.score:.4f} on held-out examples")
    return 0
