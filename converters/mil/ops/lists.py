"""Lists of tensors, which loops fill. A list is a Python list; None is a place not written."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from converters.mil.ops.signature import Ints, Op, Tensors
from model_defs.errors import BadArtifact

LONGEST = 1 << 20


def make_list(
    elem_shape: Tensors, init_length: int = 1, dynamic_length: bool = True, dtype: str = "fp32"
) -> list[Any]:
    return _lengthened([], init_length)


def _lengthened(ls: list[Any], length: int) -> list[Any]:
    if length > LONGEST:
        raise BadArtifact(f"a list of {length} tensors")
    return [*ls, *([None] * (length - len(ls)))]


def list_length(ls: list) -> Tensor:
    return torch.tensor(len(ls), dtype=torch.int32)


def list_write(ls: list, index: int, value: Tensor) -> list[Any]:
    if index < 0:
        raise BadArtifact(f"writes place {index} of a list")
    longer = _lengthened(ls, index + 1)
    longer[index] = value
    return longer


def list_read(ls: list, index: int) -> Tensor:
    if not 0 <= index < len(ls) or ls[index] is None:
        raise BadArtifact(f"reads place {index} of a list of {len(ls)}, where nothing was written")
    return ls[index]


def list_gather(ls: list, indices: Ints) -> Tensor:
    return torch.stack([list_read(ls, i) for i in indices])


def list_scatter(ls: list, indices: Ints, value: Tensor) -> list[Any]:
    for index, part in zip(indices, value, strict=True):
        ls = list_write(ls, index, part)
    return ls


OPS: dict[str, Op] = {
    "list_gather": Op(list_gather, gives=("ls",), moves=True, reads_data=True),
    "list_length": Op(list_length, gives=("int32",), reads_data=True),
    "list_read": Op(list_read, gives=("ls",), moves=True, reads_data=True),
    "list_scatter": Op(list_scatter, gives=("ls",), moves=True, reads_data=True),
    "list_write": Op(list_write, gives=("ls",), moves=True, reads_data=True),
    "make_list": Op(make_list, gives=("=dtype",), moves=True, reads_data=True),
}
