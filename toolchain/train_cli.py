"""`mlship train`: weights of one's own, from scenes made by rule."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from toolchain.command import command_of


def add_to(group: click.Group) -> None:
    """Adds the command to a group."""
    command_of(group)(train)


@click.argument("model")
@click.option("--steps", type=click.IntRange(1), default=2000, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True)
@click.option("--rate", type=float, default=1e-3, show_default=True, help="Of learning, at most.")
@click.option("--seed", type=click.IntRange(0, 1_000_000), default=0, show_default=True)
@click.option("--out", type=Path, help="The folder.  [default: runs/MODEL]")
@click.option("--resume", is_flag=True, help="Go on from the folder's checkpoint.")
@click.option("--every", type=click.IntRange(1), default=200, help="Steps between checkpoints.")
@click.option("--workers", type=click.IntRange(0), default=2, help="Processes that make examples.")
@click.option("--device", default="auto", help="cpu, cuda.  [default: cuda where there is one]")
def train(
    model: str,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    out: Path | None,
    resume: bool,
    every: int,
    workers: int,
    device: str,
    as_json: bool,
) -> int:
    """Train MODEL on scenes made by rule, and write its weights.

    Ship them with: mlship build MODEL --weights runs/MODEL/weights.safetensors
    """
    from toolchain.training import loop, task

    found = task.find(model)
    settings = loop.Settings(
        steps=steps,
        batch=batch,
        rate=rate,
        warm=min(50, steps // 10 + 1),
        seed=seed,
        every=every,
        workers=workers,
        device=loop.device_named(device),
    )
    folder = out or Path("runs") / model
    with click.progressbar(length=steps, label=model, file=sys.stderr) as bar:

        def say(step: int, loss: float) -> None:
            bar.label = f"{model}, loss {loss:.4f}"
            bar.update(step - bar.pos)

        result = loop.train(found, settings, folder, resume=resume, say=say)
    facts = {
        "weights": str(result.weights),
        "steps": steps,
        "metric": result.metric,
        "score": round(result.score, 4),
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(f"{result.weights}: {result.metric} {result.score:.4f} on held-out scenes")
    return 0
