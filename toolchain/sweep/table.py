"""The table of a sweep or a matrix, written row by row: table.csv as it goes, table.json whole."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolchain.bundle.files import write_whole, writing

CSV, JSON = "table.csv", "table.json"


class Table:
    """Rows of one table, in the order in which they end; at the end they are sorted."""

    def __init__(self, folder: Path | None, machine: str = "") -> None:
        self.folder, self.machine = folder, machine
        self._columns: list[str] = []

    def add(self, row: Any) -> None:
        """Appends a row to the file, so that one can look at it while others are made."""
        if self.folder is None:
            return
        cells = row.cells(self.machine)
        path = self.folder / CSV
        new = [name for name in cells if name not in self._columns]
        with writing(path):
            if new:
                self._columns += new
                before = _read(path) if len(new) < len(self._columns) else []
                write_whole(path, _text(self._columns, [*before, cells]))
            else:
                with path.open("a", encoding="utf-8", newline="") as file:
                    file.write(_text(self._columns, [cells], head=False))

    def write(self, rows: list[dict[str, Any]], whole: dict[str, Any]) -> None:
        """Both files, complete, in the order of the rows."""
        if self.folder is None:
            return
        columns = list(dict.fromkeys(name for row in rows for name in row))
        write_whole(self.folder / CSV, _text(columns, rows))
        write_whole(self.folder / JSON, json.dumps(whole, indent=1) + "\n")


def _read(path: Path) -> list[Mapping[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _text(columns: list[str], rows: list[Any], *, head: bool = True) -> str:
    made = io.StringIO()
    writer = csv.DictWriter(made, columns, restval="", lineterminator="\n")
    if head:
        writer.writeheader()
    writer.writerows(rows)
    return made.getvalue()
