"""How this code is installed: as a checkout has it, or below one package, as a wheel maps it.

A wheel holds one package, `mlship`, with our rooms in it (`mlship.converters` ...), so that a
repository may have folders of these names of its own; `setup.py` maps them. What stands in a
user's file as `model_defs.spec` is found there, too: see `alias_rooms`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

DISTRIBUTION = "mlship-toolchain"
"""What pip calls it; the command and the module are `mlship`."""

VERSION = "0.1.0"

ROOMS = ("model_defs", "converters", "benchmarks", "toolchain")

FOLDER = Path(__file__).resolve().parents[1]
"""The folder of the rooms."""

PREFIX = __name__.rpartition("model_defs")[0]
"""What stands before the name of a room: nothing, or `mlship.` where a wheel was installed."""

IMPORTED_FROM = FOLDER.parent if PREFIX else FOLDER
"""The entry of sys.path by which another process of this Python finds this code."""


class _Alias:
    """A loader that gives the module of another name, as the same object."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self.name)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state  # the import system put the alias's there


class _RoomsByOldName:
    """Finds the rooms themselves, or (`inside`) the modules of rooms that were found by it."""

    def __init__(self, inside: bool) -> None:
        self.inside = inside

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        room, _, rest = name.partition(".")
        if room not in ROOMS or self.inside is not bool(rest):
            return None
        if self.inside and sys.modules.get(room) is not sys.modules.get(PREFIX + room):
            return None  # a package of the user's own, which has our room's name
        return ModuleSpec(name, _Alias(PREFIX + name))  # type: ignore[arg-type] # has no load_module


def alias_rooms() -> None:
    """Let `from model_defs.spec import ModelSpec` give ours where a wheel was installed.

    A package of that name of the user's own goes first: the rooms are looked for last. Their
    modules are looked for first, since the ordinary import would make a second copy of each.
    """
    if PREFIX and not any(isinstance(finder, _RoomsByOldName) for finder in sys.meta_path):
        sys.meta_path.insert(0, _RoomsByOldName(inside=True))
        sys.meta_path.append(_RoomsByOldName(inside=False))
