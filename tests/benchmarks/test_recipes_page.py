"""The page of recipes is made of what was measured, and says where an aim is missed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.studies import recipes, recipes_page

ROWS: list[dict[str, Any]] = json.loads(recipes.RESULTS.read_text(encoding="utf-8"))


def row(recipe: str, disk: int, value: float, **more: Any) -> dict[str, Any]:
    found = {"model": "select", "recipe": recipe, "target": "android", "disk": disk}
    return {
        **found,
        "wire": disk,
        "ideal": 100,
        "metric": "IoU",
        "value": value,
        "questions": 16,
        **more,
    }


def test_the_committed_page_is_current() -> None:
    assert recipes_page.PAGE.read_text(encoding="utf-8") == recipes_page.page(ROWS)


def test_rows_are_of_models_that_are_to_be_measured() -> None:
    assert {r["model"] for r in ROWS} <= set(recipes.MODELS)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (row("small", 270, 0.7961), "aim met"),
        (row("small", 271, 0.8), "aim missed"),
        (row("small", 200, 0.795), "aim missed"),
        (row("smallest", 300, 0.79, target="web", wire=150), "aim met"),
        (row("smallest", 300, 0.79, target="web", wire=151), "aim missed"),
        (row("smallest", 300, 0.79, wire=150), "aim missed"),
        (row("fast", 500, 0.79, latency=0.6), "aim met"),
        (row("fast", 500, 0.79, latency=0.63), "aim missed"),
        (row("fast", 500, 0.78, latency=0.5), "aim missed"),
    ],
)
def test_an_aim_is_met_by_bytes_metric_and_time(found: dict[str, Any], verdict: str) -> None:
    page = recipes_page.page([row("fp32", 1000, 0.8, target=found["target"]), found])
    assert page.splitlines()[-1].split(" | ")[-2] == verdict


def test_less_may_be_better() -> None:
    base, worse = {"metric": "AbsRel", "value": 0.1}, {"metric": "AbsRel", "value": 0.11}
    assert recipes_page.drop(base, worse) == pytest.approx(0.1)


def test_bytes_are_compared_with_the_published_net() -> None:
    found = row("fp32", 1_074_181, 0.8) | {"wire": 537_090}
    # 134,272,582 parameters of 4 bytes
    assert recipes_page.page([found]).splitlines()[-1].endswith("| 500x, 1000x |")


def test_what_failed_has_a_row() -> None:
    page = recipes_page.page([{"model": "net", "recipe": "small", "failed": "no such thing"}])
    assert "| `net` | `small` | failed: no such thing |" in page
