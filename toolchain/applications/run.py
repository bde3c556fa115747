"""`mlship run`: a bundle on a picture, with the pre- and post-processing that it declares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from model_defs.errors import BadPicture
from model_defs.pixels import Placement, save_picture
from model_defs.spec import TensorSpec
from toolchain.applications.inputs import chosen_output, read_inputs
from toolchain.applications.model import Model, shown
from toolchain.bundle import bundle as bundles
from toolchain.bundle.files import writing

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def run_bundle(
    directory: Path,
    first: Path | None,
    extra: tuple[str, ...],
    wanted: str | None,
    out: Path,
    size: str | None = None,
) -> dict[str, Any]:
    """Run a bundle on files and write its output; returns what was written where.

    `first` is the picture of the first input that takes one, or a .safetensors file with
    every input. `out` is a picture, or a .safetensors file for every output. `size` is one of
    the bundle's, None its default. Raises UnknownName for a size that it has not, BadPicture for
    files that do not fit, BadBundle for a damaged bundle.
    """
    found = bundles.read(directory)
    found = found.at(size) if size else found
    chosen = None if out.suffix == ".safetensors" else chosen_output(found, wanted)
    inputs, placement = read_inputs(found, first, extra)
    with Model(found) as model:
        outputs = model.run(inputs)
    with writing(out):
        _write(out, outputs, chosen, placement)
    name = chosen.name if chosen else ", ".join(outputs)
    return {"out": str(out), "output": name, "backend": model.backend}


def _write(
    out: Path, outputs: dict[str, np.ndarray], chosen: TensorSpec | None, placement: Placement
) -> None:
    if chosen is None:
        from safetensors.numpy import save_file

        save_file(outputs, out)
        return
    if out.suffix.lower() not in PICTURES:
        raise BadPicture(
            f"'{out.suffix}' is no picture format that is written here",
            where=str(out),
            do=f"use {', '.join(PICTURES)} or .safetensors",
        )
    save_picture(out, shown(outputs, chosen, placement))
