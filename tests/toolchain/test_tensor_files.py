"""Tensors from files that people bring: what is no array of finite numbers is said."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from model_defs.errors import BadPicture
from model_defs.spec import TensorSpec
from toolchain.applications.inputs import _read_tensor

SPEC = TensorSpec("x", (2, 3), "features", low=0, high=1)


def raw(dtype: str, size: int, shape: tuple[int, ...] = (2, 3)) -> Callable[[Path], None]:
    """A .safetensors file of a type that numpy may not have."""

    def write(path: Path) -> None:
        about = {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}
        header = json.dumps({"x": about}).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))

    return write


def array(values: object) -> Callable[[Path], None]:
    return lambda path: np.save(path, values, allow_pickle=True)


def shaped(shape: tuple[object, ...]) -> Callable[[Path], None]:
    """A header of any shape before six numbers."""

    def write(path: Path) -> None:
        about = {"descr": "<f4", "fortran_order": False, "shape": shape}
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, about)
            file.write(bytes(24))

    return write


BAD: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "nan": ("npy", array(np.array([[0, 1, np.nan], [0, 0, np.inf]])), "2 numbers that are NaN"),
    "complex": ("npy", array(np.zeros((2, 3), np.complex64)), "holds complex64"),
    "text": ("npy", array(np.full((2, 3), "a")), "holds <U1"),
    "objects": ("npy", array(np.array([[{}] * 3] * 2)), "cannot be read"),
    "a shape": ("npy", array(np.zeros((3, 2))), r"shape \(3, 2\), not \(2, 3\)"),
    "nothing": ("npy", lambda path: path.write_bytes(b"") and None, "cannot be read"),
    "words": ("npy", lambda path: path.write_text("words") and None, "cannot be read"),
    "a promise": ("npy", shaped((2, 10**12)), "cannot be read"),
    "a size below nothing": ("npy", shaped((2, -32, 3)), "cannot be read"),
    "a size that is no number": ("npy", shaped(("a", 3)), "cannot be read"),
    "a pipe": ("npy", lambda path: os.mkfifo(path), "a pipe, not a file"),
    "a folder": ("npy", lambda path: path.mkdir(), "a folder, not a file"),
    "bfloat16": ("safetensors", raw("BF16", 12), "holds BF16"),
    "float8": ("safetensors", raw("F8_E4M3", 6), "holds F8_E4M3"),
    "too short": ("safetensors", raw("F32", 12), "cannot be read"),
    "no header": ("safetensors", lambda path: path.write_bytes(b"x") and None, "cannot be read"),
    "another": ("safetensors", lambda path: save_file({"y": np.zeros(1)}, path), "it has y"),
    "not there": ("safetensors", lambda path: None, "no such file"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_tensor_of_an_input_is_said(name: str, tmp_path: Path) -> None:
    suffix, write, said = BAD[name]
    path = tmp_path / f"x.{suffix}"
    write(path)
    with pytest.raises(BadPicture, match=said) as caught:
        _read_tensor(path, SPEC)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int8", "bool"])
def test_numbers_of_other_types_are_taken(dtype: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 3), dtype))
    found = _read_tensor(tmp_path / "x.npy", SPEC)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, 1)
