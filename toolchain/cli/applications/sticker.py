"""`mlship apply sticker`."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.applications.options import Amount, PointType, check, say, with_model
from toolchain.cli.command import command


@command
@with_model
@click.option("--sticker", type=Path, required=True, help="What to put in: best a PNG cutout.")
@click.option("--at", "centre", type=PointType(), required=True, help="Where its centre goes.")
@click.option("--depth", type=Amount(0, 1), help="1 is near.  [default: on what is at its centre]")
def sticker(
    picture: Path,
    bundle: Path | None,
    out: Path,
    sticker: Path,
    centre: tuple[int, int],
    depth: float | None,
    as_json: bool,
) -> int:
    """Put a sticker behind what is nearer than it (model: depth)."""
    from toolchain.applications import depth as scenes

    check(out)
    return say(scenes.sticker(picture, bundle, out, sticker, centre, depth), as_json)
