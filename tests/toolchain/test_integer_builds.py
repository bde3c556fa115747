"""`mlship build --recipe int8`, whole: what is built, and how it is judged."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from converters.capture import capture, example
from converters.tflite.partitions import partitions
from model_defs import lookup
from model_defs.spec import TensorSpec
from tests import own_models
from tests.toolchain.manifests import resealed
from toolchain.bundle import bundle
from toolchain.cli.main import main
from toolchain.quantization import tolerance
from toolchain.recipes import pipeline, recipes

TARGETS = ("android", "ios")


def mlship(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("int8")
    (made / "net.py").write_text(own_models.tiny())
    asked = [option for target in TARGETS for option in ("--target", target)]
    spec = f"{made}/net.py:spec"
    result = mlship("build", spec, *asked, "--recipe", "int8", "--out", made / "dist")
    assert result.exit_code == 0, result.output
    return made


@pytest.mark.parametrize("target", TARGETS)
def test_a_bundle_computes_in_integers_and_passes(folder: Path, target: str) -> None:
    found = bundle.read(folder / "dist" / f"tiny-{target}")
    assert found.manifest.recipe.passes == ("fold-batchnorm", "int8", "weights-fp16")
    assert found.manifest.parity.ok
    assert [output.tolerance for output in found.outputs] == [0.01]  # two layers make little of it


def test_the_file_runs_in_one_partition(folder: Path) -> None:
    assert partitions(folder / "dist" / "tiny-android" / "tiny.tflite").fallen == ()


def test_parity_holds_it_to_the_same(folder: Path) -> None:
    result = mlship(
        *("parity", folder / "dist" / "tiny-android", "--backend", "litert"),
        *("--model", f"{folder}/net.py:spec", "--json"),
    )
    assert result.exit_code == 0, result.output


def test_parity_finds_a_file_with_another_bias(folder: Path, tmp_path: Path) -> None:
    liar = tmp_path / "tiny-android"
    shutil.copytree(folder / "dist" / "tiny-android", liar)
    shift_biases(liar / "tiny.tflite")
    resealed(liar)
    result = mlship(
        *("parity", liar, "--backend", "litert", "--model", f"{folder}/net.py:spec"),
    )
    assert result.exit_code == 1, result.output


STEPS = 5000


def shift_biases(path: Path) -> None:
    """Adds the same steps to all biases."""
    from ai_edge_litert import schema_py_generated as schema

    from converters.tflite.store import packed

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if tensor.type == schema.TensorType.INT32 and data is not None and tensor.quantization:
            codes = np.frombuffer(bytes(data), np.int32) + STEPS
            model.buffers[tensor.buffer].data = np.frombuffer(codes.tobytes(), np.uint8)
    path.write_bytes(packed(model))


SHADE = TensorSpec("shade", (1, 2), "map", tolerance=0.1)


def test_a_tolerance_is_twice_what_other_roundings_move_or_the_outputs_own() -> None:
    still = {"a": {"shade": np.zeros(2, np.float32)}}
    moved = {"a": {"shade": np.array([0.0, -0.3], np.float32)}}
    (wide,) = tolerance.widened([SHADE], still, moved)
    assert wide.tolerance == pytest.approx(0.6)
    assert tolerance.widened([SHADE], still, still) == (SHADE,)


def test_the_manifest_says_which_tolerances_are_wider() -> None:
    assert tolerance.notes([SHADE], [SHADE]) == ()
    (note,) = tolerance.notes([SHADE], [replace(SHADE, tolerance=0.6)])
    assert note.startswith("computes in integers: 'shade' is held to 0.6")
    assert note.endswith("not to 0.1")


def test_another_rounding_differs_by_few_steps_and_leaves_the_program(folder: Path) -> None:
    program = pipeline.run(
        capture(lookup.load(f"{folder}/net.py:spec")), recipes.find("int8").load()
    )
    inputs = example(program.spec)
    before = program.module(*inputs)
    other = tolerance.jittered(program).module(*inputs)
    assert torch.equal(program.module(*inputs), before)
    assert 0 < float((other - before).abs().max()) < 0.02
