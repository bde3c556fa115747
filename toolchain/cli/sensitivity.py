"""`mlship sensitivity`: what each layer costs."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.command import command, print_json
from toolchain.cli.options import CLUSTER
from toolchain.recipes import recipes, targets


@command
@click.argument("model")
@click.option("--recipe", default="small", show_default=True, help="What is done to each layer.")
@click.option("--target", "target_name", default="ios", show_default=True, help="Of the recipe.")
@click.option("--weights", type=Path, help="A .safetensors or .pt state dict.")
@click.option("--metric", is_flag=True, help="Also evaluate the model with each layer rounded.")
@click.option("--scenes", type=click.IntRange(2), default=12, show_default=True, help="Evaluated.")
@CLUSTER
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, help="Layers shown.")
def sensitivity(
    model: str,
    recipe: str,
    target_name: str,
    weights: Path | None,
    metric: bool,
    scenes: int,
    cluster: str,
    top: int,
    as_json: bool,
) -> int:
    """Rank the layers of MODEL by what its outputs lose where a recipe rounds one layer alone.

    The error is the largest over the cases that a build is proved on, in tolerances of the output.
    """
    from toolchain.cluster.connect import SERIAL, connect
    from toolchain.report import sensitivity_table, terminal
    from toolchain.search import spread
    from toolchain.search.sensitivity import measure_model

    (target,) = targets.find((target_name,))
    chosen = recipes.find(recipe).on(target.name)
    count = scenes if metric else 0
    with terminal.progress() as say, connect(cluster) as pool:
        if cluster == SERIAL:
            found = measure_model(model, chosen, weights, count, say)
        else:
            found = spread.sensitivity(pool, model, recipe, target.name, weights, count, say)
    if as_json:
        print_json([one.to_json() for one in found])
    else:
        sensitivity_table.show(model, chosen, found[:top])
    return 0
