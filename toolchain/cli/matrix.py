"""`mlship matrix`: models x recipes x targets x backends, built and proved side by side."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.command import command, print_json
from toolchain.cli.options import CLUSTER, PROJECT, TRUST_PICKLE
from toolchain.recipes import recipes, targets
from toolchain.report import plain


@command
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--all", "everything", is_flag=True, help="Every model of the zoo but baselines.")
@click.option(
    "--target", "target_names", multiple=True, metavar="ios|android|web|all", help="[default: all]"
)
@click.option(
    "--recipe",
    "recipe_names",
    multiple=True,
    help=f"May be given more than once.  [default: {recipes.DEFAULT}]",
)
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NAME",
    help="Prove each bundle on these, too; all: on every one here.",
)
@click.option("--weights", type=Path, help="A .safetensors or .pt state dict, of one MODEL.")
@TRUST_PICKLE
@PROJECT
@click.option("--out", type=Path, default=Path("dist"), show_default=True, help="The folder.")
@CLUSTER
@click.option("--report", type=Path, metavar="DIR", help="For table.csv, table.json, logs.")
@click.option("--fresh", is_flag=True, help="Build and prove anew, whatever is in the cache.")
def matrix(
    models: tuple[str, ...],
    everything: bool,
    target_names: tuple[str, ...],
    recipe_names: tuple[str, ...],
    backends: tuple[str, ...],
    weights: Path | None,
    trust_pickle: bool,
    project: Path,
    out: Path,
    cluster: str,
    report: Path | None,
    fresh: bool,
    as_json: bool,
) -> int:
    """Build MODELs in all recipes for all targets, side by side, and show one table.

    Without MODELs, those of mlship.toml. Bundles go to OUT/RECIPE/MODEL-TARGET. What was done is
    not done again, also where it was killed.
    """
    from model_defs import lookup
    from toolchain.cluster.connect import connect
    from toolchain.report import matrix_table, terminal
    from toolchain.sweep import matrix as matrices
    from toolchain.sweep.table import Table

    if everything and models:
        raise click.UsageError("either MODELs or --all")
    names = lookup.shipped() if everything else tuple(models) or _of_project(project)
    named = tuple(one for name in names for one in lookup.expand(name))
    if weights is not None and len(named) > 1:
        raise click.UsageError("--weights are of one MODEL")
    wanted_recipes = recipe_names or (recipes.DEFAULT,)
    for recipe in wanted_recipes:
        recipes.find(recipe)
    request = matrices.MatrixRequest(
        named,
        wanted_recipes,
        targets.find(target_names or ("all",)),
        _backends(backends),
        weights,
        out,
        trust_pickle,
        fresh,
    )
    logs = report / "logs" if report else None
    table = Table(report)
    with terminal.progress() as say, connect(cluster) as pool:
        if pool.address:
            plain.say(f"the cluster's page: {pool.address}", err=True)
        rows = matrices.matrix(request, pool, table, logs=logs, say=say)
    found = {"rows": [row.to_json() for row in rows]}
    table.write([row.cells() for row in rows], found)
    if as_json:
        print_json(found)
    else:
        matrix_table.show(rows)
    return matrices.exit_code(rows)


def _backends(names: tuple[str, ...]) -> tuple[str, ...] | None:
    """None where none is asked for, () for all."""
    from converters import backends

    for name in names:
        if name != "all":
            backends.find(name)
    return None if not names else () if "all" in names else names


def _of_project(project: Path) -> tuple[str, ...]:
    from toolchain.ci import config

    return tuple(model.spec for model in config.read(project).models)
