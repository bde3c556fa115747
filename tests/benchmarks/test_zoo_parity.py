"""The table of the zoo's parity: what a report says, and nothing rounder than that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.studies import zoo_parity
from model_defs.errors import BadRecord


def row(
    backend: str, verdict: str, error: float | None, case: str = "photo", note: str = ""
) -> dict[str, Any]:
    tolerance = None if error is None else 0.01
    return {
        **{"backend": backend, "case": case, "output": "map", "verdict": verdict},
        **{"error": error, "tolerance": tolerance, "note": note},
    }


REPORT: list[dict[str, Any]] = [
    {
        "name": "depth-android",
        "rows": [
            row("golden", "passed", 0.0),
            row("litert", "passed", 0.001),
            row("litert", "passed", 0.002, "noise"),
        ],
        "seconds": {"litert": 90.0},
    },
    {
        "name": "depth-ios",
        "rows": [row("mil", "failed", 0.02), row("coreml", "skipped", None)],
        "seconds": {"mil": 30.0},
    },
    {"name": "select-android", "rows": [row("litert", "passed", 0.005)], "seconds": {}},
]


def test_the_worst_case_of_each_backend_counts() -> None:
    found = zoo_parity.collect(REPORT)["models"]["depth"]["litert"]
    wanted = {"verdict": "passed", "share": 0.2, "cases": 2, "spared": False, "seconds": 90.0}
    assert found == wanted


def test_what_was_spared_is_told_from_what_another_machine_has() -> None:
    spared = row("litert-reference", "skipped", None, note="345 GMAC take 6 min (--all-cases)")
    ran = row("litert-reference", "passed", 0.005)
    report = [
        {"name": "inpaint-android", "rows": [spared], "seconds": {}},
        {"name": "depth-android", "rows": [ran], "seconds": {}},
    ]
    lines = zoo_parity.table(zoo_parity.collect(report)).splitlines()
    assert "| `inpaint` | spared |" in lines


def test_the_table_has_a_line_a_model_in_the_order_of_the_zoo() -> None:
    assert zoo_parity.table(zoo_parity.collect(REPORT)).splitlines() == [
        "| model | mil | litert |",
        "|---|---:|---:|",
        "| `select` | - | 50.0% (1) |",
        "| `depth` | FAILED 200.0% (1) | 20.0% (2) |",
    ]


def test_golden_vectors_are_no_backend() -> None:
    assert "golden" not in json.dumps(zoo_parity.collect(REPORT))


def test_the_readme_gets_it_between_its_markers() -> None:
    results = zoo_parity.collect(REPORT)
    text = f"before\n{zoo_parity.BEGIN}old{zoo_parity.END}\nafter\n"
    once = zoo_parity.in_readme(text, results)
    assert once == zoo_parity.in_readme(once, results)
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "old" not in once
    assert "| `depth` |" in once
    assert zoo_parity.in_readme("no markers", results) == "no markers"


def test_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report.json").write_text("[{}]")
    monkeypatch.setattr("sys.argv", ["zoo_parity", str(tmp_path / "report.json")])
    with pytest.raises(BadRecord, match="no report of mlship parity"):
        zoo_parity.main()


def test_models_that_are_not_in_the_report_keep_their_figures() -> None:
    earlier = zoo_parity.collect(REPORT)["models"]
    again = [{"name": "depth-ios", "rows": [row("mil", "passed", 0.001)], "seconds": {"mil": 5.0}}]
    found = zoo_parity.collect(again, earlier)
    assert found["models"]["select"] == earlier["select"]
    assert found["models"]["depth"]["mil"]["verdict"] == "passed"
    assert found["seconds"] == 5.0
