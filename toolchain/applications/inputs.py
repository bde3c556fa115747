"""What a bundle is given and asked for: from files to its inputs' tensors, and which output."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import numpy as np

from model_defs.errors import BadPicture, UnknownName
from model_defs.pixels import Placement, open_picture, to_tensor
from model_defs.spec import TensorSpec
from toolchain.bundle.bundle import Bundle

NUMBERS = "biuf"
"""Kinds of numpy's types that are real numbers."""
PLAIN = re.compile(r"BOOL|[IU](8|16|32|64)|F(16|32|64)")
"""Types of safetensors that numpy has by itself."""


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
        held = _names_in(first)
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


def _names_in(path: Path) -> set[str]:
    """The tensors of a .safetensors file; none of one that is not read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return set(file.keys())
    except (OSError, SafetensorError):
        return set()


def _read_picture(path: Path, spec: TensorSpec) -> tuple[np.ndarray, Placement]:
    if spec.preprocess is None:
        raise BadPicture(
            f"input '{spec.name}' is no picture",
            where=str(path),
            do="pass a .npy or .safetensors file",
        )
    return to_tensor(open_picture(path), spec)


def _read_tensor(path: Path, spec: TensorSpec) -> np.ndarray:
    values = _stored(path, spec.name)
    if values.shape != spec.shape:
        raise BadPicture(
            f"input '{spec.name}' has shape {values.shape}, not {spec.shape}", where=str(path)
        )
    if values.dtype.kind not in NUMBERS:
        raise BadPicture(
            f"input '{spec.name}' holds {values.dtype}, not numbers of {spec.dtype}",
            where=str(path),
        )
    wrong = int((~np.isfinite(values)).sum())
    if wrong:
        raise BadPicture(
            f"input '{spec.name}' holds {wrong} numbers that are NaN or infinite, of {values.size}",
            where=str(path),
            do="pass finite numbers: of others no model makes anything",
        )
    return values.astype(spec.dtype)


def _stored(path: Path, name: str) -> np.ndarray:
    """The array of a .npy file, or the tensor of this name of a .safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise BadPicture("no file", where=str(path), do="pass a .npy or .safetensors file")
        if path.suffix.lower() == ".npy":
            # Mapped: a header may promise more than the file, or the machine, holds.
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        with safe_open(path, "numpy") as file:
            names = set(file.keys())
            if name in names:
                return _numbers(file, name, path)
        known = ", ".join(sorted(names)) or "none"
        raise BadPicture(f"the file has no tensor '{name}'; it has {known}", where=str(path))
    except (OSError, EOFError, ValueError, SafetensorError) as error:
        raise BadPicture(f"the tensor cannot be read: {error}", where=str(path)) from error


def _numbers(file: Any, name: str, path: Path) -> np.ndarray:
    """The tensor, unless its type is one that numpy has only where others have taught it."""
    stored = file.get_slice(name).get_dtype()
    if not PLAIN.fullmatch(stored):
        raise BadPicture(
            f"input '{name}' holds {stored}",
            where=str(path),
            do="store float32, float16, float64, whole numbers or booleans",
        )
    return np.asarray(file.get_tensor(name))


def _whole(found: Bundle) -> Placement:
    """Where outputs lie when no picture went in: over a plane of the output's own size."""
    height, width = next(s.shape[-2:] for s in found.outputs if len(s.shape) == 4)
    size, whole = (width, height), (0, 0, width, height)
    return Placement(size, size, whole, whole)
