"""`mlship apply portrait`."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.applications.options import Amount, check, say, with_model
from toolchain.cli.command import command


@command
@with_model
@click.option(
    "--style", type=click.Choice(["cutout", "pop", "stencil", "double"]), default="cutout"
)
@click.option("--second", type=Path, help="The other picture of a double exposure.")
@click.option(
    "--feather",
    type=Amount(0, 500, open_=True),
    default=3.0,
    show_default=True,
    help="Soft edge, pixels.",
)
def portrait(
    picture: Path,
    bundle: Path | None,
    out: Path,
    style: str,
    second: Path | None,
    feather: float,
    as_json: bool,
) -> int:
    """Set a person apart from the background (model: portrait)."""
    from toolchain.applications import portrait as portraits

    check(out)
    return say(portraits.portrait(picture, bundle, out, style, second, feather), as_json)
