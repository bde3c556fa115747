"""`mlship approve`: the pictures of now are the golden ones."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.command import command, print_json
from toolchain.cli.options import PROJECT, REPORT, REPORTS
from toolchain.report import plain


@command
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@PROJECT
@REPORT
def approve(models: tuple[str, ...], project: Path, report: Path | None, as_json: bool) -> int:
    """Make the pictures that the last `mlship ci` saw the golden ones: of MODELs, or all.

    Look at them first: its report.html shows before, after and difference.
    """
    from toolchain.ci import config, snapshots

    found = config.read(project)
    accepted = snapshots.approve(found, report or found.folder / REPORTS, models)
    if as_json:
        print_json([{"picture": f, "was": s} for f, s in accepted])
    else:
        for file, state in accepted:
            plain.say(f"{'removed' if state == 'gone' else 'approved'} {file} ({state})")
        if not accepted:
            plain.say("nothing to approve: every picture is as its golden one")
    return 0
