"""`mlship lock`: what a project's bundles were built of."""

from __future__ import annotations

import json
from pathlib import Path

import click

from toolchain.cli.command import command
from toolchain.cli.options import PROJECT


@command
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
