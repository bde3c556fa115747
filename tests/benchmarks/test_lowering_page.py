"""The page of latencies is made of what was measured, and leaves nobody out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import lowering, lowering_page
from benchmarks.peers import install
from model_defs import zoo
from model_defs.counting import count

ENTRIES: dict[str, dict[str, Any]] = json.loads(lowering.RESULTS.read_text(encoding="utf-8"))


def entry(**milliseconds: list[float]) -> dict[str, Any]:
    return {
        "macs": 2_000_000_000,
        "machine": "a machine",
        "peak_gmacs": 40.0,
        "rounds": 3,
        "runs": 1,
        "bytes": {"mlship": 10},
        "milliseconds": milliseconds,
        "failed": {"litert-torch": "ValueError: no | pipes"},
    }


def test_the_committed_page_is_current() -> None:
    text = lowering_page.PAGE.read_text(encoding="utf-8")
    assert text == lowering_page.page(ENTRIES)


@pytest.mark.parametrize("name", ENTRIES)
def test_counts_are_those_of_the_zoo(name: str) -> None:
    assert ENTRIES[name]["macs"] == count(zoo.load(name)).macs


def test_ratio_is_of_the_best_other_by_the_median_round() -> None:
    found = entry(mlship=[10, 50, 11], onnx2tf=[30, 33, 1], tinynn=[22, 22, 90])
    assert lowering_page.ratio(found, "mlship", ("onnx2tf", "tinynn")) == 2.0
    assert lowering_page.ratio(found, "mlship", ("litert-torch",)) is None


def test_what_failed_has_a_row_and_no_number() -> None:
    page = lowering_page.page({"net": entry(mlship=[100.0], onnx2tf=[90.0])})
    assert "| `net` | 3 | 50.0 | 100.0 | 50% | 90.0 | - | - | 0.90x |" in page
    assert "- `net`, litert-torch: ValueError: no / pipes" in page


@pytest.mark.parametrize("peer", install.PEERS)
def test_every_package_of_a_peer_is_pinned(peer: str) -> None:
    lines = install.pins(peer).read_text(encoding="utf-8").split("\n")[:-1]
    assert lines
    assert all("==" in line or "@ git+https" in line for line in lines)
    assert not any("file:" in line for line in lines)
