"""`mlship init`: a project of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.command import command, print_json
from toolchain.report import plain


@command
@click.argument("folder", type=Path, default=Path())
def init(folder: Path, as_json: bool) -> int:
    """Write a project into FOLDER: mlship.toml, a model, a workflow for GitHub.

    Then: mlship ci --update-baseline, once, and mlship ci from then on.
    """
    from toolchain.ci import template

    written = template.init(folder)
    if as_json:
        print_json([str(path) for path in written])
    else:
        for path in written:
            plain.say(f"wrote {path}")
        plain.say("next: mlship ci --update-baseline")
    return 0
