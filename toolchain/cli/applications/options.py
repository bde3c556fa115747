"""What every application on the command line has: its options, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from model_defs.errors import BadPicture
from toolchain.cli.command import print_result

INFINITE = float("inf")


def with_model(function: Callable[..., int]) -> Callable[..., int]:
    """The arguments that every application has."""
    for option in (
        click.option("-o", "--out", type=Path, required=True, help="The picture to write."),
        click.option(
            "--bundle", type=Path, help="A built bundle, of any platform.  [default: PyTorch]"
        ),
        click.argument("picture", type=Path),
    ):
        function = option(function)
    return function


class PointType(click.ParamType):
    """A pixel of the picture, as `x,y`."""

    name = "x,y"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        try:
            x, y = (int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"'{value}' is not x,y in whole pixels", param, ctx)
        return x, y


class Amount(click.ParamType):
    """A finite number from `low` to `high`; above `low` where that is `open`."""

    name = "number"

    def __init__(self, low: float, high: float, *, open_: bool = False) -> None:
        self.low, self.high, self.open = low, high, open_

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        try:
            number = float(value)
            if not self.low <= number <= self.high or (self.open and number == self.low):
                raise ValueError
        except ValueError:
            above = "above" if self.open else "from"
            self.fail(
                f"'{value}' is not a number {above} {self.low:g} to {self.high:g}", param, ctx
            )
        return number


class Ratio(click.ParamType):
    """An aspect ratio, as `width:height`."""

    name = "w:h"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        try:
            width, height = (float(part) for part in str(value).split(":"))
            if not (0 < width < INFINITE and 0 < height < INFINITE):
                raise ValueError
        except ValueError:
            self.fail(f"'{value}' is not a ratio like 16:9", param, ctx)
        return width / height


def say(result: dict[str, Any], as_json: bool) -> int:
    """Print what an application wrote, and where."""
    facts = ", ".join(f"{key} {value}" for key, value in result.items() if key != "out")
    return print_result(result, f"{result['out']}: {facts}", as_json)


def check(out: Path) -> None:
    """BadPicture unless pictures of this suffix are written here; before anything is computed."""
    from toolchain.applications.run import PICTURES

    if out.suffix.lower() not in PICTURES:
        raise BadPicture(
            f"'{out.suffix}' is no picture format that is written here",
            where=str(out),
            do=f"use {', '.join(PICTURES)}",
        )
