"""Converters that are kept for many nets, for tests: their tools are loaded once."""

from __future__ import annotations

from typing import Any

from converters.api import Artifact
from converters.processes.worker import Worker

KEPT: dict[str, Worker] = {}
"""Those that are running, by format."""


class KeptWorker:
    """A `Worker` whose process stays when it is left: the same jobs and the same answers."""

    def __init__(self, format_name: str) -> None:
        self._format = format_name
        if format_name not in KEPT:
            KEPT[format_name] = Worker(format_name)

    def convert(self, *arguments: Any, **options: Any) -> Artifact:
        return KEPT[self._format].convert(*arguments, **options)

    def __enter__(self) -> KeptWorker:
        return self

    def __exit__(self, *_: object) -> None:
        """It stays."""


def end() -> None:
    """End all that are kept."""
    while KEPT:
        KEPT.popitem()[1].__exit__(None, None, None)
