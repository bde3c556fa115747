"""The options that several commands have."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from toolchain.recipes import recipes, targets

EXAMPLE = click.option(
    "--example",
    "examples",
    multiple=True,
    metavar="SHAPE",
    help="What MODEL takes, as 1,3,224,224 or tokens=1,16:int64:0..29999; once for each input, "
    "those without a name first.",
)
PROJECT = click.option(
    "--project", type=Path, default=Path(), help="The folder of mlship.toml, or a file."
)
REPORTS = "mlship-report"
REPORT = click.option(
    "--report", type=Path, help=f"The folder of the reports.  [default: {REPORTS}]"
)


CLUSTER = click.option(
    "--cluster",
    default="serial",
    show_default=True,
    metavar="NAME",
    help="Who does the work: local, local:4, tcp://host:8786, ssh:host,host, slurm:20 ...",
)
SIZES = click.option(
    "--size",
    "sizes",
    multiple=True,
    metavar="HxW",
    help="A further size of the first picture, as 512x384 (height x width); may be repeated.",
)
TRUST_PICKLE = click.option(
    "--trust-pickle",
    is_flag=True,
    help="Unpickle files, which runs what is in them: only of whom you trust.",
)


def of_subjects(
    *without: str, recipe: str = recipes.DEFAULT
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """A decorator: the function looks at `subjects`, and is told what of them is `wanted`.

    `without` are parameters that the command does not have, `recipe` is the default.
    """

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(function)
        def called(
            *,
            recipe: str,
            target_names: tuple[str, ...] = (),
            weights: Path | None = None,
            model: str | None = None,
            trust_pickle: bool = False,
            examples: tuple[str, ...] = (),
            subjects: tuple[str, ...],
            **options: Any,
        ) -> int:
            from model_defs.lookup import said_of
            from toolchain.build.on_demand import Wanted

            places = targets.find(target_names or ("all",))
            named = tuple(said_of(name, examples, trust_pickle) for name in subjects)
            check_manifests(named)
            model = model and said_of(model, examples, trust_pickle)
            wanted = Wanted(
                places,
                recipes.find(recipe),
                model=model,
                weights=weights,
                trust_pickle=trust_pickle,
            )
            return function(subjects=named, wanted=wanted, **options)

        options = _of_subjects(recipe)
        for name in reversed([name for name in options if name not in without]):
            called = options[name](called)
        return called

    return decorate


def _of_subjects(recipe: str) -> dict[str, Callable[[Any], Any]]:
    """By parameter, in the order of the help."""
    return {
        "subjects": click.argument("subjects", nargs=-1, required=True, metavar="MODEL|BUNDLE..."),
        "target_names": click.option(
            "--target", "target_names", multiple=True, metavar="ios|android|web|all"
        ),
        "recipe": click.option(
            "--recipe", default=recipe, show_default=True, help="Of what is built."
        ),
        "weights": click.option("--weights", type=Path, help="Of MODEL, or of the bundles' model."),
        "trust_pickle": TRUST_PICKLE,
        "examples": EXAMPLE,
        "model": click.option(
            "--model", help="The bundles' model, where the zoo does not have it."
        ),
    }


def check_manifests(names: Iterable[str]) -> None:
    """BadBundle for a bundle whose manifest is refused, before anything heavy is imported."""
    from toolchain.build.on_demand import is_bundle
    from toolchain.bundle.bundle import read_manifest

    for name in names:
        if is_bundle(name):
            read_manifest(Path(name))
