"""`mlship init`: a project of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import click

from toolchain.cli.command import command


@command
@click.argument("folder", type=Path, default=Path())
def init(folder: Path, as_json: bool) -> int:
    """Write a project into FOLDER: mlship.toml, a model, a workflow for GitHub.

    Then: mlship ci --update-baseline, once, and mlship ci from then on.
    """
    from toolchain.ci import template

    written = template.init(folder)
    if as_json:
        click.echo(json.dumps([str(path) for path in written], indent=2))
    else:
        for path in written:
            click.echo(f"wrote {path}")
        click.echo("next: mlship ci --update-baseline")
    return 0
