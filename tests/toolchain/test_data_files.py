"""Every file that is read back: it goes round, a liar is refused, its schema is committed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from benchmarks.measure.timing.times import Times
from model_defs.errors import BadPicture, BadRecipe, BadRecord, MlshipError
from tests.toolchain.test_upgrade import BASELINE, LOCK, SHA
from toolchain.bench import kept
from toolchain.build import cache_record
from toolchain.bundle.reading import DataFile, json_object
from toolchain.ci import golden, lock, schemas, snapshots, state
from toolchain.parity import records
from toolchain.recipes import recipe_file, recipes

HEADER = {
    **{"schema": 1, "machine": "Linux-x86_64", "sha256": SHA},
    "bundles": [{"name": "two-ios", "bundle": SHA, "backends": ["mil"]}],
}
RECIPE = {"schema": 1, "name": "mine", "passes": ["fold-batchnorm"], "layers": {"a.b": "int6"}}
CACHED = {"inputs": {"/net.py": SHA}, "key": SHA}
BLOCKS = ((1.0, 2.0), (1.5, 1.6))
TIMES = Times(3.0, 2.0, BLOCKS, BLOCKS, 50, 100, layers={"conv": 0.5})
KEPT = {
    "schema": 1,
    "machine": {
        **{"processor": "x", "memory": 8, "system": "Linux", "versions": {"numpy": "1"}},
        "fingerprint": "f",
    },
    "mode": "quick",
    "peaks": [{"gmacs_1_thread": 50.0, "gmacs": 90.0, "gigabytes_per_second": 10.0}],
    "rows": [
        {
            **{"subject": "tiny-android", "runtime": "litert-1", "reference": False},
            **TIMES.to_json(),
            **{"share_of_peak": 0.5, "skipped": "", "failed": ""},
        }
    ],
}
Reader = Callable[[Path], Any]


def request_record(path: Path) -> cache_record.RequestRecord:
    file = DataFile("the cache's record", str(path), BadRecord)
    return cache_record.parse(cache_record.RequestRecord, path.read_text(), file)


FILES: dict[str, tuple[dict[str, Any], Reader]] = {
    "lock": (LOCK, lock.read),
    "baseline": (BASELINE, state.read),
    "report": ({"ok": True, "state": BASELINE}, state.read),
    "record": (HEADER, lambda path: records.parse_header(path.read_text(), str(path))),
    "recipe": (RECIPE, recipe_file.read),
    "latencies": (KEPT, kept.read),
    "cache": (CACHED, request_record),
    "snapshots": ({"portrait/photo.png": "new"}, snapshots._index_of),
}


def written(tmp_path: Path, data: object) -> Path:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize("name", FILES)
def test_a_true_file_is_read(name: str, tmp_path: Path) -> None:
    data, read = FILES[name]
    assert read(written(tmp_path, data))


@pytest.mark.parametrize("value", [None, True, "x", -1, 1.5, [], [1], {}, {"a": 1}])
@pytest.mark.parametrize("name", FILES)
def test_no_mutant_is_anything_but_an_error(name: str, value: object, tmp_path: Path) -> None:
    data, read = FILES[name]
    codes: set[int] = set()

    def each(node: Any, put: Callable[[Any], Any]) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            items = node.items() if isinstance(node, dict) else enumerate(node)
            other = {k: value if k == key else v for k, v in items}
            made = other if isinstance(node, dict) else [*other.values()]
            try:
                read(written(tmp_path, put(made)))
            except MlshipError as error:
                codes.add(error.exit_code)
            if isinstance(node[key], dict | list):
                each(node[key], lambda inner, key=key, node=node: put(_with(node, key, inner)))

    each(data, lambda whole: whole)
    assert codes == {2}


def _with(node: Any, key: Any, inner: Any) -> Any:
    if isinstance(node, dict):
        return {**node, key: inner}
    return [*node[:key], inner, *node[key + 1 :]]


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("snapshots", "report")])
def test_an_unknown_field_and_a_schema_of_tomorrow_are_refused(name: str, tmp_path: Path) -> None:
    data, read = FILES[name]
    with pytest.raises(MlshipError, match="unknown field 'more'"):
        read(written(tmp_path, {**data, "more": 1}))
    if "schema" in data:
        with pytest.raises(MlshipError, match="this mlship reads up to") as caught:
            read(written(tmp_path, {**data, "schema": 99}))
        assert caught.value.do == "install a newer mlship"


def test_the_lock_and_the_baseline_go_round(tmp_path: Path) -> None:
    locked = lock.read(written(tmp_path, LOCK))
    assert lock.parse(lock.text_of(locked), "") == locked
    measured = state.read(written(tmp_path, BASELINE))
    assert state.parse(state.text_of(measured), "") == measured


def test_counts_of_a_baseline_are_not_rounded(tmp_path: Path) -> None:
    bundles = [{**BASELINE["bundles"][0], "figures": {"disk": 123456789, "latency": 1.23456789}}]  # type: ignore[index,dict-item]
    measured = state.read(written(tmp_path, {**BASELINE, "bundles": bundles}))
    (row,) = measured.to_json()["bundles"]
    assert row["figures"] == {"disk": 123456789, "latency": 1.23457}


def test_a_bundle_stands_in_a_baseline_once(tmp_path: Path) -> None:
    twice = {**BASELINE, "bundles": BASELINE["bundles"] * 2}  # type: ignore[operator]
    with pytest.raises(BadRecord, match="'depth-ios' stands twice"):
        state.read(written(tmp_path, twice))


def test_a_recipe_goes_round_and_knows_its_types(tmp_path: Path) -> None:
    found = recipes.read(written(tmp_path, RECIPE))
    (tmp_path / "again.json").write_text(recipes.text_of(found))
    assert recipes.read(tmp_path / "again.json") == found
    old = {key: value for key, value in RECIPE.items() if key != "schema"}
    assert recipes.read(written(tmp_path, old)) == found
    with pytest.raises(BadRecipe, match="'int5' is no type"):
        recipes.read(written(tmp_path, {**RECIPE, "layers": {"a.b": "int5"}}))


def test_the_types_of_a_recipes_layers_are_those_of_the_pass() -> None:
    from toolchain.quantization import kinds

    assert set(recipe_file.KINDS) == set(kinds.KINDS)


def test_a_picture_out_of_its_folder_is_not_approved(tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match="does not stay in the folder"):
        snapshots._index_of(written(tmp_path, {"../../.bashrc": "gone"}))


def test_a_damaged_record_of_the_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match="key is"):
        request_record(written(tmp_path, {**CACHED, "key": "../.."}))


def test_json_is_an_object_with_each_key_once() -> None:
    file = DataFile("it", "there", BadRecord)
    with pytest.raises(BadRecord, match="'a' stands twice"):
        json_object('{"a": 1, "a": 1}', file)


@pytest.mark.parametrize("name", schemas.SCHEMAS)
def test_the_schemas_are_current(name: str) -> None:
    """If this fails: python -m toolchain.ci.schemas."""
    path = schemas.FOLDER / f"{name}.json"
    assert path.read_text(encoding="utf-8") == schemas.text_of(schemas.SCHEMAS[name])


def test_every_schema_has_its_file_and_no_other() -> None:
    assert {path.stem for path in schemas.FOLDER.iterdir()} == schemas.SCHEMAS.keys()


def test_a_golden_picture_whose_range_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photo.mask.png"
    values = np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 1, 3, 4)
    golden.write(path, values, -1.0, 1.0)
    assert golden.read(path)[1:] == (-1.0, 1.0)
    for said in ('{"low": 0, "high": NaN}', '{"low": 0}', '{"low": "0", "high": 1}', "[0, 1]"):
        text = PngImagePlugin.PngInfo()
        text.add_text(golden.KEY, said)
        Image.fromarray(np.zeros((3, 4), np.uint8)).save(path, pnginfo=text)
        with pytest.raises(BadPicture, match="the range of this golden picture cannot be read"):
            golden.read(path)


def test_numbers_of_an_earlier_search_are_finite_numbers(tmp_path: Path) -> None:
    from toolchain.search import search

    assert search._read_numbers(written(tmp_path, {"a": 1, "b": 0.5})) == {"a": 1.0, "b": 0.5}
    for liar in ([1], {"a": "x"}, {"a": None}):
        with pytest.raises(BadRecord):
            search._read_numbers(written(tmp_path, liar))
    (tmp_path / "file.json").write_text('{"a": NaN}')
    with pytest.raises(BadRecord):
        search._read_numbers(tmp_path / "file.json")
