"""A format is one package and one row: a toy is built, inspected, weighed, timed and compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from own_models import tiny

from benchmarks.measure.size import PACKINGS
from benchmarks.measure.timing.runtimes import RUNTIMES
from converters import formats
from converters.backends import BACKENDS
from converters.format import resolve
from converters.formats import FORMATS
from model_defs.errors import UnknownName
from toolchain.build.ship import LOADING
from toolchain.recipes.targets import TARGETS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

WITH_A_ROW = """
from converters.formats import FORMATS
from toy_format import TOY

FORMATS[TOY.name] = TOY  # the row, in place before anything is derived from the table

from toolchain.cli.main import main

main()
"""


def mlship(*arguments: object) -> str:
    """What a command prints that is run with the row; it has to succeed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITH_A_ROW, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, HERE)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model in the toy format, and one with a larger last convolution."""
    root = tmp_path_factory.mktemp("toy")
    wider = tiny().replace("nn.Conv2d(4, 1, 1)", "nn.Conv2d(4, 1, 5, padding=2)")
    built = []
    for name, text in (("net", tiny()), ("wider", wider)):
        (root / f"{name}.py").write_text(text)
        model, out = f"{root}/{name}.py:spec", root / name
        mlship("build", model, "--target", "server", "--recipe", "fp32", "--out", out)
        built.append(out / "tiny-server")
    return built[0], built[1]


def as_json(*arguments: object) -> Any:
    return json.loads(mlship(*arguments, "--json"))


def test_a_toy_is_built_and_inspected(bundles: tuple[Path, Path]) -> None:
    found = as_json("inspect", bundles[0])
    assert found["artifact"]["format"] == "toy"
    assert found["artifact"]["path"] == "tiny.onnx"
    verdicts = {row["verdict"] for row in found["parity"]["rows"]}
    assert verdicts == {"passed", "skipped"}  # a constant picture is no test of a map
    assert "partitions" not in found


def test_a_toy_is_weighed(bundles: tuple[Path, Path]) -> None:
    (found,) = as_json("size", bundles[0])
    assert found["wire"].keys() == {"gzip"}
    assert sum(found["kinds"].values()) == (bundles[0] / "tiny.onnx").stat().st_size
    assert {layer["name"] for layer in found["layers"]} >= {"out"}


def test_a_toy_is_timed(bundles: tuple[Path, Path]) -> None:
    assert "toy-1" in mlship("bench", bundles[0], "--runtime", "toy-1")


def test_a_toy_is_compared_with_pytorch(bundles: tuple[Path, Path]) -> None:
    (found,) = as_json("parity", bundles[0], "--backend", "toy-onnxruntime")
    rows = [row for row in found["rows"] if row["backend"] == "toy-onnxruntime"]
    assert rows
    assert {row["verdict"] for row in rows} == {"passed"}


def test_toys_are_told_apart(bundles: tuple[Path, Path]) -> None:
    (found,) = as_json("diff", *bundles)
    (largest, *_) = found["layer_bytes"]
    assert largest["layer"].startswith("out")


@pytest.mark.parametrize("name", FORMATS)
def test_everything_that_a_row_names_is_there(name: str) -> None:
    row = FORMATS[name]
    for function in (row.convert, row.preload, row.open_runner, row.prepare, row.contents):
        assert callable(resolve(function))
    for backend in row.backends:
        assert callable(resolve(backend.opener))
        assert callable(resolve(backend.needs))
        assert backend.watch is None or callable(resolve(backend.watch))
        assert BACKENDS[backend.name].format == name
    timed = resolve(row.runtimes)
    assert {runtime.format for runtime in timed} == {name}
    assert any(runtime.main for runtime in timed)
    assert set(timed) <= set(RUNTIMES.values())
    assert row.packings
    assert set(row.packings) <= PACKINGS.keys()
    assert all((LOADING / file).is_file() for file in row.loading)
    assert TARGETS[row.target].made is row


def test_an_unknown_format_is_said(tmp_path: Path) -> None:
    from benchmarks.measure import size
    from benchmarks.measure.timing.runtimes import main_of
    from converters.api import Artifact
    from converters.contents import contents
    from model_defs.errors import BackendUnavailable

    artifact = Artifact(tmp_path, "tflight", "float32", (), ())
    for ask in (contents, formats.open_runner, lambda found: size.measure(found, 1)):
        with pytest.raises(UnknownName, match="tflite"):
            ask(artifact)
    with pytest.raises(BackendUnavailable, match="tflight"):
        main_of("tflight")


def test_the_table_is_cheap() -> None:
    heavy = ("torch", "tensorflow", "coremltools", "onnx", "numpy")
    code = (
        "import sys\nimport toolchain.recipes.targets, converters.backends\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr
