"""The README's table of models is the one that was measured, and is about the zoo as it is."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.studies import zoo as report
from model_defs import zoo
from model_defs.counting import count

ROWS: list[dict[str, Any]] = json.loads(report.RESULTS.read_text(encoding="utf-8"))
WIDTHS = {"fp32": 4, "fp16": 2}


def test_the_readme_shows_the_measured_table() -> None:
    text = report.README.read_text(encoding="utf-8")
    assert report.in_readme(text, ROWS) == text


def test_every_model_of_the_zoo_is_in_it() -> None:
    assert [row["name"] for row in ROWS] == list(zoo.MODELS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_counts_are_current(row: dict[str, Any]) -> None:
    assert {"parameters": row["parameters"], "macs": row["macs"]} == asdict(
        count(zoo.load(row["name"]))
    )


SHIPPED = [row for row in ROWS if not row["baseline"]]


@pytest.mark.parametrize("row", SHIPPED, ids=lambda row: row["name"])
def test_every_shipped_model_passed_everywhere(row: dict[str, Any]) -> None:
    wanted = {f"{recipe} {target}" for recipe in report.RECIPES for target in report.TARGETS}
    assert set(row["bundles"]) == wanted
    assert all(found["parity"] for found in row["bundles"].values())


@pytest.mark.parametrize("row", SHIPPED, ids=lambda row: row["name"])
def test_no_artifact_is_much_larger_than_its_weights(row: dict[str, Any]) -> None:
    """At most parameters x bytes x 1.05 + 0.3 MB: a folded full-size constant shows here."""
    for key, found in row["bundles"].items():
        ideal = row["parameters"] * WIDTHS[key.split()[0]]
        assert found["bytes"] <= ideal * 1.05 + 300_000, key


@pytest.mark.parametrize("row", SHIPPED, ids=lambda row: row["name"])
@pytest.mark.parametrize("recipe", report.RECIPES)
def test_xnnpack_runs_every_shipped_model_in_one_partition(
    row: dict[str, Any], recipe: str
) -> None:
    found = row["bundles"][f"{recipe} android"]
    assert (found["partitions"], found["outside"]) == (1, "")


def test_bundles_that_are_not_there_keep_their_figures(tmp_path: Path) -> None:
    assert report.collect(tmp_path, ROWS) == ROWS
    assert not any(row["bundles"] for row in report.collect(tmp_path, []))
