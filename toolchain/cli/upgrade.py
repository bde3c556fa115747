"""`mlship upgrade`: files of an older mlship as today's writes them."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.command import command, print_result


@command
@click.argument("paths", nargs=-1, required=True, type=Path, metavar="PATH...")
def upgrade(paths: tuple[Path, ...], as_json: bool) -> int:
    """Rewrite older manifests, mlship.toml, locks and baselines as today's.

    PATH is a bundle's folder, a project's, or one of these files. Nothing is written unless all
    of it can be upgraded.
    """
    from toolchain.ci import upgrade as upgrades

    found = upgrades.upgrade(paths)
    text = "\n".join(map(str, found))
    return print_result([one.to_json() for one in found], text, as_json)
