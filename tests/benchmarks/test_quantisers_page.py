"""The page of quantisers is made of what was measured, and hides no file that is better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.studies import quantisers, quantisers_page
from benchmarks.studies.peers import pictures
from model_defs.scenes import sampling

ROWS: list[dict[str, Any]] = json.loads(quantisers.RESULTS.read_text(encoding="utf-8"))


def row(who: str, how: str, size: int, value: float, target: str = "ios") -> dict[str, Any]:
    about = {"model": "net", "target": target, "who": who, "how": how}
    return {**about, "bytes": size, "metric": "IoU", "value": value, "questions": 1}


BASE = row("mlship", "fp32", 1000, 0.8)
SMALL = row("mlship", "small", 250, 0.79)


def test_the_committed_page_is_current() -> None:
    text = quantisers_page.PAGE.read_text(encoding="utf-8")
    assert text == quantisers_page.page(ROWS)


def test_every_row_is_of_a_way_that_is_asked() -> None:
    assert ROWS
    assert {(r["target"], r["who"], r["how"]) for r in ROWS} <= set(quantisers.ways())
    assert {r["model"] for r in ROWS} <= set(quantisers.MODELS)


@pytest.mark.parametrize(
    ("size", "value", "equalled"),
    [
        (250, 0.79, True),
        (248, 0.79, True),  # ours has 0.8% more bytes
        (247, 0.79, False),  # and here 1.2%
        (250, 0.791, True),  # less than can be told apart
        (250, 0.792, False),
    ],
)
def test_a_peer_is_equalled_by_a_file_no_larger_and_no_worse(
    size: int, value: float, equalled: bool
) -> None:
    peer = row("peer", "int8", size, value)
    assert quantisers_page.is_equalled(peer, [BASE, SMALL, peer]) is equalled


def test_a_metric_that_wavers_is_given_more_room() -> None:
    base, ours, peer = (dict(r, metric="AbsRel") for r in (BASE, SMALL, SMALL))
    peer |= {"who": "peer", "value": 0.783}
    assert quantisers_page.is_equalled(peer, [base, ours, peer])
    peer["value"] = 0.78
    assert not quantisers_page.is_equalled(peer, [base, ours, peer])


def test_a_file_of_another_format_equals_nobody() -> None:
    peer = row("peer", "int8", 250, 0.7, target="android")
    rows = [BASE, SMALL, row("mlship", "fp32", 1000, 0.8, "android"), peer]
    assert not quantisers_page.is_equalled(peer, rows)
    assert "**none**" in quantisers_page.page(rows)


def test_a_better_peer_is_named_on_top() -> None:
    peer = row("peer", "int8", 250, 0.8)
    page = quantisers_page.page([BASE, SMALL, peer])
    assert "Of 1 files of other tools, 0 have" in page
    assert "the others: `net` peer int8." in page
    assert "**worse**: `small`" in page
    lucky = quantisers_page.page([BASE, SMALL, row("peer", "int8", 250, 0.81)])
    assert "the others: `net` peer int8, by chance better than float32." in lucky


def test_what_failed_has_a_row_and_counts_for_nobody() -> None:
    failed = {"model": "net", "target": "ios", "who": "peer", "how": "int4", "failed": "no | pipes"}
    page = quantisers_page.page([BASE, failed])
    assert "Of 0 files" in page
    assert "| peer | int4 | failed: no / pipes |" in page


def test_pictures_to_calibrate_with_are_the_nets_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = sampling.sample(0, 64, 64, portraits=1.0)
    monkeypatch.setattr(sampling, "sample", lambda *how, **more: drawn)
    pictures.save_pictures("portrait", tmp_path / "pictures.npz")
    found = pictures.load_pictures(tmp_path / "pictures.npz")
    assert len(found) == pictures.PICTURES
    assert {name: array.shape for name, array in found[0].items()} == {"image": (1, 3, 224, 224)}
    assert np.ptp(found[0]["image"]) > 1
    pictures.save_pictures("select", tmp_path / "none.npz")  # it takes clicks as well
    assert pictures.load_pictures(tmp_path / "none.npz") == []
