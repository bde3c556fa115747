"""`mlship inspect`: what is in a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.command import command, print_json
from toolchain.report import plain


@command
@click.argument("bundle", type=Path)
@click.option("--why", is_flag=True, help="Also what each pass did, and which layer has the bytes.")
def inspect(bundle: Path, why: bool, as_json: bool) -> int:
    """Verify BUNDLE's checksums and golden vectors; show what is in it, and how XNNPACK runs it.

    The file is run, and held to what it was built to compute: no model is needed for that.
    """
    from toolchain.bundle.bundle import read
    from toolchain.debug import inspection
    from toolchain.report import inspect_table, terminal

    found = read(bundle)
    with terminal.progress() as say:
        report = inspection.judged(found, say)
    if as_json:
        print_json(inspection.facts(found, report))
    else:
        inspect_table.show(found, report, why=why)
    foreign = inspection.foreign_code(found)
    for name in foreign:
        said = f"{name} is not what this mlship puts into a bundle: build it again"
        plain.say(said, fg="red", err=True)
    if report.failures or foreign:
        return 1
    return 0 if any(row.verdict == "passed" for row in report.rows) else 3
