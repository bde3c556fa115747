"""`mlship apply`: what the models are for, on a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from model_defs.errors import BadPicture
from toolchain.cli.command import EXIT_CODES, command_of


@click.group(epilog=EXIT_CODES)
def apply() -> None:
    """What the models are for, on a picture, with a bundle or the PyTorch model."""


INFINITE = float("inf")
_command = command_of(apply)


def _with_model(function: Callable[..., int]) -> Callable[..., int]:
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


def _say(result: dict[str, Any], as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        facts = ", ".join(f"{key} {value}" for key, value in result.items() if key != "out")
        click.echo(f"{result['out']}: {facts}")
    return 0


def _check(out: Path) -> None:
    from toolchain.applications.run import PICTURES

    if out.suffix.lower() not in PICTURES:
        raise BadPicture(
            f"'{out.suffix}' is no picture format that is written here",
            where=str(out),
            do=f"use {', '.join(PICTURES)}",
        )


@_command
@_with_model
@click.option(
    "--focus", type=PointType(), multiple=True, help="Keep this sharp.  [default: the nearest part]"
)
@click.option(
    "--aperture", type=Amount(0, 500), default=30.0, show_default=True, help="Blur, in pixels."
)
def bokeh(
    picture: Path,
    bundle: Path | None,
    out: Path,
    focus: tuple[tuple[int, int], ...],
    aperture: float,
    as_json: bool,
) -> int:
    """Blur what is out of focus (model: depth)."""
    from toolchain.applications import depth

    _check(out)
    return _say(depth.bokeh(picture, bundle, out, focus, aperture), as_json)


@_command
@_with_model
@click.option("--focus", type=PointType(), required=True, help="What keeps its light.")
@click.option(
    "--stops", type=Amount(-8, 8), default=1.0, show_default=True, help="How much, in stops."
)
@click.option(
    "--softness", type=Amount(0, 1), default=0.1, show_default=True, help="Of the transition."
)
def grade(
    picture: Path,
    bundle: Path | None,
    out: Path,
    focus: tuple[int, int],
    stops: float,
    softness: float,
    as_json: bool,
) -> int:
    """Lighten what is nearer than the focus, darken what is behind it (model: depth)."""
    from toolchain.applications import depth

    _check(out)
    return _say(depth.grade(picture, bundle, out, focus, stops, softness), as_json)


@_command
@_with_model
@click.option("--sticker", type=Path, required=True, help="What to put in: best a PNG cutout.")
@click.option("--at", "centre", type=PointType(), required=True, help="Where its centre goes.")
@click.option("--depth", type=Amount(0, 1), help="1 is near.  [default: on what is at its centre]")
def sticker(
    picture: Path,
    bundle: Path | None,
    out: Path,
    sticker: Path,
    centre: tuple[int, int],
    depth: float | None,
    as_json: bool,
) -> int:
    """Put a sticker behind what is nearer than it (model: depth)."""
    from toolchain.applications import depth as scenes

    _check(out)
    return _say(scenes.sticker(picture, bundle, out, sticker, centre, depth), as_json)


@_command
@_with_model
@click.option(
    "--style", type=click.Choice(["cutout", "pop", "stencil", "double"]), default="cutout"
)
@click.option("--second", type=Path, help="The other picture of a double exposure.")
@click.option(
    "--feather",
    type=Amount(0, 500, open_=True),
    default=3.0,
    show_default=True,
    help="Soft edge, pixels.",
)
def portrait(
    picture: Path,
    bundle: Path | None,
    out: Path,
    style: str,
    second: Path | None,
    feather: float,
    as_json: bool,
) -> int:
    """Set a person apart from the background (model: portrait)."""
    from toolchain.applications import portrait as portraits

    _check(out)
    return _say(portraits.portrait(picture, bundle, out, style, second, feather), as_json)


@_command
@_with_model
@click.option("--ratio", type=Ratio(), required=True, help="Width to height, like 1:1 or 16:9.")
@click.option(
    "--tight",
    type=Amount(0, 1, open_=True),
    help="The smallest window with this share of the saliency.",
)
def crop(
    picture: Path, bundle: Path | None, out: Path, ratio: float, tight: float | None, as_json: bool
) -> int:
    """Crop to a ratio around what people look at (model: saliency)."""
    from toolchain.applications import crop as crops

    _check(out)
    return _say(crops.crop(picture, bundle, out, ratio, tight), as_json)


@_command
@_with_model
@click.option("--mask", type=Path, required=True, help="A picture, white in the hole.")
@click.option("--shrink", is_flag=True, help="Fill from the border inwards, in up to 4 passes.")
@click.option("--twice", is_flag=True, help="Draw details again at twice the size.")
def inpaint(
    picture: Path,
    bundle: Path | None,
    out: Path,
    mask: Path,
    shrink: bool,
    twice: bool,
    as_json: bool,
) -> int:
    """Fill what MASK covers (model: inpaint-lite, or the bundle's)."""
    from toolchain.applications import inpaint as inpaints

    _check(out)
    result = inpaints.inpaint(picture, bundle, out, mask, shrink=shrink, twice=twice)
    return _say(result, as_json)


@_command
@_with_model
@click.option("--click", "clicks", type=PointType(), multiple=True, help="A pixel of the object.")
@click.option("--not", "others", type=PointType(), multiple=True, help="A pixel that is not of it.")
@click.option("--cut", is_flag=True, help="Refine the mask by graph cut.")
def select(
    picture: Path,
    bundle: Path | None,
    out: Path,
    clicks: tuple[tuple[int, int], ...],
    others: tuple[tuple[int, int], ...],
    cut: bool,
    as_json: bool,
) -> int:
    """Select the object under the clicks (model: select)."""
    from toolchain.applications import select as selects

    _check(out)
    return _say(selects.select(picture, bundle, out, clicks, others, cut=cut), as_json)
