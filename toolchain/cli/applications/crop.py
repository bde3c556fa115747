"""`mlship apply crop`."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.applications.options import Amount, Ratio, check, say, with_model
from toolchain.cli.command import command


@command
@with_model
@click.option("--ratio", type=Ratio(), required=True, help="Width to height, like 1:1 or 16:9.")
@click.option(
    "--tight",
    type=Amount(0, 1, open_=True),
    help="The smallest window with this share of the saliency.",
)
def crop(
    picture: Path, bundle: Path | None, out: Path, ratio: float, tight: float | None, as_json: bool
) -> int:
    """Crop to a ratio around what people look at (model: saliency)."""
    from toolchain.applications import crop as crops

    check(out)
    return say(crops.crop(picture, bundle, out, ratio, tight), as_json)
