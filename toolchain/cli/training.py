"""The options of the commands that train, and the settings that they make."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click


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
