"""Crops around what people look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model_defs.errors import BadPicture
from model_defs.pixels import open_picture
from model_defs.procedures import crop as procedures
from toolchain.applications import networks
from toolchain.applications.networks import write


def crop(
    path: Path, bundle: Path | None, out: Path, ratio: float, tight: float | None
) -> dict[str, Any]:
    """The largest window of a ratio around what people look at, or the smallest with a share."""
    pixels = open_picture(path)
    with networks.network(bundle, "saliency") as net:
        output, where = net.of_picture(pixels)
        saliency = net.over_picture(output, where)[..., 0].clip(0)
        facts = net.facts
    if tight is None:
        whole = (pixels.shape[0], pixels.shape[1])
        window = procedures.crop(saliency, whole, ratio)
    else:
        found = procedures.tight_window(saliency, ratio, tight)
        if found is None:
            raise BadPicture(
                f"no window of that ratio holds {tight:.0%} of the saliency",
                do="lower --tight, or leave it out",
            )
        window = found
    rows = slice(window.top, window.top + window.height)
    columns = slice(window.left, window.left + window.width)
    write(out, pixels[rows, columns])
    size = f"{window.width}x{window.height}"
    return {"out": str(out), "window": f"{size}+{window.left}+{window.top}", **facts}
