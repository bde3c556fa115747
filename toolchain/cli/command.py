"""What every command of the command line has: --json, an exit code, and short errors."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from model_defs.errors import MlshipError
from toolchain.recipes import recipes, targets

EXIT_CODES = "Exit codes: 0 ok, 1 a check failed, 2 bad input, 3 nothing could be checked."


def command_of(group: click.Group) -> Callable[[Callable[..., int]], click.Command]:
    """A decorator: the function becomes a command of the group, named as it is.

    It takes `as_json` and its options, and returns the exit code; what it raises as an
    MlshipError is printed without a traceback.
    """

    def command(function: Callable[..., int]) -> click.Command:
        @group.command(name=function.__name__.removesuffix("_"), epilog=EXIT_CODES)
        @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
        @functools.wraps(function)
        def run(as_json: bool, **options: Any) -> None:
            try:
                code = function(as_json=as_json, **options)
            except MlshipError as error:
                print_error(error, as_json)
                code = error.exit_code
            except KeyboardInterrupt:
                click.echo("stopped: nothing half-written was left", err=True)
                code = 130
            sys.exit(code)

        return run

    return command


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
            **options: Any,
        ) -> int:
            from toolchain.build.on_demand import Wanted

            places = targets.find(target_names or ("all",))
            wanted = Wanted(places, recipes.find(recipe), model=model, weights=weights)
            return function(wanted=wanted, **options)

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
        "model": click.option(
            "--model", help="The bundles' model, where the zoo does not have it."
        ),
    }


def print_error(error: MlshipError, as_json: bool) -> None:
    """On standard error, or as JSON on standard output."""
    if as_json:
        kind = type(error).__name__
        body = {"kind": kind, "what": error.what, "where": error.where, "do": error.do}
        click.echo(json.dumps({"ok": False, "error": body}, indent=2))
    else:
        click.secho("error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(str(error), err=True)
