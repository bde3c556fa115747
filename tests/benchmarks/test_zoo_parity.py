"""The table of the zoo's parity: what a report says, and nothing rounder than that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.studies import zoo_parity
from model_defs.errors import BadRecord


def row(model: str, **backends: dict[str, Any]) -> dict[str, Any]:
    return {"model": model, "recipe": "fp16", "target": "any", "backends": backends}


def ran(
    verdict: str, share: float | None, cases: int = 1, note: str = "", seconds: float = 0.0
) -> dict[str, Any]:
    said = {"verdict": verdict, "share": share, "cases": cases}
    return {**said, "note": note, "seconds": seconds}


REPORT: list[dict[str, Any]] = [
    row("depth", litert=ran("passed", 0.2, 2, seconds=90.0)),
    row("depth", mil=ran("failed", 2.0, seconds=30.0), coreml=ran("skipped", None, 0)),
    row("select", litert=ran("passed", 0.5)),
]


def test_a_model_has_the_backends_of_all_its_targets() -> None:
    found = zoo_parity.collect(REPORT)
    assert [*found["models"]["depth"]] == ["litert", "mil", "coreml"]
    wanted = {"verdict": "passed", "share": 0.2, "cases": 2, "spared": False, "seconds": 90.0}
    assert found["models"]["depth"]["litert"] == wanted
    assert found["seconds"] == 120.0


def test_what_was_spared_is_told_from_what_another_machine_has() -> None:
    spared = ran("skipped", None, 0, note="345 GMAC take 6 min (--all-cases)")
    report = [
        row("inpaint", **{"litert-reference": spared}),
        row("depth", **{"litert-reference": ran("passed", 0.5)}),
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
    (tmp_path / "table.json").write_text("[{}]")
    monkeypatch.setattr("sys.argv", ["zoo_parity", str(tmp_path / "table.json")])
    with pytest.raises(BadRecord, match="no table of mlship matrix"):
        zoo_parity.main()


def test_models_that_are_not_in_it_keep_their_figures() -> None:
    earlier = zoo_parity.collect(REPORT)["models"]
    again = [row("depth", mil=ran("passed", 0.1, seconds=5.0))]
    found = zoo_parity.collect(again, earlier)
    assert found["models"]["select"] == earlier["select"]
    assert found["models"]["depth"]["mil"]["verdict"] == "passed"
    assert found["seconds"] == 5.0
