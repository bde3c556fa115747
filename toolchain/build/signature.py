"""By what a cache knows that it wrote an entry itself: a secret that lies outside of it.

A cache may come from elsewhere (CI restores one, a team shares one), and whoever can write it can
write anything into it. Each entry is signed with HMAC-SHA256 (RFC 2104), and one whose signature
is not ours is not believed: what it holds is built and proved again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import uuid
from functools import cache
from pathlib import Path

from model_defs.errors import BadConfig
from toolchain.bundle.home import data_home

VARIABLE = "MLSHIP_CACHE_KEY"
"""A secret that the machines of a team share, so that they believe each other's entries."""
SHORTEST = 16
"""Characters of it."""
BYTES = 32
FILE = "cache.key"


def signature(place: str, *parts: object) -> str:
    """The signature of what an entry holds, at its place in the cache: moved, it is none."""
    text = json.dumps([place, *parts], sort_keys=True)
    return hmac.new(_secret(), text.encode(), hashlib.sha256).hexdigest()


def is_ours(signed: str, place: str, *parts: object) -> bool:
    """Whether a signature is of these parts at this place, by our secret."""
    return hmac.compare_digest(signed, signature(place, *parts))


def _secret() -> bytes:
    given = os.environ.get(VARIABLE)
    if not given:  # as CI passes on a secret that nobody has set
        return _own(data_home() / FILE)
    if len(given) < SHORTEST:
        raise BadConfig(
            f"{VARIABLE} has {len(given)} characters",
            do=f"give it at least {SHORTEST}; openssl rand -hex 32 makes 64",
        )
    return given.encode()


@cache
def _own(path: Path) -> bytes:
    """This machine's secret, made when it is first asked for.

    Where it cannot be kept it is of this process alone: nothing of another is believed then.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = _read(path)
        if found is None:
            path.unlink(missing_ok=True)
            _write(path)
            found = _read(path)
    except OSError:
        found = None
    return found or secrets.token_bytes(BYTES)


def _read(path: Path) -> bytes | None:
    """The secret in a file; None where there is none, or none of ours."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return content if len(content) == BYTES else None


def _write(path: Path) -> None:
    """A new secret, whole and for this user alone; of two processes the first one's stays."""
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(BYTES))
        os.link(fresh, path)
    except FileExistsError:
        return
    finally:
        fresh.unlink(missing_ok=True)
