"""mlship from Python."""

from __future__ import annotations

from model_defs.installation import alias_rooms

alias_rooms()


def __getattr__(name: str) -> object:
    from model_defs import spec

    return getattr(spec, name)


def main() -> None:
    """The program `mlship`."""
    from toolchain.cli.main import program

    program()
