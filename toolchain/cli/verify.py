"""`mlship verify`: that what was locked gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.command import command, print_json
from toolchain.cli.options import PROJECT
from toolchain.report import plain


@command
@PROJECT
@click.option("--rebuild", is_flag=True, help="Build all from nothing, and compare the bytes.")
def verify(project: Path, rebuild: bool, as_json: bool) -> int:
    """Compare a project's bundles and tools with mlship.lock."""
    from toolchain.ci import config, lock
    from toolchain.report import terminal

    found = config.read(project)
    with terminal.progress() as say:
        findings = lock.verify(found, rebuild=rebuild, say=say)
    bad = [one for one in findings if one.verdict == "failed"]
    skipped = [one for one in findings if one.verdict == "skipped"]
    if as_json:
        print_json([one.to_json() for one in findings])
    else:
        for one in bad:
            name = f"{one.bundle}: " if one.bundle else ""
            said = f"{name}{one.what} is not as locked: {one.found}, not {one.locked}"
            plain.say(said, fg="red", err=True)
        for one in skipped:
            said = f"{one.bundle}: {one.what} is not compared: {one.note}"
            plain.say(said, fg="yellow", err=True)
        how = "built again, " if rebuild else ""
        more = f", {len(skipped)} not compared" if skipped else ""
        good = len(findings) - len(bad) - len(skipped)
        plain.say(f"{how}{good} of {len(findings)} as locked{more}")
    return 1 if bad else 0
