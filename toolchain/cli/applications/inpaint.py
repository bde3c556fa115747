"""`mlship apply inpaint`."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.applications.options import check, say, with_model
from toolchain.cli.command import command


@command
@with_model
@click.option("--mask", type=Path, required=True, help="A picture, white in the hole.")
@click.option("--shrink", is_flag=True, help="Fill from the border inwards, in up to 4 passes.")
@click.option("--twice", is_flag=True, help="Draw details again at twice the size.")
def inpaint(
    picture: Path,
    bundle: Path | None,
    out: Path,
    mask: Path,
    shrink: bool,
    twice: bool,
    as_json: bool,
) -> int:
    """Fill what MASK covers (model: inpaint-lite, or the bundle's)."""
    from toolchain.applications import inpaint as inpaints

    check(out)
    result = inpaints.inpaint(picture, bundle, out, mask, shrink=shrink, twice=twice)
    return say(result, as_json)
