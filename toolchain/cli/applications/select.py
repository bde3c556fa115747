"""`mlship apply select`."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.applications.options import PointType, check, say, with_model
from toolchain.cli.command import command


@command
@with_model
@click.option("--click", "clicks", type=PointType(), multiple=True, help="A pixel of the object.")
@click.option("--not", "others", type=PointType(), multiple=True, help="A pixel that is not of it.")
@click.option("--cut", is_flag=True, help="Refine the mask by graph cut.")
def select(
    picture: Path,
    bundle: Path | None,
    out: Path,
    clicks: tuple[tuple[int, int], ...],
    others: tuple[tuple[int, int], ...],
    cut: bool,
    as_json: bool,
) -> int:
    """Select the object under the clicks (model: select)."""
    from toolchain.applications import select as selects

    check(out)
    return say(selects.select(picture, bundle, out, clicks, others, cut=cut), as_json)
