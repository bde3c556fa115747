"""`mlship apply bokeh`."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.applications.options import Amount, PointType, check, say, with_model
from toolchain.cli.command import command


@command
@with_model
@click.option(
    "--focus", type=PointType(), multiple=True, help="Keep this sharp.  [default: the nearest part]"
)
@click.option(
    "--aperture", type=Amount(0, 500), default=30.0, show_default=True, help="Blur, in pixels."
)
def bokeh(
    picture: Path,
    bundle: Path | None,
    out: Path,
    focus: tuple[tuple[int, int], ...],
    aperture: float,
    as_json: bool,
) -> int:
    """Blur what is out of focus (model: depth)."""
    from toolchain.applications import depth

    check(out)
    return say(depth.bokeh(picture, bundle, out, focus, aperture), as_json)
