"""Where measurements of clusters are kept: benchmarks/results/cluster.json, a part each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.measure.machine import this

FILE = Path(__file__).parents[2] / "benchmarks" / "results" / "cluster.json"


def keep(part: str, found: dict[str, Any]) -> None:
    """Writes a part, with the machine that it was measured on; the others stay."""
    known = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    known[part] = {**found, "machine": str(this())}
    FILE.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
