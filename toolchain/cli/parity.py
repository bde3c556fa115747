"""`mlship parity`: bundles beside PyTorch, on every backend here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolchain.cli.command import command, print_json
from toolchain.cli.options import of_subjects

if TYPE_CHECKING:
    from toolchain.build.on_demand import Wanted


@command
@of_subjects()
@click.option("--backend", "chosen", multiple=True, metavar="NAME", help="Only these; all if none.")
@click.option("--require", "required", multiple=True, metavar="NAME", help="Must run and pass.")
@click.option("--cases", "folder", type=Path, help="A folder of pictures of your own.")
@click.option("--all-cases", is_flag=True, help="All, however long they take.")
@click.option("--record", type=Path, help="Keep the results, to be compared elsewhere.")
@click.option("--against", type=Path, help="Compare results that were recorded elsewhere.")
@click.option("--report", type=Path, help="A folder for report.html, report.json, junit.xml.")
def parity(
    subjects: tuple[str, ...],
    wanted: Wanted,
    chosen: tuple[str, ...],
    required: tuple[str, ...],
    folder: Path | None,
    all_cases: bool,
    record: Path | None,
    against: Path | None,
    report: Path | None,
    as_json: bool,
) -> int:
    """Compare bundles with PyTorch on every backend that can run here.

    A MODEL is built first, for all targets or those given. Without --require, each format's
    main backend must pass (mil, litert, tfjs-wasm), or those given with --backend.
    """
    from toolchain.build import judge
    from toolchain.parity.harness import BackendChoice
    from toolchain.report import parity_files, parity_table, terminal

    choice = BackendChoice(chosen, required, all_cases, keep=record is not None)
    wanted = replace(wanted, folder=folder)
    with terminal.progress() as say:
        ran = judge.run(subjects, wanted, choice, record=record, against=against, say=say)
    if report is not None:
        parity_files.write(report, ran.outcomes)
    if as_json:
        print_json([outcome.to_json() for outcome in ran.outcomes])
    else:
        parity_table.show(ran)
    return ran.exit_code
