"""What every command of the command line has: --json, an exit code, and short errors."""

from __future__ import annotations

import errno
import functools
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from model_defs.errors import REPORT_IT, BadPath, InternalError, MlshipError, said
from toolchain.report import plain

LONG = 120
"""Characters of a path that an error shows."""
EXIT_CODES = (
    "Exit codes: 0 ok, 1 a check failed, 2 bad input, 3 nothing could be checked, "
    "4 a tool or mlship itself failed."
)


def command(function: Callable[..., int]) -> click.Command:
    """A decorator: the function becomes a command that is named as it is.

    It takes `as_json` and its options, and returns the exit code; what it raises as an
    MlshipError is printed without a traceback. Anything else that it raises is our defect, or
    a tool's: exit code 4, and the traceback, to be reported.
    """

    name = function.__name__.removesuffix("_")

    @click.command(name=name, epilog=EXIT_CODES)
    @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
    @functools.wraps(function)
    def run(as_json: bool, **options: Any) -> None:
        plain.show_warnings()
        try:
            code = function(as_json=as_json, **options)
        except MlshipError as error:
            print_error(error, as_json)
            code = error.exit_code
        except KeyboardInterrupt:
            plain.say("stopped: nothing half-written was left", err=True)
            code = 130
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click's own ways to end
        except Exception as error:
            refused = _of_path(error)
            if refused is None:
                code = print_defect(error, as_json, f"mlship {name}")
            else:
                print_error(refused, as_json)
                code = refused.exit_code
        sys.exit(code)

    return run


def _of_path(error: Exception) -> MlshipError | None:
    """What is wrong with a path that no system call takes; None where that is not the fault."""
    if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        path = str(error.filename)
        where = path if len(path) <= LONG else f"{path[: LONG // 2]} ... {path[-LONG // 2 :]}"
        return BadPath(f"no such path: {error.strerror}", where=where, do="pass another path")
    if isinstance(error, ValueError) and "null byte" in str(error):
        return BadPath("no such path: it holds a null character", do="pass another path")
    return None


def print_json(data: Any) -> None:
    """On standard output, to be read by programs and by people."""
    click.echo(json.dumps(data, indent=2))


def print_result(data: Any, text: str, as_json: bool) -> int:
    """The data, or the sentence that says the same; returns the exit code of what went well."""
    if as_json:
        print_json(data)
    else:
        plain.say(text)
    return 0


def print_defect(error: Exception, as_json: bool, step: str) -> int:
    """What an error that nobody foresaw is, and how to report it; returns its exit code."""
    _print_traceback(error)
    defect = InternalError(f"{step} failed: {said(error)}", do=REPORT_IT)
    print_error(defect, as_json)
    return defect.exit_code


def _print_traceback(error: BaseException) -> None:
    plain.say("".join(traceback.format_exception(error)), err=True, nl=False)


def print_error(error: MlshipError, as_json: bool) -> None:
    """On standard error, or as JSON on standard output; a defect with its traceback."""
    if isinstance(error, InternalError) and error.__cause__ is not None:
        _print_traceback(error.__cause__)
    if as_json:
        kind = type(error).__name__
        body = {"kind": kind, "what": error.what, "where": error.where, "do": error.do}
        print_json({"ok": False, "error": body})
    else:
        plain.say("error: ", fg="red", bold=True, nl=False, err=True)
        plain.say(str(error), err=True)
