"""What the bytes of a package are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converters import mil
from converters.contents import Item, tensor_item
from converters.mil.package import model_files

MASKS = ("mask", "indices_mask", "data_mask")
"""Arguments of Core ML's sparse constants that say which numbers are not zero."""


def read(path: Path) -> Iterator[Item]:
    """The blobs of weight.bin, each record once, and what aligns them."""
    seen: dict[int, Item] = {}
    for function in mil.open_package(path).functions.values():
        for name, argument, constant in _constants(function.block):
            if constant.proto.WhichOneof("value") != "blobFileValue":
                continue
            value = constant.proto.blobFileValue
            file = constant.blobs[value.fileName]
            start, count = file.locate(value.offset, constant.type)
            if start in seen:
                continue
            data = file.bytes[start : start + count]
            dtype = "mask" if argument in MASKS else constant.type.dtype
            item = tensor_item(name, data, dtype, constant.type.fixed)
            seen[start] = item
            yield item
    weights = model_files(path)[1] / "weights" / "weight.bin"
    if weights.is_file():
        stored = sum(item.bytes for item in seen.values())
        yield Item("alignment", "padding", weights.stat().st_size - stored)
    yield Item("Manifest.json", "metadata", (path / "Manifest.json").stat().st_size)


def _constants(block: Any) -> Iterator[tuple[str, str, Any]]:
    """Every constant of a block and its inner blocks, with its operation's and argument's name."""
    for operation in block.operations:
        for name, arguments in operation.arguments.items():
            yield from ((operation.name, name, a) for a in arguments if not isinstance(a, str))
        for inner in operation.blocks:
            yield from _constants(inner)
