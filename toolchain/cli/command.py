"""What every command of the command line has: --json, an exit code, and short errors."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any

import click

from model_defs.errors import MlshipError

EXIT_CODES = "Exit codes: 0 ok, 1 a check failed, 2 bad input, 3 nothing could be checked."


def command(function: Callable[..., int]) -> click.Command:
    """A decorator: the function becomes a command that is named as it is.

    It takes `as_json` and its options, and returns the exit code; what it raises as an
    MlshipError is printed without a traceback.
    """

    @click.command(name=function.__name__.removesuffix("_"), epilog=EXIT_CODES)
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


def print_error(error: MlshipError, as_json: bool) -> None:
    """On standard error, or as JSON on standard output."""
    if as_json:
        kind = type(error).__name__
        body = {"kind": kind, "what": error.what, "where": error.where, "do": error.do}
        click.echo(json.dumps({"ok": False, "error": body}, indent=2))
    else:
        click.secho("error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(str(error), err=True)
