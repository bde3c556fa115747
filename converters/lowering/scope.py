"""How the operations of a lowered graph are named: below one scope, each node's below its own."""

from __future__ import annotations

import re

SCOPE = "Net"
"""Around every operation; no port is named like this, since ports are lower-case."""


def scope_of(name: str, operation: str) -> str:
    """A node's name, or else its operation's, as TensorFlow allows names of scopes."""
    return re.sub(r"[^A-Za-z0-9_.\-/]+", "_", name).strip("/_") or operation
