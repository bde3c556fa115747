"""A group of commands that are imported only when they are asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """A click group of a literal table: by heading, each command's name and its `module:name`.

    A command that is run imports its own module alone; the group's help imports all of them,
    which is cheap, because they import what they need where they need it.
    """

    def __init__(self, *args: Any, table: Mapping[str, Mapping[str, str]], **options: Any) -> None:
        super().__init__(*args, **options)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for rows in self.table.values() for name in rows]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        paths = {name: path for rows in self.table.values() for name, path in rows.items()}
        if cmd_name not in paths:
            return None
        module, attribute = paths[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The first sentence of each command's help, below the headings."""
        wide = max(map(len, self.list_commands(ctx)))
        for heading, rows in self.table.items():
            found = {name: self.get_command(ctx, name) for name in rows}
            lines = [
                (name.ljust(wide), command.get_short_help_str(formatter.width - wide - 6))
                for name, command in found.items()
                if command is not None
            ]
            with formatter.section(heading):
                formatter.write_dl(lines)
