"""The files of `mlship blame`: its page, and node data for Model Explorer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from toolchain.bundle.files import write_whole
from toolchain.debug.blame import Blame
from toolchain.report.blame_page import page
from toolchain.report.node_data import node_data


def write_page(path: Path, blamed: Sequence[Blame]) -> None:
    """A page with the error against the depth of the network. Raises CannotWrite."""
    write_whole(path, page(blamed))


def write_node_data(path: Path, blamed: Sequence[Blame]) -> None:
    """Node data for Model Explorer. Raises CannotWrite."""
    made = node_data(backend for one in blamed for backend in one.backends)
    write_whole(path, json.dumps(made, indent=2) + "\n")
