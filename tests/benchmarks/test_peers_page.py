"""The page of other tools is made of what was measured, leaves nobody out and flatters nobody."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.studies.peers import page, plots, rows, tables
from benchmarks.studies.peers.rows import FIGURES, ModelFigures, PeerRow
from benchmarks.studies.peers.subjects import names, spec_of
from benchmarks.studies.peers.tools import TOOLS
from model_defs.counting import count

ENTRIES = rows.load()


def entry(**found: PeerRow) -> ModelFigures:
    return ModelFigures("a machine", 2_000_000_000, 40.0, found, {})


def test_the_committed_page_is_current() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.page(ENTRIES)


@pytest.mark.parametrize("figure", page.PLOTS)
def test_the_committed_plots_are_current(figure: str) -> None:
    assert page.plot_file(figure).read_text(encoding="utf-8") == page.plot(ENTRIES, figure)


def test_the_readme_quotes_what_was_measured() -> None:
    text = page.README.read_text(encoding="utf-8")
    assert page.in_readme(text, ENTRIES) == text
    assert page.machines(ENTRIES) in page.section(ENTRIES)


def test_every_entry_is_of_a_model_that_is_compared() -> None:
    assert list(ENTRIES) == [name for name in names() if name in ENTRIES]


@pytest.mark.parametrize("name", ENTRIES)
def test_counts_are_those_of_the_model(name: str) -> None:
    assert ENTRIES[name].macs == count(spec_of(name)).macs


def test_a_ratio_is_of_the_median_round() -> None:
    found = entry(mlship=PeerRow(blocks_ms=(10, 50, 11)), onnx2tf=PeerRow(blocks_ms=(30, 22, 1)))
    assert rows.ratio(found, TOOLS["onnx2tf"], FIGURES["latency"]) == 2.0
    assert rows.ratio(found, TOOLS["litert-torch"], FIGURES["latency"]) is None


def test_a_tool_stands_beside_ours_of_the_same_platform() -> None:
    found = entry(**{"mlship (TF.js)": PeerRow(bytes=10), "mlship": PeerRow(bytes=1)})
    found = entry(**found.rows, **{"TF.js converter": PeerRow(bytes=30)})
    assert rows.ratio(found, TOOLS["TF.js converter"], FIGURES["bytes"]) == 3.0


def test_nobody_wins_with_a_wrong_file() -> None:
    right, wrong = PeerRow(blocks_ms=(10,), error=1e-6), PeerRow(blocks_ms=(1,), error=0.07)
    other = TOOLS["onnx2tf"]
    assert rows.ratio(entry(mlship=right, onnx2tf=wrong), other, FIGURES["latency"]) is None
    assert rows.ratio(entry(mlship=wrong, onnx2tf=right), other, FIGURES["latency"]) is None
    assert "| onnx2tf | 0 of 1 |" in tables.summary({"net": entry(mlship=right, onnx2tf=wrong)})
    text = page.page({"net": entry(mlship=right, onnx2tf=wrong)})
    assert "| **7.0e-02** |" in text
    assert "- `net`, onnx2tf: converts and runs, but is off by 7.0%" in text


def test_what_was_not_compared_with_pytorch_is_not_called_right() -> None:
    assert "| onnx2tf | 0 of 0 |" in tables.summary({"net": entry(onnx2tf=PeerRow(bytes=1))})


def test_what_failed_has_a_row_and_no_number() -> None:
    failed = PeerRow(failed="ValueError: no | pipes")
    found = {"net": entry(mlship=PeerRow(blocks_ms=(100.0,)), onnx2tf=failed)}
    text = page.page(found)
    assert "| `net` | 50.0 | 50% | 100.0 | - | - | - | - | - | - | - |" in text
    assert "- `net`, onnx2tf: ValueError: no / pipes" in text
    assert "| onnx2tf | 0 of 1 | - |" in text


def test_a_model_is_missing_until_every_tool_was_judged() -> None:
    whole = {name: PeerRow(error=0.0) for name in TOOLS}
    assert rows.missing(None)
    assert not rows.missing(entry(**whole))
    assert not rows.missing(entry(**{**whole, "onnx2tf": PeerRow(failed="it failed")}))
    assert rows.missing(entry(**{**whole, "onnx2tf": PeerRow(bytes=1)}))
    assert rows.missing(entry(**{n: r for n, r in whole.items() if n != "onnx2tf"}))


def test_results_come_back_as_they_were_saved(tmp_path: Path) -> None:
    row = PeerRow(1.5, 2, 3, 0.0, (4.0, 5.0), 6, 7)
    found = {"net": entry(mlship=row, onnx2tf=PeerRow(failed="no"))}
    rows.save(found, tmp_path / "peers.json")
    assert rows.load(tmp_path / "peers.json") == found
    assert rows.load(tmp_path / "none.json") == {}


def test_a_plot_has_a_dot_for_each_ratio_in_order() -> None:
    ratios = {"onnx2tf": {"b": 1.0, "a": 0.5}, "coremltools": {"b": 8.0}}
    drawn = plots.dots("A & B", ["a", "b"], ratios)
    tree = ElementTree.fromstring(drawn)
    titles = [title.text for title in tree.iter("{http://www.w3.org/2000/svg}title")]
    assert titles[2:] == ["a, onnx2tf: 0.50x", "b, onnx2tf: 1.00x", "b, coremltools: 8.00x"]
    places = [float(c.get("cx", "")) for c in tree.iter("{http://www.w3.org/2000/svg}circle")][2:]
    assert plots.LEFT < places[0] < places[1] < places[2] < plots.WIDTH


def test_every_tool_has_a_colour() -> None:
    assert set(plots.COLOURS) == {tool.name for tool in tables.OTHERS}
    assert len(set(plots.COLOURS.values())) == len(plots.COLOURS)
