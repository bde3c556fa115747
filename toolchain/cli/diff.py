"""`mlship diff`: what changed between two bundles, or two states of a project."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.command import command, print_json
from toolchain.cli.options import check_manifests


@command
@click.argument("before", type=Path)
@click.argument("after", type=Path)
@click.option("--time", "timed", is_flag=True, help="Time two bundles side by side.")
def diff(before: Path, after: Path, timed: bool, as_json: bool) -> int:
    """Say what changed from BEFORE to AFTER: two bundles, or two baselines or report.json.

    Sizes, parity, latency, and the layers that explain it.
    """
    if before.is_dir() and after.is_dir():
        check_manifests(str(path) for path in (before, after))
    from toolchain.ci import diffing
    from toolchain.report import diff_table, terminal

    with terminal.progress() as say:
        found = diffing.between(before, after, timed=timed, say=say)
    if as_json:
        print_json([one.to_json() for one in found])
    else:
        diff_table.show(found)
    return 0
