"""Weighing: every byte is counted once, by layer, and duplicates are seen."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from own_models import tiny

from benchmarks.measure.size import SPEEDS, SizeRow, layer_of, measure
from converters.api import Artifact
from converters.contents import Item, contents, disk_bytes
from toolchain.bundle import bundle
from toolchain.cli.main import main

TARGETS = ("ios", "android", "web")


def artifact_of(shared: Path, target: str) -> Artifact:
    found = bundle.read(shared / "dist" / f"tiny-{target}")
    return found.artifact


@pytest.mark.parametrize("target", TARGETS)
def test_every_byte_is_counted_once(shared: Path, target: str) -> None:
    artifact = artifact_of(shared, target)
    items = contents(artifact)
    assert sum(item.bytes for item in items) == disk_bytes(artifact.path)
    assert all(item.bytes >= 0 for item in items)


@pytest.mark.parametrize("target", TARGETS)
def test_the_kernel_is_found_by_name_and_size(shared: Path, target: str) -> None:
    items = contents(artifact_of(shared, target))
    kernels = [i for i in items if i.kind == "weights" and i.bytes == 4 * 3 * 3 * 3 * 2]
    assert len(kernels) == 1
    assert "conv" in kernels[0].name.lower()
    assert kernels[0].dtype in ("fp16", "float16")


@pytest.mark.parametrize("target", TARGETS)
def test_the_wire_is_what_the_platform_ships(shared: Path, target: str) -> None:
    artifact = artifact_of(shared, target)
    row = measure(artifact, 125)
    assert list(row.wire) == (["brotli", "gzip"] if target == "web" else ["zip"])
    assert 0 < row.shipped < row.disk
    assert row.ideal == 250
    assert row.seconds("4G") == pytest.approx(row.shipped * 8 / SPEEDS["4G"])


def test_the_zip_is_what_the_zip_tool_makes(shared: Path, tmp_path: Path) -> None:
    artifact = artifact_of(shared, "android")
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        archive.write(artifact.path, artifact.path.name)
    assert measure(artifact, 125).wire["zip"] == path.stat().st_size


def row_of(*items: Item) -> SizeRow:
    return SizeRow(100, {"zip": 50}, 80, items)


def tensor(name: str, digest: str, count: int = 2000) -> Item:
    return Item(name, "weights", count, "float32", (count // 4,), digest)


def test_a_tensor_stored_twice_is_a_duplicate() -> None:
    row = row_of(tensor("a/x/w", "1"), tensor("a/y/w", "1"), tensor("a/z/w", "2"))
    ((first, second),) = row.duplicates
    assert (first.name, second.name) == ("a/x/w", "a/y/w")


def test_small_tensors_and_the_graph_are_no_duplicates() -> None:
    graph = Item("graph", "graph", 5000)
    assert row_of(tensor("a/x/w", "1", 40), tensor("a/y/w", "1", 40), graph, graph).duplicates == ()


def test_layers_are_summed_and_ordered() -> None:
    row = row_of(tensor("Net/a/w", "1"), tensor("Net/b/w", "2", 9000), tensor("Net/a/b", "3"))
    assert [(layer.name, layer.bytes) for layer in row.layers] == [("b", 9000), ("a", 4000)]


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("Net/stage32/1/Conv/Const", "stage32/1/Conv"),
        ("stage32_1_weight_to_fp16", "stage32_1"),
        ("conv_bias", "conv"),
        ("conv_weight_to_fp16_quantized", "conv"),
        ("a.b_weight_integers_0", "a.b"),
        ("sparse_weight_to_fp16_sparse", "sparse"),
        ("alone", "alone"),
    ],
)
def test_layers_are_named_from_the_formats_names(name: str, layer: str) -> None:
    assert layer_of(name) == layer


class TestCommand:
    def run(self, *arguments: object) -> Any:
        return CliRunner().invoke(main, ["size", *(str(a) for a in arguments)])

    def test_shows_bundles_and_layers(self, shared: Path) -> None:
        result = self.run(*(shared / "dist" / f"tiny-{t}" for t in TARGETS))
        assert result.exit_code == 0, result.output
        assert "tiny for web" in result.stdout
        assert "brotli" in result.stdout

    def test_json_has_every_layer(self, shared: Path) -> None:
        result = self.run(shared / "dist" / "tiny-ios", "--json")
        (row,) = json.loads(result.stdout)
        assert row["disk"] == sum(row["kinds"].values())
        assert row["layers"]

    def test_writes_a_page_without_outside_references(self, shared: Path, tmp_path: Path) -> None:
        page = tmp_path / "size.html"
        result = self.run(shared / "dist" / "tiny-web", "--html", page)
        assert result.exit_code == 0
        text = page.read_text()
        assert text.count("<rect ") >= 3
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")

    def test_a_damaged_bundle_is_refused(self, shared: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(shared / "dist" / "tiny-android", tmp_path / "copy")
        (copy / "tiny.tflite").write_bytes(b"rubbish")
        assert self.run(copy).exit_code == 2


def test_a_model_is_built_and_weighed(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(tiny())
    command = ["size", f"{tmp_path}/net.py:spec", "--target", "android", "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert row["bundle"] == "tiny-android"
    assert row["kinds"]["weights"] > 0


def test_a_model_that_cannot_be_built_is_not_weighed(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(tiny("nothing"))
    result = CliRunner().invoke(main, ["size", f"{tmp_path}/net.py:spec", "--target", "android"])
    assert result.exit_code == 2
    assert "nothing" in result.stderr


@pytest.mark.parametrize(("target", "name"), [("ios", "Manifest.json"), ("android", None)])
def test_what_nothing_computes_with_is_metadata(
    shared: Path, target: str, name: str | None
) -> None:
    items = [i for i in contents(artifact_of(shared, target)) if i.kind == "metadata"]
    assert all(item.bytes > 0 for item in items)
    assert name is None or [item.name for item in items] == [name]
