"""`mlship apply grade`."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.applications.options import Amount, PointType, check, say, with_model
from toolchain.cli.command import command


@command
@with_model
@click.option("--focus", type=PointType(), required=True, help="What keeps its light.")
@click.option(
    "--stops", type=Amount(-8, 8), default=1.0, show_default=True, help="How much, in stops."
)
@click.option(
    "--softness", type=Amount(0, 1), default=0.1, show_default=True, help="Of the transition."
)
def grade(
    picture: Path,
    bundle: Path | None,
    out: Path,
    focus: tuple[int, int],
    stops: float,
    softness: float,
    as_json: bool,
) -> int:
    """Lighten what is nearer than the focus, darken what is behind it (model: depth)."""
    from toolchain.applications import depth

    check(out)
    return say(depth.grade(picture, bundle, out, focus, stops, softness), as_json)
