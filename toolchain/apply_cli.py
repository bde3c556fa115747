"""`mlship apply`: what the models are for, on a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from model_defs.errors import BadPicture
from toolchain.command import EXIT_CODES, command_of


@click.group(epilog=EXIT_CODES)
def apply() -> None:
    """Crop, inpaint, blur or select on a picture, with a bundle or the PyTorch model."""


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


class Point(click.ParamType):
    """A pixel of the picture, as `x,y`."""

    name = "x,y"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        try:
            x, y = (int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"'{value}' is not x,y in whole pixels", param, ctx)
        return x, y


class Ratio(click.ParamType):
    """An aspect ratio, as `width:height`."""

    name = "w:h"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        try:
            width, height = (float(part) for part in str(value).split(":"))
            if width <= 0 or height <= 0:
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
    from toolchain.running import PICTURES

    if out.suffix.lower() not in PICTURES:
        raise BadPicture(
            f"'{out.suffix}' is no picture format that is written here",
            where=str(out),
            do=f"use {', '.join(PICTURES)}",
        )


@_command
@_with_model
@click.option("--focus", type=Point(), help="Focus on this pixel.  [default: the nearest part]")
@click.option("--aperture", type=float, default=30.0, show_default=True, help="Blur, in pixels.")
@click.option("--stops", type=float, default=0.0, help="Also darken what is behind the focus.")
def bokeh(
    picture: Path,
    bundle: Path | None,
    out: Path,
    focus: tuple[int, int] | None,
    aperture: float,
    stops: float,
    as_json: bool,
) -> int:
    """Blur what is out of focus (model: depth)."""
    from toolchain import applying

    _check(out)
    return _say(applying.bokeh(picture, bundle, out, focus, aperture, stops), as_json)


@_command
@_with_model
@click.option(
    "--style", type=click.Choice(["cutout", "pop", "stencil", "double"]), default="cutout"
)
@click.option("--second", type=Path, help="The other picture of a double exposure.")
@click.option("--feather", type=float, default=3.0, show_default=True, help="Soft edge, pixels.")
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
    from toolchain import applying

    _check(out)
    return _say(applying.portrait(picture, bundle, out, style, second, feather), as_json)


@_command
@_with_model
@click.option("--ratio", type=Ratio(), required=True, help="Width to height, like 1:1 or 16:9.")
@click.option("--tight", type=float, help="The smallest window with this share of the saliency.")
def crop(
    picture: Path, bundle: Path | None, out: Path, ratio: float, tight: float | None, as_json: bool
) -> int:
    """Crop to a ratio around what people look at (model: saliency)."""
    from toolchain import applying

    _check(out)
    return _say(applying.crop(picture, bundle, out, ratio, tight), as_json)


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
    from toolchain import applying

    _check(out)
    result = applying.inpaint(picture, bundle, out, mask, shrink=shrink, twice=twice)
    return _say(result, as_json)


@_command
@_with_model
@click.option("--click", "clicks", type=Point(), multiple=True, help="A pixel of the object.")
@click.option("--not", "others", type=Point(), multiple=True, help="A pixel that is not of it.")
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
    from toolchain import applying

    _check(out)
    return _say(applying.select(picture, bundle, out, clicks, others, cut=cut), as_json)
