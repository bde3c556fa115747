"""`mlship lock`, `mlship verify`: what bundles were built of, and that it gives the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import click

from toolchain.cli.command import command_of

PROJECT = click.option(
    "--project", type=Path, default=Path(), help="The folder of mlship.toml, or a file."
)


def add_to(group: click.Group) -> None:
    """Adds the commands to a group."""
    for function in (lock, verify):
        command_of(group)(function)


@PROJECT
def lock(project: Path, as_json: bool) -> int:
    """Build a project's bundles and write mlship.lock: tools, weights, specs, recipes, hashes."""
    from toolchain.ci import config, lock
    from toolchain.report import terminal

    found = config.read(project)
    with terminal.progress() as say:
        locked = lock.write(found, say)
    if as_json:
        click.echo(json.dumps(locked.to_json(), indent=2))
    else:
        files = sum(len(one.files) for one in locked.bundles.values())
        where = found.folder / lock.NAME
        click.echo(f"wrote {where}: {len(locked.bundles)} bundles, {files} files")
    return 0


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
    if as_json:
        click.echo(json.dumps([one.to_json() for one in findings], indent=2))
    else:
        for one in bad:
            name = f"{one.bundle}: " if one.bundle else ""
            said = f"{name}{one.what} is not as locked: {one.found}, not {one.locked}"
            click.secho(said, fg="red", err=True)
        how = "built again, " if rebuild else ""
        click.echo(f"{how}{len(findings) - len(bad)} of {len(findings)} as locked")
    return 1 if bad else 0
