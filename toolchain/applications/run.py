"""`mlship run`: a bundle on a picture, with the pre- and post-processing that it declares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from model_defs.errors import BadArtifact, BadPicture
from model_defs.pixels import Placement, save_picture
from model_defs.spec import TensorSpec
from toolchain.applications.inputs import chosen_output, read_inputs
from toolchain.applications.model import Model, shown
from toolchain.bundle import bundle as bundles
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.files import whole, write_whole
from toolchain.bundle.tensor_files import count_not_finite
from toolchain.data.cases import pictures_in

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
    the bundle's, None its default. A folder of pictures is run in order of their names, and `out`
    is then a folder. Raises UnknownName for a size that it has not, BadPicture for files that do
    not fit, BadBundle for a damaged bundle, BadArtifact where the picture would be of NaN.
    """
    found = bundles.read(directory)
    found = found.at(size) if size else found
    if first is not None and first.is_dir():
        return _run_folder(found, first, extra, wanted, out)
    chosen = None if out.suffix == ".safetensors" else chosen_output(found, wanted)
    if chosen is not None:
        _check_format(out)
    inputs, placement = read_inputs(found, first, extra)
    with Model(found) as model:
        outputs = model.run(inputs)
    _write(out, outputs, chosen, placement)
    name = chosen.name if chosen else ", ".join(outputs)
    return {"out": str(out), "output": name, "backend": model.backend}


def _run_folder(
    found: Bundle, folder: Path, extra: tuple[str, ...], wanted: str | None, out: Path
) -> dict[str, Any]:
    """Each picture of a folder in its turn: of a model with state, the frames of a video."""
    if out.suffix:
        raise BadPicture("a folder of pictures becomes a folder", where=str(out), do="-o frames/")
    chosen = chosen_output(found, wanted)
    frames = pictures_in(folder)
    with Model(found) as model:
        for frame in frames:
            inputs, placement = read_inputs(found, frame, extra)
            if frame is not frames[0]:  # a state of the user's own is what the first begins with
                inputs = {name: x for name, x in inputs.items() if name not in found.state}
            outputs = model.run(inputs)
            _write(out / f"{frame.stem}.png", outputs, chosen, placement)
    shown = {"out": str(out), "output": chosen.name, "backend": model.backend}
    return {**shown, "pictures": len(frames)}


def _check_format(out: Path) -> None:
    if out.suffix.lower() not in PICTURES:
        raise BadPicture(
            f"'{out.suffix}' is no picture format that is written here",
            where=str(out),
            do=f"use {', '.join(PICTURES)} or .safetensors",
        )


def _write(
    out: Path, outputs: dict[str, np.ndarray], chosen: TensorSpec | None, placement: Placement
) -> None:
    if chosen is None:
        from safetensors.numpy import save

        write_whole(out, save(outputs))
        return
    wrong = count_not_finite(outputs[chosen.name])
    if wrong:
        raise BadArtifact(
            f"output '{chosen.name}' holds {wrong} numbers that are NaN or infinite",
            do="mlship blame BUNDLE names the layer that makes them",
        )
    with whole(out) as fresh:
        save_picture(fresh, shown(outputs, chosen, placement))
