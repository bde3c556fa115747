"""Bytes that are a little other than a seed, by chance and yet the same each time."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from tests.attack.fuzz.messages import change
from tests.attack.fuzz.targets import SPLIT

EXTREMES = (
    *(0, 1, 127, 128, 255, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1),
)
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1e300, 2**70, "", "x", "../x", "/dev/zero", "\0", "\ud800", [], [[]], {}),
    *([0] * 40, {"a": {}}, "float32", [1, 2**40]),
)


def mutations(seeds: list[bytes], count: int) -> Iterator[bytes]:
    """`count` mutations of seeds, which take turns."""
    chance = random.Random(0)
    for number in range(count):
        data = seeds[number % len(seeds)]
        kept = of_its_form(data, chance) if chance.random() < 0.5 else None
        if kept is None:
            for _ in range(chance.choice((1, 1, 2, 5))):
                data = _other_bytes(data, chance)
        yield data if kept is None else kept


def of_its_form(data: bytes, chance: random.Random) -> bytes | None:
    """A mutation that is still JSON, or a Core ML model behind JSON; None of other data."""
    parts = data.split(SPLIT, 2)
    if len(parts) == 3 and chance.random() < 0.8:
        return _with_other_model(parts, chance)
    head, split, rest = data.partition(SPLIT)
    try:
        said = json.loads(head)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    try:
        return json.dumps(_changed(said, chance)).encode() + split + rest
    except (ValueError, RecursionError):
        return None


def _with_other_model(parts: list[bytes], chance: random.Random) -> bytes | None:
    from google.protobuf.message import DecodeError

    from converters.mil.messages import messages

    about, model, weights = parts
    try:
        read = messages("Model_pb2").Model.FromString(model)
        for _ in range(chance.choice((1, 1, 2, 4))):
            change(read, chance)
        return SPLIT.join([about, read.SerializeToString(), weights])
    except (DecodeError, ValueError):
        return None


def _changed(said: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """With a value, or a key, of it changed, left out or doubled."""
    node: Any = said
    while node:
        key = chance.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if isinstance(node[key], dict | list) and node[key] and chance.random() < 0.8:
            node = node[key]
            continue
        how = chance.random()
        if how < 0.6:
            node[key] = chance.choice(VALUES)
        elif how < 0.8:
            del node[key]
        elif isinstance(node, dict):
            node[str(chance.choice(VALUES))] = node.pop(key)
        else:
            node.append(node[key])
        break
    return said


def _other_bytes(data: bytes, chance: random.Random) -> bytes:
    """One change: bits, bytes, numbers of 1 to 8 bytes, a part left out, doubled or moved."""
    size = len(data)
    if not size:
        return bytes([chance.randrange(256)])
    at, end = sorted(chance.randrange(size + 1) for _ in range(2))
    at = min(at, size - 1)
    width = chance.choice((1, 2, 4, 8))
    number = chance.choice(EXTREMES) % 256**width
    return chance.choice(
        (
            lambda: data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :],
            lambda: data[:at] + number.to_bytes(width, "little") + data[at + width :],
            lambda: data[:at] + number.to_bytes(width, "big") + data[at + width :],
            lambda: data[:at] + data[end:],
            lambda: data[:at] + data[at:end] * 2 + data[end:],
            lambda: data[:at],
            lambda: data[:at] + chance.randbytes(width) + data[at:],
        )
    )()
