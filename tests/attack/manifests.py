"""Manifests that somebody edited and sealed again: their digests are right, what they say is not.

Each is made from a good one by a few random edits: a field gone, twice there, or of another type,
a number that is none, a path that leads out, a list too long, a nesting too deep.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from toolchain.bundle.manifest import digest_of

WORDS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3.5, 1e300, -1e300, 10**30, 2**31, 5e-324),
    *("", " ", "x", "../x", "/etc/passwd", "a/../../b", "\x00", "\ud800", "\n::error::", "x" * 300),
    *("gift/spec.py:spec", "photo.safetensors", "float99", "O", "inf", "NaN"),
    *([], [0], [[]], [1, 2, 3, 4, 5, 6, 7, 8, 9], [None], [-1, 3, 4, 4], [10**12, 10**12]),
    *({}, {"": ""}, {"a": {"b": {}}}, {"name": "x"}),
)
"""What is put in the place of another value."""
DEPTH = 100_000


def mutants(good: dict[str, Any], count: int, seed: int = 0) -> Iterator[str]:
    """Texts of manifests that were made from a good one, each with a right digest where it can."""
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        data = json.loads(json.dumps(good))
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            rng.choice(EDITS)(data, rng)
        yield rng.choice(TEXTS)(sealed(data), rng)


def sealed(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "digest": digest_of(data)}


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Each container in the data with one of its keys."""
    keys = list(data) if isinstance(data, dict) else range(len(data))
    for key in keys:
        yield data, key
        if isinstance(data[key], dict | list):
            yield from _places(data[key])


def _drop(data: dict[str, Any], rng: random.Random) -> None:
    place, key = rng.choice([*_places(data)])
    del place[key]


def _replace(data: dict[str, Any], rng: random.Random) -> None:
    place, key = rng.choice([*_places(data)])
    place[key] = rng.choice(WORDS)


def _nudge(data: dict[str, Any], rng: random.Random) -> None:
    """A number that is a little, or much, another."""
    numbers = [(p, k) for p, k in _places(data) if type(p[k]) in (int, float)]
    place, key = rng.choice(numbers)
    place[key] = rng.choice((-place[key], place[key] + 1, place[key] * 10**9, float(place[key])))


def _swap(data: dict[str, Any], rng: random.Random) -> None:
    one, two = (rng.choice([*_places(data)]) for _ in range(2))
    first, second = (place[key] for place, key in (one, two))
    one[0][one[1]], two[0][two[1]] = json.loads(json.dumps([second, first]))


def _more(data: dict[str, Any], rng: random.Random) -> None:
    """A list with one of its items twice, or a table with a field that nobody knows."""
    found = [p[k] for p, k in _places(data) if isinstance(p[k], dict | list)]
    inner = rng.choice(found)
    if isinstance(inner, dict):
        inner[rng.choice(("extra", "", "__class__", "x" * 300))] = rng.choice(WORDS)
    elif inner:
        inner.extend([json.loads(json.dumps(rng.choice(inner)))] * rng.choice((1, 1, 100)))


def _lead_out(data: dict[str, Any], rng: random.Random) -> None:
    """A listed path that is none of the bundle's own."""
    files = data.get("files")
    if isinstance(files, dict) and files:
        name = rng.choice(sorted(files))
        out = rng.choice(("../x", "/etc/passwd", "a//b", "./a", "a\\b", "manifest.json", "."))
        files[out] = files.pop(name)


EDITS: tuple[Callable[[dict[str, Any], random.Random], None], ...] = (
    *(_drop, _replace, _replace, _replace, _nudge, _swap, _more, _lead_out),
)


def _plain(data: dict[str, Any], rng: random.Random) -> str:
    del rng
    return json.dumps(data)


def _twice(data: dict[str, Any], rng: random.Random) -> str:
    """The text with one key twice."""
    name = rng.choice(list(data))
    return f"{{{json.dumps(name)}: {json.dumps(data[name])}, {json.dumps(data)[1:]}"


def _deep(data: dict[str, Any], rng: random.Random) -> str:
    """A nesting that no stack bears."""
    left, right = rng.choice((("[", "]"), ('{"a":', "}")))
    inner = left * DEPTH + "1" + right * DEPTH
    return json.dumps(data)[:-1] + f', "deep": {inner}}}'


def _cut(data: dict[str, Any], rng: random.Random) -> str:
    text = json.dumps(data)
    return text[: rng.randrange(len(text))]


TEXTS: tuple[Callable[[dict[str, Any], random.Random], str], ...] = (
    *(_plain,) * 17,
    *(_twice, _deep, _cut),
)
