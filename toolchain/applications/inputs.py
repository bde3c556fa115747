"""What a bundle is given and asked for: from files to its inputs' tensors, and which output."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model_defs.errors import BadPicture, UnknownName
from model_defs.pixels import Placement, open_picture, to_tensor
from model_defs.spec import TensorSpec
from toolchain.bundle import tensor_files
from toolchain.bundle.bundle import Bundle


def chosen_output(found: Bundle, wanted: str | None) -> TensorSpec:
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


def read_inputs(
    found: Bundle, first: Path | None, extra: tuple[str, ...]
) -> tuple[dict[str, np.ndarray], Placement]:
    """Every input's tensor, without state that no file is of, and where the first picture lies."""
    files = _files(found, first, extra)
    tensors: dict[str, np.ndarray] = {}
    placement: Placement | None = None
    for spec in found.inputs:
        path = files.get(spec.name)
        if path is None:
            continue
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
        with tensor_files.opened(first, BadPicture) as file:
            held = file.names
        files = {name: first for name in names if name in held or name not in found.state}
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
    missing = [name for name in names if name not in files and name not in found.state]
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
    if path.suffix.lower() == ".npy":
        return tensor_files.of_spec(tensor_files.array(path, BadPicture), spec, path, BadPicture)
    return tensor_files.read(path, [spec], BadPicture)[spec.name]


def _whole(found: Bundle) -> Placement:
    """Where outputs lie when no picture went in: over a plane of the output's own size."""
    height, width = next(s.shape[-2:] for s in found.outputs if len(s.shape) == 4)
    size, whole = (width, height), (0, 0, width, height)
    return Placement(size, size, whole, whole)
