"""`mlship size`: where the bytes of bundles are."""

from __future__ import annotations

import json
from pathlib import Path

import click

from toolchain import recipes, targets
from toolchain.command import command_of


def add_to(group: click.Group) -> None:
    """Adds the command to a group."""
    command_of(group)(size)


@click.argument("subjects", nargs=-1, required=True, metavar="MODEL|BUNDLE...")
@click.option("--target", "target_names", multiple=True, metavar="ios|android|web|all")
@click.option("--recipe", default=recipes.DEFAULT, show_default=True, help="Of what is built.")
@click.option("--weights", type=Path, help="Of a MODEL: a .safetensors or .pt state dict.")
@click.option("--html", type=Path, help="Also write a treemap of the bytes as a page.")
def size(
    subjects: tuple[str, ...],
    target_names: tuple[str, ...],
    recipe: str,
    weights: Path | None,
    html: Path | None,
    as_json: bool,
) -> int:
    """Weigh bundles: on disk, on the wire as their platform ships them, layer by layer.

    A MODEL is built first, for all targets or those given.
    """
    from toolchain import terminal, weighing
    from toolchain.bundle import write_whole

    places, found = targets.find(target_names or ("all",)), recipes.find(recipe)
    with terminal.progress() as say:
        rows = list(weighing.weigh_all(subjects, places, found, weights, say))
    if html is not None:
        write_whole(html, weighing.page(rows))
    if as_json:
        click.echo(json.dumps([weighing.to_json(*row) for row in rows], indent=2))
    else:
        weighing.show(rows)
    return 0
