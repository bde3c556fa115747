"""`mlship blame`: the layer and the pass at which a bundle parts from PyTorch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from model_defs.errors import worst_code
from toolchain.cli.command import command, print_json
from toolchain.cli.options import of_subjects

if TYPE_CHECKING:
    from toolchain.build.on_demand import Wanted


@command
@of_subjects()
@click.option("--backend", "chosen", multiple=True, metavar="NAME", help="Only these; all if none.")
@click.option("--cases", "folder", type=Path, help="A folder of pictures of your own.")
@click.option("--case", metavar="NAME", help="The case to run; the worst of all if none.")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="Layers shown.")
@click.option("--html", type=Path, metavar="FILE", help="Also draw error against depth.")
@click.option("--node-data", type=Path, metavar="FILE", help="Colours for Model Explorer.")
def blame(
    subjects: tuple[str, ...],
    wanted: Wanted,
    chosen: tuple[str, ...],
    folder: Path | None,
    case: str | None,
    top: int,
    html: Path | None,
    node_data: Path | None,
    as_json: bool,
) -> int:
    """Find the constant, the layer and the pass at which BUNDLE parts from PyTorch.

    Each layer is judged alone, on what the backend gave it; the table ranks layers by the error
    that they add, which for a quantised bundle is where the accuracy goes.
    """
    from toolchain.debug import blame_run
    from toolchain.report import blame_files, blame_table, terminal

    wanted = replace(wanted, folder=folder, case=case)
    with terminal.progress() as say:
        blamed, unbuilt = blame_run.run(subjects, wanted, chosen, say)
    if html is not None:
        blame_files.write_page(html, blamed)
    if node_data is not None:
        blame_files.write_node_data(node_data, blamed)
    if as_json:
        print_json([one.to_json() for one in blamed])
    else:
        blame_table.show(blamed, top)
    return worst_code([one.exit_code for one in blamed] + [b.exit_code for b in unbuilt])
