"""`mlship upgrade`: files of an older mlship as today's writes them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from toolchain.cli.command import command


@command
@click.argument("paths", nargs=-1, required=True, type=Path, metavar="PATH...")
def upgrade(paths: tuple[Path, ...], as_json: bool) -> int:
    """Rewrite older manifests, mlship.toml, locks and baselines as today's.

    PATH is a bundle's folder, a project's, or one of these files. Nothing is written unless all
    of it can be upgraded.
    """
    from toolchain.ci import upgrade as upgrades

    found = upgrades.upgrade(paths)
    if as_json:
        click.echo(json.dumps([one.to_json() for one in found], indent=2))
    else:
        for one in found:
            click.echo(str(one))
    return 0
