"""How tensors are read out of .safetensors and .npy files that came from outside."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.malformed import MALFORMED
from model_defs.errors import MlshipError
from model_defs.files import check_file

if TYPE_CHECKING:
    from model_defs.spec import TensorSpec

PLAIN = re.compile(r"BOOL|[IU](8|16|32|64)|F(16|32|64)")
"""Types of safetensors that numpy has by itself: bfloat16 and float8 only others teach it."""
TENSORS, TAKEN = "file of tensors", "pass a .npy or .safetensors file"
NUMBERS = "biuf"
"""Kinds of numpy's types that are real numbers."""


class TensorFile:
    """A .safetensors file that is open: its tensors by name, and its metadata."""

    def __init__(self, file: Any, path: Path, error: type[MlshipError]) -> None:
        self._file, self._path, self._error = file, path, error
        self.names: frozenset[str] = frozenset(file.keys())
        self.metadata: Mapping[str, str] = file.metadata() or {}

    def tensor(self, name: str) -> np.ndarray:
        """A tensor; the file's error for one that is not there, or of a type that numpy lacks."""
        where = str(self._path)
        if name not in self.names:
            known = ", ".join(sorted(self.names)) or "none"
            raise self._error(f"the file has no tensor '{name}'; it has {known}", where=where)
        stored = self._file.get_slice(name).get_dtype()
        if not PLAIN.fullmatch(stored):
            do = "store float32, float16, float64, whole numbers or booleans"
            raise self._error(f"tensor '{name}' holds {stored}", where=where, do=do)
        return np.asarray(self._file.get_tensor(name))


@contextlib.contextmanager
def opened(
    path: Path, error: type[MlshipError], do: str = "", what: str = "the tensors"
) -> Iterator[TensorFile]:
    """A .safetensors file; `error` where it cannot be read, or is none: a pipe is not opened."""
    from safetensors import SafetensorError, safe_open

    check_file(path, TENSORS, error, TAKEN)
    try:
        with safe_open(path, "numpy") as file:
            yield TensorFile(file, path, error)
    except (OSError, SafetensorError) as wrong:
        raise error(f"{what} cannot be read: {wrong}", where=str(path), do=do) from wrong


def array(path: Path, error: type[MlshipError]) -> np.ndarray:
    """The array of a .npy file, mapped: a header may promise more than the machine holds."""
    check_file(path, TENSORS, error, TAKEN)
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    # A header is read as Python's source, and numpy raises what its tokenizer does, and what comes
    # of a shape that is none.
    except (*MALFORMED, EOFError, SyntaxError, TokenError) as wrong:
        raise error(f"the array cannot be read: {wrong}", where=str(path)) from wrong


def of_spec(
    values: np.ndarray, spec: TensorSpec, path: Path, error: type[MlshipError]
) -> np.ndarray:
    """The values as the specification's tensor: its shape, its type, finite numbers; or `error`."""
    what = f"tensor '{spec.name}'"
    if values.shape != spec.shape:
        raise error(f"{what} has shape {values.shape}, not {spec.shape}", where=str(path))
    if values.dtype.kind not in NUMBERS:
        raise error(f"{what} holds {values.dtype}, not numbers of {spec.dtype}", where=str(path))
    wrong = count_not_finite(values)
    if wrong:
        raise error(
            f"{what} holds {wrong} numbers that are NaN or infinite, of {values.size}",
            where=str(path),
            do="pass finite numbers: of others no model makes anything",
        )
    return values.astype(spec.dtype)


def count_not_finite(values: np.ndarray) -> int:
    """How many of them are NaN or infinite."""
    return int(values.size - np.count_nonzero(np.isfinite(values)))


def read(
    path: Path, specs: Collection[TensorSpec], error: type[MlshipError], do: str = ""
) -> dict[str, np.ndarray]:
    """Each specification's tensor out of a .safetensors file."""
    with opened(path, error, do) as file:
        return {spec.name: of_spec(file.tensor(spec.name), spec, path, error) for spec in specs}
