"""Pictures without what a mask covers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from model_defs.errors import BadPicture
from model_defs.pixels import open_picture
from model_defs.procedures import inpainting
from model_defs.procedures.arrays import Mask, Pixels
from toolchain.applications import networks
from toolchain.applications.networks import Network, write

MODELS = ("inpaint-lite", "inpaint", "inpaint-reflect", "inpaint-pconv")


def inpaint(
    path: Path, bundle: Path | None, out: Path, mask_path: Path, *, shrink: bool, twice: bool
) -> dict[str, Any]:
    """The picture without what the mask (white) covers; every other pixel as it was."""
    picture = open_picture(path)
    mask = open_picture(mask_path)[..., 0] > 127
    if not mask.any():
        raise BadPicture("the mask is empty", where=str(mask_path), do="paint the hole white")
    with networks.network(bundle, *MODELS) as net:
        size = net.inputs[0].shape[2], net.inputs[0].shape[3]
        filled = inpainting.inpaint(
            _drawer(net),
            picture,
            mask,
            size=size,
            shrink=shrink,
            twice=twice,
            fixed=net.runner.backend != "pytorch",
        )
        facts = net.facts
    write(out, filled)
    return {"out": str(out), "filled": f"{mask.mean():.1%} of the picture", **facts}


def _drawer(net: Network) -> inpainting.Network:
    """The network on 8-bit pictures and masks, as the procedures call it."""

    def draw(picture: Pixels, mask: Mask) -> Pixels:
        image, hole = net.inputs
        rule = image.preprocess
        assert rule is not None
        mean, std = np.float32(rule.mean[0]), np.float32(rule.std[0])
        tensor = ((picture.astype(np.float32) - mean) / std).transpose(2, 0, 1)[None]
        covered = mask.astype(np.float32)[None, None]
        result = net.run({image.name: np.ascontiguousarray(tensor), hole.name: covered})
        pixels = result[0].transpose(1, 2, 0) * std + mean
        return np.rint(pixels.clip(0, 255)).astype(np.uint8)

    return draw
