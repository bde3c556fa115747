"""`mlship run`: a bundle on a picture, with the pre- and post-processing that it declares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from converters import formats
from converters.api import Artifact
from model_defs.errors import BadPicture, UnknownName
from model_defs.pixels import Placement, open_picture, save_picture, to_picture, to_tensor
from model_defs.spec import TensorSpec
from toolchain.bundle import bundle as bundles
from toolchain.bundle.bundle import Bundle

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def run_bundle(
    directory: Path, first: Path | None, extra: tuple[str, ...], wanted: str | None, out: Path
) -> dict[str, Any]:
    """Run a bundle on files and write its output; returns what was written where.

    `first` is the picture of the first input that takes one, or a .safetensors file with
    every input. `out` is a picture, or a .safetensors file for every output. Raises
    BadPicture for files that do not fit, BadBundle for a damaged bundle.
    """
    found = bundles.read(directory)
    chosen = None if out.suffix == ".safetensors" else _chosen_output(found, wanted)
    inputs, placement = _inputs(found, first, extra)
    artifact = Artifact.from_json(found.manifest["artifact"], found.directory)
    runner = formats.open_runner(artifact)
    try:
        outputs = runner.run(inputs)
    finally:
        runner.close()
    with bundles.writing(out):
        _write(out, outputs, chosen, placement)
    name = chosen.name if chosen else ", ".join(outputs)
    return {"out": str(out), "output": name, "backend": runner.backend}


def _chosen_output(found: Bundle, wanted: str | None) -> TensorSpec:
    shown = [spec for spec in found.outputs if spec.postprocess is not None]
    if not shown:
        raise BadPicture(
            f"{found.name} puts out {', '.join(t.name for t in found.outputs)}, not pictures",
            do="write them all: -o features.safetensors",
        )
    if wanted is None:
        return shown[0]
    for spec in shown:
        if spec.name == wanted:
            return spec
    raise UnknownName.among("output", wanted, [spec.name for spec in shown])


def _inputs(
    found: Bundle, first: Path | None, extra: tuple[str, ...]
) -> tuple[dict[str, np.ndarray], Placement]:
    """Every input's tensor, and where the first picture lies."""
    files = _files(found, first, extra)
    tensors: dict[str, np.ndarray] = {}
    placement: Placement | None = None
    for spec in found.inputs:
        path = files[spec.name]
        if path.suffix.lower() in (".safetensors", ".npy"):
            tensors[spec.name] = _read_tensor(path, spec)
        else:
            tensors[spec.name], where = _read_picture(path, spec)
            placement = placement or where
    return tensors, placement or _whole(found)


def _files(found: Bundle, first: Path | None, extra: tuple[str, ...]) -> dict[str, Path]:
    names = [spec.name for spec in found.inputs]
    files: dict[str, Path] = {}
    if first is not None and first.suffix == ".safetensors":
        files = dict.fromkeys(names, first)
    elif first is not None:
        takers = [spec.name for spec in found.inputs if spec.preprocess is not None]
        if not takers:
            raise BadPicture(
                f"{found.name} takes {', '.join(names)}, not pictures",
                do="pass a .safetensors file with these tensors, e.g. what its trunk wrote",
            )
        files[takers[0]] = first
    for entry in extra:
        name, _, path = entry.partition("=")
        if name not in names:
            raise UnknownName.among("input", name, names)
        files[name] = Path(path)
    missing = [name for name in names if name not in files]
    if missing:
        raise BadPicture(
            f"{found.name} also needs {', '.join(missing)}",
            do=" ".join(f"--input {name}=FILE" for name in missing),
        )
    return files


def _read_picture(path: Path, spec: TensorSpec) -> tuple[np.ndarray, Placement]:
    if spec.preprocess is None:
        raise BadPicture(
            f"input '{spec.name}' is no picture",
            where=str(path),
            do="pass a .npy or .safetensors file",
        )
    return to_tensor(open_picture(path), spec)


def _read_tensor(path: Path, spec: TensorSpec) -> np.ndarray:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            tensors = load_file(path)
            if spec.name not in tensors:
                raise BadPicture(
                    f"the file has no tensor '{spec.name}'; it has {', '.join(tensors) or 'none'}",
                    where=str(path),
                )
            values = tensors[spec.name]
    except (OSError, ValueError, SafetensorError) as error:
        raise BadPicture(f"the tensor cannot be read: {error}", where=str(path)) from error
    if values.shape != spec.shape:
        raise BadPicture(
            f"input '{spec.name}' has shape {values.shape}, not {spec.shape}", where=str(path)
        )
    return values.astype(np.float32)


def _whole(found: Bundle) -> Placement:
    """Where outputs lie when no picture went in: over a plane of the output's own size."""
    height, width = next(s.shape[-2:] for s in found.outputs if len(s.shape) == 4)
    size, whole = (width, height), (0, 0, width, height)
    return Placement(size, size, whole, whole)


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
    assert chosen.postprocess is not None
    save_picture(out, to_picture(outputs[chosen.name], chosen.postprocess, placement))
