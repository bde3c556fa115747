"""Messages of protobuf that are a little other than one, and messages still."""

from __future__ import annotations

import random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

NUMBERS = (0, 1, 2, 3, 7, 63, 64, 255, 1 << 20, (1 << 31) - 1, 1 << 40, (1 << 63) - 1)
TEXTS = ("", "x", "main", "CoreML6", "conv", "const", "@model_path/../x", "\0", "val", "name")
INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_ENUM: (0, 200),
    FieldDescriptor.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}
DEEPER = 0.85
"""How often what is inside a message is changed, and not the message left out or doubled."""


def change(message: Any, chance: random.Random) -> None:
    """One field of the message, or of one inside it: another value, left out, or doubled."""
    fields = message.ListFields()
    if not fields:
        return
    field, value = chance.choice(fields)
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        _change_map(value, inner.fields_by_name["value"], chance)
    elif _repeated(value):
        _change_list(value, field, chance)
    elif inner is None:
        setattr(message, field.name, _other(field, value, chance))
    elif chance.random() < DEEPER:
        change(value, chance)
    else:
        message.ClearField(field.name)


def _repeated(value: Any) -> bool:
    return hasattr(value, "extend")


def _change_map(entries: Any, field: FieldDescriptor, chance: random.Random) -> None:
    key = chance.choice(sorted(entries))
    if chance.random() > DEEPER:
        del entries[key]
    elif field.message_type is not None:
        change(entries[key], chance)
    else:
        entries[key] = _other(field, entries[key], chance)


def _change_list(values: Any, field: FieldDescriptor, chance: random.Random) -> None:
    index, how = chance.randrange(len(values)), chance.random()
    if how < (1 - DEEPER) / 2:
        del values[index]
    elif how < 1 - DEEPER:
        values.append(values[index])
    elif field.message_type is not None:
        change(values[index], chance)
    else:
        values[index] = _other(field, values[index], chance)


def _other(field: FieldDescriptor, value: Any, chance: random.Random) -> Any:
    if field.cpp_type in INTEGERS:
        low, high = INTEGERS[field.cpp_type]
        number = chance.choice((*NUMBERS, *(-n for n in NUMBERS), value + 1, value - 1, value * 2))
        return min(max(number, low), high)
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return chance.choice((0.0, -1.0, 1e30, float("inf"), float("nan"), 2 * value))
    if isinstance(value, bytes):
        return chance.choice((b"", value[:-1], value * 2, chance.randbytes(len(value))))
    return chance.choice((*TEXTS, value + "x", value[:-1]))
