"""`mlship eval`: how good a model or a bundle is at its task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from toolchain.cli.command import command, print_json


@command
@click.argument("subjects", nargs=-1, metavar="[MODEL|BUNDLE]...")
@click.option("--all", "everything", is_flag=True, help="Every trained model of the zoo.")
@click.option("--backend", help="What runs a bundle.  [default: its format's main one]")
@click.option("--weights", type=Path, help="Of a MODEL: others than it ships with.")
@click.option("--file", type=Path, help="Of another tool: evaluated in place of a BUNDLE's own.")
@click.option("--scenes", type=click.IntRange(1), help="Fewer samples, for a quick look.")
@click.option("--only", default="", help="One metric of the table: `IoU, 1 click` asks once.")
def eval_(
    subjects: tuple[str, ...],
    everything: bool,
    backend: str | None,
    weights: Path | None,
    file: Path | None,
    scenes: int | None,
    only: str,
    as_json: bool,
) -> int:
    """Examine models on scenes and photographs that none was trained on.

    Beside each are rules that need no net (the middle of the picture, the mean colour): what is
    not better than they are has learned nothing.
    """
    from toolchain.evaluation import cards, run
    from toolchain.report import eval_table, terminal

    if everything == bool(subjects):
        raise click.UsageError("name models or bundles, or pass --all")
    results = []
    with terminal.progress() as say:
        for what in cards.trained() if everything else subjects:
            how: dict[str, Any] = {"backend": backend, "weights": weights, "file": file}
            results.append(run.evaluate(what, **how, scenes=scenes, only=only, say=say))
    if as_json:
        print_json([result.to_json() for result in results])
    else:
        for result in results:
            eval_table.show(result)
    return 0
