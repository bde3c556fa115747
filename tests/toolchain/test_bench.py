"""`mlship bench`: rows for every runtime, latencies that are kept, and what got worse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from benchmarks.measure.significance import confirmed
from benchmarks.measure.timing.session import MODES
from toolchain.bench import run
from toolchain.bench.against import Change, slower
from toolchain.build.on_demand import Wanted
from toolchain.cli.main import main
from toolchain.recipes.recipes import RECIPES


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", *arguments])


@pytest.fixture(scope="module")
def kept(shared: Path) -> Path:
    path = shared / "latencies.json"
    model = f"{shared}/net.py:spec"
    asked = ["--model", model, "--runtime", "litert-1", "--runtime", "onnxruntime-1"]
    more = ["--runtime", "pytorch-1", "--layers", "--save", str(path)]
    result = bench(f"{shared}/dist/tiny-android", *asked, *more, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows"] == json.loads(path.read_text())["rows"]
    return path


def edited(kept: Path, tmp_path: Path, change: Any) -> Path:
    data = json.loads(kept.read_text())
    change(data)
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(data))
    return path


def test_a_bundle_and_what_it_was_made_of_are_timed_together(kept: Path) -> None:
    rows = {row["runtime"]: row for row in json.loads(kept.read_text())["rows"]}
    assert rows.keys() == {"litert-1", "onnxruntime-1", "pytorch-1"}
    assert rows["litert-1"]["subject"] == "tiny-android"
    assert rows["pytorch-1"]["reference"]
    for row in rows.values():
        assert row["median_ms"] > 0
        assert row["runs"] >= 7
        assert 0 < row["share_of_peak"] < 1.5
        assert len(row["blocks_ms"]) >= 7
    assert rows["litert-1"]["layers_ms"]


def test_the_table_shows_the_machine_and_the_peak(shared: Path) -> None:
    result = bench(f"{shared}/dist/tiny-web", "--runtime", "tfjs-wasm", "--layers")
    assert result.exit_code == 0, result.output
    assert "tfjs-wasm" in result.stdout
    assert "GMAC/s on one thread" in result.stdout
    assert "layers that take" in result.stdout


def against(shared: Path, path: Path) -> Result:
    asked = ("--runtime", "litert-1", "--against", str(path))
    return bench(f"{shared}/dist/tiny-android", *asked)


def times(factor: float) -> Callable[[Any], None]:
    """Latencies as if they had been that much longer when they were kept."""

    def change(data: Any) -> None:
        for row in data["rows"]:
            row["blocks_ms"] = [ms * factor for ms in row["blocks_ms"]]

    return change


def test_a_file_that_was_slower_is_not_slower(shared: Path, kept: Path, tmp_path: Path) -> None:
    result = against(shared, edited(kept, tmp_path, times(3)))
    assert result.exit_code == 0, result.output
    assert "tiny-android/litert-1: not slower" in result.stdout


def test_a_file_that_was_faster_is_slower_now(shared: Path, kept: Path, tmp_path: Path) -> None:
    result = against(shared, edited(kept, tmp_path, times(1 / 3)))
    assert result.exit_code == 1
    assert "tiny-android/litert-1: slower" in result.stderr


def change(key: str, ratio: float) -> Change:
    return Change(key, 1.0, ratio, ratio, 0.0, ratio > 1)


def test_what_seems_slower_is_timed_again_before_it_is_called_so() -> None:
    moods = {"net/litert-1": [1.3, 0.9], "net/tfjs-wasm": [1.2, 1.4, 1.3], "net/mil-1": [1.0]}
    left = {key: iter(ratios) for key, ratios in moods.items()}
    asked: list[list[str]] = []

    def again(keys: list[str]) -> dict[str, Change]:
        asked.append(keys)
        return {key: change(key, next(left[key])) for key in keys}

    found = confirmed({key: change(key, next(ratios)) for key, ratios in left.items()}, again)
    assert asked == [["net/litert-1", "net/tfjs-wasm"], ["net/tfjs-wasm"]]
    assert {key: one.ratio for key, one in found.items() if one.worse} == {"net/tfjs-wasm": 1.3}
    assert [*found] == [*moods]


def test_a_row_alone_is_timed(shared: Path) -> None:
    key = "tiny-android/litert-1"
    ran = run.run(
        [f"{shared}/dist/tiny-android"], Wanted((), RECIPES["fp32"]), (), MODES["quick"], only=[key]
    )
    assert [row.key for row in ran.rows] == [key]


def test_another_machine_is_not_compared(shared: Path, kept: Path, tmp_path: Path) -> None:
    path = edited(kept, tmp_path, lambda data: data["machine"].update(fingerprint="other"))
    result = against(shared, path)
    assert result.exit_code == 2
    assert "another machine" in result.stderr


def test_what_was_not_kept_is_not_compared(shared: Path, kept: Path, tmp_path: Path) -> None:
    result = against(shared, edited(kept, tmp_path, lambda data: data.update(rows=[])))
    assert result.exit_code == 2
    assert "nothing was timed both then and now" in result.stderr


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 9}'])
def test_a_damaged_file_is_refused(shared: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "kept.json"
    path.write_text(text)
    result = against(shared, path)
    assert result.exit_code == 2
    assert "error:" in result.stderr


def test_an_unknown_runtime_is_bad_input(shared: Path) -> None:
    result = bench(f"{shared}/dist/tiny-android", "--runtime", "litert-one")
    assert result.exit_code == 2
    assert "did you mean" in result.stderr


def test_nothing_that_runs_here_is_code_3(shared: Path) -> None:
    result = bench(f"{shared}/dist/tiny-ios", "--runtime", "coreml-gpu")
    assert result.exit_code == 3
    assert "skipped: tiny-ios/coreml-gpu: coreml-gpu runs on darwin only" in result.stdout


def test_a_slow_machine_is_not_a_slow_file() -> None:
    then, now = [10.0 + n / 100 for n in range(8)], [13.0 + n / 100 for n in range(8)]
    assert slower(then, now, 1.0, 1.1)
    assert not slower(then, now, 1.3, 1.1)


def test_latencies_of_another_phone_are_not_compared(
    shared: Path, kept: Path, tmp_path: Path
) -> None:
    def on_a_phone(data: dict) -> None:
        for row in data["rows"]:
            row["device"] = "another"

    result = against(shared, edited(kept, tmp_path, on_a_phone))
    assert result.exit_code == 2
    assert "nothing was timed both then and now" in result.stderr
