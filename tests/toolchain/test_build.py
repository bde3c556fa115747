"""`mlship build`, whole: a model of a user's own on all targets, its cache, its failures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import load_file

from converters.api import Artifact, Export, Port, Runner, Tensors
from converters.processes.worker import Worker
from model_defs.errors import BadArtifact, CannotWrite, ConversionFailed, UnsupportedOperation
from model_defs.installation import FOLDER
from model_defs.pixels import save_picture
from toolchain.build import build, produce, ship
from toolchain.build.request import BuildRequest
from toolchain.bundle import bundle
from toolchain.bundle.home import cache_home
from toolchain.bundle.parity_report import ConstantsReport
from toolchain.cli.main import main
from toolchain.parity.constants import ComparedConstants
from toolchain.recipes import recipes, targets

TARGETS = ("ios", "android", "web")
ARTIFACTS = {"ios": "tiny.mlpackage", "android": "tiny.tflite", "web": "tiny.tfjs"}


def mlship(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def built_json(*arguments: object) -> Any:
    result = mlship("build", *arguments, "--json")
    return json.loads(result.stdout)


@pytest.fixture
def with_cache(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shared folder, its cache in use."""
    monkeypatch.setenv("MLSHIP_CACHE", str(shared / "cache"))
    return shared


def test_prints_a_table_of_artifact_size_and_parity(shared: Path) -> None:
    printed = (shared / "printed.txt").read_text()
    assert all(name in printed for name in ARTIFACTS.values())
    assert "FAILED" not in printed
    assert "12 passed, 3 skipped on litert" in printed or "15 passed on litert" in printed
    for question in ("accurate", "faithful", "unrounded"):
        assert f"{question}, worst " in printed


@pytest.mark.parametrize("target", TARGETS)
def test_the_bundle_is_complete(shared: Path, target: str) -> None:
    found = bundle.read(shared / "dist" / f"tiny-{target}")
    manifest = found.manifest
    assert (found.directory / ARTIFACTS[target]).exists()
    assert manifest.parity.ok is True
    recipe = manifest.recipe
    assert (recipe.name, recipe.passes) == (
        "fp16",
        ("fold-batchnorm", "fold-scales", "weights-fp16"),
    )
    assert (recipe.layers, recipe.keep) == ({}, {})
    before, folded, _, halved = recipe.pass_report
    assert [e.after for e in recipe.pass_report] == ["as trained", *recipe.passes]
    assert halved.bytes * 2 == folded.bytes <= before.bytes
    assert halved.macs == before.macs > 0
    assert before.moved == 0 < halved.moved
    assert manifest.artifact.precision == "float16"
    assert manifest.model.parameters == 125
    assert manifest.model.weights.kind == "untrained"
    assert found.inputs[0].preprocess is not None
    assert found.inputs[0].preprocess.colour == "RGB"
    assert manifest.tools["torch"].startswith("2.13.0")
    text = (found.directory / bundle.MANIFEST).read_text()
    assert str(shared) not in text


@pytest.mark.parametrize("target", TARGETS)
def test_ports_are_named_and_laid_out(shared: Path, target: str) -> None:
    artifact = bundle.read(shared / "dist" / f"tiny-{target}").artifact
    (image,), (shade,) = artifact.inputs, artifact.outputs
    assert (image.name, shade.name) == ("image", "shade")
    assert image.dtype == shade.dtype == "float32"
    first = (1, 3, 32, 48) if target == "ios" else (1, 32, 48, 3)
    last = (1, 1, 16, 24) if target == "ios" else (1, 16, 24, 1)
    assert (image.shape, shade.shape) == (first, last)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", ["photo", "noise"])
def test_golden_vectors_are_what_the_artifact_computes(
    shared: Path, target: str, case: str, tmp_path: Path
) -> None:
    golden = shared / "dist" / f"tiny-{target}" / "golden" / f"{case}.safetensors"
    tensors = load_file(golden)
    out = tmp_path / "out.safetensors"
    ran = mlship("run", shared / "dist" / f"tiny-{target}", golden, "-o", out)
    assert ran.exit_code == 0, ran.output
    np.testing.assert_allclose(load_file(out)["shade"], tensors["shade"], atol=0.01)


def test_the_same_picture_looks_the_same_from_every_bundle(shared: Path, tmp_path: Path) -> None:
    from toolchain.data.cases import PHOTO

    pictures = []
    for target in TARGETS:
        out = tmp_path / f"{target}.png"
        ran = mlship("run", shared / "dist" / f"tiny-{target}", PHOTO, "-o", out)
        assert ran.exit_code == 0, ran.output
        from model_defs.pixels import open_picture

        pictures.append(open_picture(out).astype(int))
    assert pictures[0].shape == (320, 320, 3)
    assert np.ptp(pictures[0]) > 0
    assert all(np.abs(p - pictures[0]).max() <= 3 for p in pictures)


@pytest.mark.parametrize("target", TARGETS)
def test_inspect_reads_what_build_wrote(shared: Path, target: str) -> None:
    path = shared / "dist" / f"tiny-{target}"
    shown = mlship("inspect", path)
    assert shown.exit_code == 0
    assert "untrained, seed 0" in shown.stdout
    assert "shade" in shown.stdout
    data = json.loads(mlship("inspect", path, "--json").stdout)
    assert data["digest"] == bundle.read(path).manifest.digest
    assert ("partitions" in data) == (target == "android")


def test_inspect_counts_the_partitions_and_names_what_fell_out(
    shared: Path, write_tiny: Callable[..., str], tmp_path: Path
) -> None:
    whole = shared / "dist" / "tiny-android"
    assert "1 partition; outside of them: nothing" in mlship("inspect", whole).stdout
    found = json.loads(mlship("inspect", whole, "--json").stdout)["partitions"]
    assert found == {"count": 1, "fallen": []}
    model = write_tiny(body="x * (x.argmax(1, keepdim=True).float() + 1)")
    assert built_json(model, "--target", "android", "--out", tmp_path)[0]["ok"]
    assert (
        "outside of them: 1 ARG_MAX, 1 CAST" in mlship("inspect", tmp_path / "tiny-android").stdout
    )


class TestVia:
    """`--via onnx2tf`: another lowering of the same network, judged by the same parity."""

    def test_onnx2tf_lowers_what_ours_does(self, with_cache: Path, tmp_path: Path) -> None:
        asked = (f"{with_cache}/net.py:spec", "--target", "web", "--out", tmp_path)
        (entry,) = built_json(*asked, "--via", "onnx2tf")
        assert (entry["ok"], entry["cached"]) == (True, False)
        theirs = bundle.read(tmp_path / "tiny-web").manifest
        ours = bundle.read(with_cache / "dist" / "tiny-web").manifest
        assert theirs.artifact.notes == ("written by onnx2tf 1.29.24: as asked",)
        assert ours.artifact.notes == ()
        assert theirs.digest != ours.digest

    def test_what_ours_refuses_goes_through_onnx2tf_with_the_reason(
        self, write_tiny: Callable[..., str], tmp_path: Path
    ) -> None:
        model = write_tiny(body="x + ((x * 9).int() ^ 5).float()")
        said: list[tuple[str, str]] = []
        asked = BuildRequest(
            (model,), targets.find(("android", "web")), recipes.find("fp16"), out=tmp_path
        )
        built = build.build(asked, lambda *stage: said.append(stage))
        assert [one.exit_code for one in built] == [0, 2]
        (note,) = bundle.read(tmp_path / "tiny-android").artifact.notes
        assert note == (
            "written by onnx2tf 1.29.24: BitwiseXor: not among the operations that we lower"
        )
        assert "TF.js does not have BitwiseXor" in str(built[1].error)
        assert "BitwiseXor" in mlship("inspect", tmp_path / "tiny-android").stdout
        # Both wait for one run of it, and say so; before any pass it is asked once more.
        waiting = [what for what, stage in said if stage.startswith("asking onnx2tf")]
        assert sorted(waiting) == ["tiny-android", "tiny-android", "tiny-web"]

    def test_onnx2tf_does_not_write_core_ml(
        self, write_tiny: Callable[..., str], tmp_path: Path
    ) -> None:
        result = mlship("build", write_tiny(), "--target", "all", "--via", "onnx2tf")
        assert result.exit_code == 2
        assert "onnx2tf does not write coreml" in result.stderr
        assert "--target android or --target web" in result.stderr


class TestCache:
    def test_a_second_build_is_answered_without_torch(self, with_cache: Path) -> None:
        code = (
            "import sys, time; start = time.perf_counter()\n"
            "from toolchain.cli.main import main\n"
            "try: main()\n"
            "except SystemExit as stop: code = stop.code\n"
            "heavy = [m for m in ('torch', 'tensorflow', 'coremltools') if m in sys.modules]\n"
            "print(code, heavy, file=sys.stderr)\n"
        )
        command = [sys.executable, "-c", code, "build", f"{with_cache}/net.py:spec"]
        command += ["--target", "all", "--out", str(with_cache / "dist"), "--json"]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=with_cache)
        assert ran.stderr.strip() == "0 []"
        assert [entry["cached"] for entry in json.loads(ran.stdout)] == [True] * 3

    def test_a_cached_bundle_can_be_written_elsewhere(
        self, with_cache: Path, tmp_path: Path
    ) -> None:
        asked = (f"{with_cache}/net.py:spec", "--target", "android", "--out", tmp_path)
        before = os.umask(0o027)
        try:
            assert built_json(*asked)[0]["cached"] is True
        finally:
            os.umask(before)
        modes = {
            (p.is_dir(), p.stat().st_mode & 0o777) for p in (tmp_path / "tiny-android").rglob("*")
        }
        assert modes == {(True, 0o750), (False, 0o640)}
        copy = bundle.read(tmp_path / "tiny-android").manifest
        assert copy == bundle.read(with_cache / "dist" / "tiny-android").manifest

    def test_a_hand_edited_bundle_is_left_until_it_is_removed(
        self, with_cache: Path, tmp_path: Path
    ) -> None:
        asked = (f"{with_cache}/net.py:spec", "--target", "android", "--out", tmp_path)
        built_json(*asked)
        artifact = tmp_path / "tiny-android" / "tiny.tflite"
        artifact.write_bytes(artifact.read_bytes()[:-4])
        assert mlship("inspect", tmp_path / "tiny-android").exit_code == 2
        assert (
            "changed after the build is in the way: tiny.tflite"
            in built_json(*asked)["error"]["what"]
        )
        assert mlship("inspect", tmp_path / "tiny-android").exit_code == 2
        shutil.rmtree(tmp_path / "tiny-android")
        assert built_json(*asked)[0]["ok"] is True
        assert mlship("inspect", tmp_path / "tiny-android").exit_code == 0

    def test_a_corrupt_entry_is_built_again(self, with_cache: Path, tmp_path: Path) -> None:
        for model in cache_home().glob("objects/*/tiny.tflite"):
            model.write_bytes(b"rubbish")
        asked = (f"{with_cache}/net.py:spec", "--target", "android", "--out", tmp_path)
        assert built_json(*asked)[0]["cached"] is False
        assert built_json(*asked)[0]["cached"] is True

    def test_a_changed_model_is_built_again(
        self, with_cache: Path, write_tiny: Callable[..., str], tmp_path: Path
    ) -> None:
        asked = (write_tiny(body="x * 0.5"), "--target", "android", "--out", tmp_path)
        assert built_json(*asked)[0]["cached"] is False
        assert built_json(*asked)[0]["cached"] is True
        assert built_json(write_tiny(body="x * 0.25"), *asked[1:])[0]["cached"] is False


class LyingRunner:
    """A backend whose outputs are far from PyTorch's."""

    backend = "liar"

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        return {"shade": np.random.default_rng(0).random((1, 1, 16, 24)).astype(np.float32)}

    def close(self) -> None:
        """Nothing to free."""


@pytest.fixture
def without_converter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that write a file at once: these tests are about what happens around them."""

    def start(self: Worker, name: str) -> None:
        self.format = name

    def convert(self: Worker, export: Export, directory: Path, *_: object) -> Artifact:
        (directory / "model.bin").write_bytes(b"weights")
        inputs, outputs = (
            tuple(Port.of(spec, channels_last=False) for spec in specs)
            for specs in (export.inputs, export.outputs)
        )
        return Artifact(directory / "model.bin", self.format, "float16", inputs, outputs)

    monkeypatch.setattr(Worker, "__init__", start)
    monkeypatch.setattr(Worker, "__exit__", lambda *arguments: None)
    monkeypatch.setattr(Worker, "convert", convert)
    nothing = ComparedConstants(ConstantsReport(0, 0))
    monkeypatch.setattr("toolchain.parity.constants.compare", lambda *arguments: nothing)


@pytest.mark.usefixtures("without_converter")
class TestFailedParity:
    @pytest.fixture(autouse=True)
    def _liar(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("converters.formats.open_runner", lambda artifact: LyingRunner())

    def test_exits_1_and_says_where_and_how_far(
        self, write_tiny: Callable[..., str], tmp_path: Path
    ) -> None:
        result = mlship("build", write_tiny(), "--target", "android", "--out", tmp_path / "dist")
        assert result.exit_code == 1
        assert "tiny-android is not equal to PyTorch" in result.stderr
        assert "liar: 'shade' on case 'photo': off by" in result.stderr
        assert "expected" in result.stderr
        assert not list((tmp_path / "dist").iterdir())

    def test_the_old_bundle_stays(self, write_tiny: Callable[..., str], shared: Path) -> None:
        old = bundle.read(shared / "dist" / "tiny-android").manifest
        asked = (write_tiny(body="x * 2"), "--target", "android", "--out", shared / "dist")
        (entry,) = built_json(*asked)
        assert (entry["ok"], entry["bundle"]) == (False, None)
        assert "off by" in entry["problems"][0]
        assert bundle.read(shared / "dist" / "tiny-android").manifest == old

    def test_a_failure_is_not_cached(self, write_tiny: Callable[..., str], tmp_path: Path) -> None:
        asked = (write_tiny(), "--target", "android", "--out", tmp_path / "dist")
        assert mlship("build", *asked).exit_code == 1
        assert mlship("build", *asked).exit_code == 1


def test_a_file_of_ours_that_does_not_run_is_no_fault_of_the_input(
    write_tiny: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from converters import formats

    def refuse(artifact: Artifact) -> Runner:
        raise BadArtifact("the model is truncated")

    monkeypatch.setattr(formats, "open_runner", refuse)
    result = mlship("build", write_tiny(), "--target", "android", "--out", tmp_path / "dist")
    assert result.exit_code == 4
    assert "the tflite converter wrote what does not run: the model is truncated" in result.stderr


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("dept", "--target", "ios"), "did you mean 'depth'"),
            (("depth", "--target", "andriod"), "did you mean 'android'"),
            (("depth", "--target", "ios", "--recipe", "fp61"), "did you mean 'fp16'"),
            (("depth", "--target", "ios", "--weights", "none.pt"), "no such weights file"),
            (("net.py", "--target", "ios"), "path/to/file.py:spec"),
            (("depth", "--all", "--target", "ios"), "either MODEL or --all"),
        ],
    )
    def test_exits_2_and_names_the_nearest(
        self, arguments: tuple[str, ...], message: str, tmp_path: Path
    ) -> None:
        result = mlship("build", *arguments, "--out", tmp_path / "dist")
        assert result.exit_code == 2
        assert message in result.stderr
        assert "Traceback" not in result.output
        assert not (tmp_path / "dist").exists()

    def test_errors_are_json_where_asked(self) -> None:
        answer = built_json("dept", "--target", "ios")
        assert answer["ok"] is False
        assert answer["error"]["kind"] == "UnknownName"

    @pytest.mark.usefixtures("without_converter")
    def test_a_file_in_the_way_is_left_alone(
        self, write_tiny: Callable[..., str], tmp_path: Path
    ) -> None:
        (tmp_path / "tiny-android").write_text("mine")
        result = mlship("build", write_tiny(), "--target", "android", "--out", tmp_path)
        assert result.exit_code == 2
        assert "in the way" in result.stderr
        assert (tmp_path / "tiny-android").read_text() == "mine"

    def test_an_operation_that_no_phone_has_is_named_with_its_line(
        self, write_tiny: Callable[..., str], tmp_path: Path
    ) -> None:
        model = write_tiny(body="x.cummax(1).values")
        result = mlship("build", model, "--target", "android", "--out", tmp_path / "dist")
        assert result.exit_code == 2
        assert "operation cummax cannot be exported" in result.stderr
        assert "net.py:" in result.stderr

    @pytest.mark.parametrize("arguments", [("run", "none", "x.jpg", "-o", "y.png")])
    def test_a_missing_bundle(self, arguments: tuple[str, ...]) -> None:
        result = mlship(*arguments)
        assert result.exit_code == 2
        assert "no bundle here" in result.stderr

    def test_a_missing_picture(self, shared: Path) -> None:
        result = mlship("run", shared / "dist" / "tiny-android", "none.jpg", "-o", "y.png")
        assert result.exit_code == 2
        assert "no such picture" in result.stderr

    def test_an_unknown_picture_format(self, shared: Path, tmp_path: Path) -> None:
        save_picture(tmp_path / "x.png", np.zeros((4, 4, 3), np.uint8))
        result = mlship(
            "run", shared / "dist" / "tiny-android", tmp_path / "x.png", "-o", tmp_path / "y.xyz"
        )
        assert result.exit_code == 2
        assert ".png" in result.stderr


LATER = """
import datetime, time
seconds = time.time
time.time = lambda: seconds() + 40 * 86400.0

class Later(datetime.date):
    @classmethod
    def today(cls):
        return super().today() + datetime.timedelta(days=40)

datetime.date = Later
"""


def test_another_day_and_folder_give_the_same_bytes(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(LATER)
    model = tmp_path / "elsewhere" / "net.py"
    model.parent.mkdir()
    model.write_text((shared / "net.py").read_text())
    command = [
        sys.executable,
        "-m",
        "toolchain.cli.main",
        "build",
        f"{model}:spec",
        "--target",
        "all",
    ]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(FOLDER)]),
        "HOME": str(tmp_path),
        "MLSHIP_CACHE": str(tmp_path / "cache"),
    }
    out = tmp_path / "dist"
    ran = subprocess.run(
        [*command, "--out", str(out)], cwd=model.parent, env=environment, capture_output=True
    )
    assert ran.returncode == 0, ran.stderr
    for target in TARGETS:
        first = bundle.read(shared / "dist" / f"tiny-{target}").manifest
        second = bundle.read(out / f"tiny-{target}").manifest
        assert first.files == second.files
        assert first.digest == second.digest


def test_several_models_are_built_though_one_fails(
    write_tiny: Callable[..., str], shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSHIP_CACHE", str(shared / "cache"))
    from toolchain.recipes import recipes, targets

    bad = write_tiny(body="x.no_such_method()", name="bad.py")
    names = (bad, f"{shared}/net.py:spec")
    android, fp16 = targets.find(("android",)), recipes.find("fp16")
    found = build.build(BuildRequest(names, android, fp16, out=tmp_path / "dist"))
    assert [b.exit_code for b in found] == [2, 0]
    assert "no_such_method" in str(found[0].error)


def test_a_specification_in_memory_gives_the_bytes_of_its_name(
    with_cache: Path, tmp_path: Path
) -> None:
    from model_defs import lookup
    from toolchain.recipes import recipes, targets

    spec = lookup.load(f"{with_cache}/net.py:spec")
    everywhere, fp16 = targets.find(("all",)), recipes.find("fp16")
    request = BuildRequest((spec,), everywhere, fp16, out=tmp_path / "dist")
    named = {t: bundle.read(with_cache / "dist" / f"tiny-{t}").manifest.files for t in TARGETS}
    for again in (False, True):
        built = build.build(request)
        assert [(one.exit_code, one.cached) for one in built] == [(0, again)] * 3
        for one in built:
            assert one.bundle is not None
            assert one.bundle.manifest.files == named[one.target]
            assert one.bundle.manifest.model.weights.kind == "module"


def test_a_converter_that_cannot_write_says_so(shared: Path, tmp_path: Path) -> None:
    from converters.capture import capture
    from converters.export import export
    from model_defs import lookup

    exported = export(capture(lookup.load(f"{shared}/net.py:spec")), tmp_path / "export")
    (tmp_path / "file").write_text("a file, not a folder")
    for name in ("coreml", "tflite", "tfjs"):
        with Worker(name) as worker, pytest.raises(CannotWrite):
            worker.convert(exported, tmp_path / "file")


def test_a_crash_of_a_converter_is_an_error_message(tmp_path: Path) -> None:
    with Worker("tflite") as worker:
        worker._loaded._process.kill()
        with pytest.raises(ConversionFailed, match="ended by signal 9"):
            worker.convert(Export(tmp_path, (), (), "float32"), tmp_path)


def test_a_worker_converts_one_export_after_the_other(shared: Path, tmp_path: Path) -> None:
    from converters.capture import capture
    from converters.export import export
    from model_defs import lookup

    exported = export(capture(lookup.load(f"{shared}/net.py:spec")), tmp_path / "export")
    folders = tmp_path / "first", tmp_path / "again"
    with Worker("tflite") as worker:
        for folder in folders:
            folder.mkdir()
            worker.convert(exported, folder)
    (one,), (other,) = (list(folder.iterdir()) for folder in folders)
    assert one.read_bytes() == other.read_bytes()


def test_what_onnx_cannot_hold_leaves_core_ml_alone(
    write_tiny: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from converters import export as exporting

    export = exporting.export_each

    def refusing(*arguments: Any) -> Export:
        refusal = UnsupportedOperation("frobnicate cannot be exported", where="net.py:7")
        return replace(export(*arguments), refused={"onnx": refusal})

    monkeypatch.setattr(exporting, "export_each", refusing)
    out = tmp_path / "dist"
    result = mlship("build", write_tiny(), "--target", "all", "--out", out)
    assert result.exit_code == 2
    assert [path.name for path in out.glob("tiny-*")] == ["tiny-ios"]
    rows = [line.split() for line in result.stdout.splitlines() if "not built" in line]
    assert [row[0] for row in rows] == ["tiny-android", "tiny-web"]
    for target in ("android", "web"):
        assert f"tiny-{target}: error: frobnicate cannot be exported" in result.stderr
    assert result.stderr.count("net.py:7") == 2


def test_what_nobody_foresaw_on_one_target_leaves_the_others_alone(
    write_tiny: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove = produce.prove

    def falling_over(artifact: Artifact, prepared: Any) -> Any:
        if artifact.format == "tflite":
            raise ZeroDivisionError("nobody foresaw it")
        return prove(artifact, prepared)

    monkeypatch.setattr(produce, "prove", falling_over)
    asked = ("build", write_tiny(), "--target", "ios", "--target", "android")
    result = mlship(*asked, "--out", tmp_path / "dist")
    assert result.exit_code == 4
    assert (tmp_path / "dist" / "tiny-ios").is_dir()
    assert "Traceback" in result.stderr
    assert "tiny-android: " in result.stderr
    assert "error: ZeroDivisionError: nobody foresaw it" in result.stderr


class TestCheckpoints:
    """`--weights` with what trainings leave behind, through the command and the function."""

    @pytest.fixture
    def model(self, write_tiny: Callable[..., str]) -> str:
        return write_tiny()

    def checkpoint(self, model: str, path: Path, **more: object) -> dict[str, Any]:
        import torch

        from model_defs import lookup

        torch.manual_seed(7)
        state = lookup.load(lookup.expand(model)[0]).build().state_dict()
        below = {f"model.{name}": tensor for name, tensor in state.items()}
        torch.save({"epoch": 3, "state_dict": below, **more}, path)
        return state

    def test_lightning_s_is_built_and_what_was_taken_is_said(
        self, model: str, tmp_path: Path
    ) -> None:
        import mlship as api

        state = self.checkpoint(model, tmp_path / "last.ckpt")
        asked = (model, "--target", "ios", "--recipe", "fp32", "--out", tmp_path / "a")
        result = mlship("build", *asked, "--weights", tmp_path / "last.ckpt")
        assert result.exit_code == 0, result.output
        assert "note: weights: 'state_dict' of the file was taken" in result.stdout
        assert "note: weights: what is below model. was taken" in result.stdout
        named = {"recipe": "fp32", "out": tmp_path / "b", "weights": tmp_path / "last.ckpt"}
        (built,) = api.convert(model, targets="ios", **named)
        assert built.shipped().manifest.files == bundle.read(tmp_path / "a/tiny-ios").manifest.files
        from safetensors.torch import save_file

        save_file(state, tmp_path / "plain.safetensors")
        named |= {"out": tmp_path / "c", "weights": tmp_path / "plain.safetensors"}
        (plain,) = api.convert(model, targets="ios", **named)
        assert plain.shipped().manifest.files == built.shipped().manifest.files

    def test_pickled_objects_are_read_where_they_are_trusted(
        self, model: str, tmp_path: Path
    ) -> None:
        from argparse import Namespace

        self.checkpoint(model, tmp_path / "last.ckpt", hyper_parameters=Namespace(lr=1))
        asked = ("build", model, "--target", "ios", "--weights", tmp_path / "last.ckpt")
        result = mlship(*asked, "--out", tmp_path)
        assert result.exit_code == 2
        assert "pickled objects beside tensors: argparse.Namespace" in result.stderr
        assert "--trust-pickle" in result.stderr
        assert "Traceback" not in result.stderr
        assert mlship(*asked, "--trust-pickle", "--out", tmp_path).exit_code == 0


def test_a_killed_build_leaves_the_old_bundle(shared: Path, write_tiny: Callable[..., str]) -> None:
    old = bundle.read(shared / "dist" / "tiny-ios").manifest
    model = write_tiny(body="x * 3")
    command = [sys.executable, "-m", "toolchain.cli.main", "build", model, "--target", "ios"]
    process = subprocess.Popen([*command, "--out", str(shared / "dist")], cwd=FOLDER)
    deadline = time.monotonic() + 120
    while not list((shared / "dist").glob(".tiny-ios.*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert bundle.read(shared / "dist" / "tiny-ios").manifest == old
    with bundle.staging(shared / "dist" / "tiny-ios"):
        pass
    assert not list((shared / "dist").glob(".tiny-ios.*"))


def test_the_golden_cases_exist() -> None:
    from toolchain.data.cases import CASES

    assert set(ship.GOLDEN) <= set(CASES)


@pytest.mark.parametrize(("target", "format"), [("ios", "coreml"), ("android", "tflite")])
def test_a_recipe_that_a_target_cannot_store_is_refused_with_the_nearest(
    target: str, format: str
) -> None:
    result = mlship("build", "depth", "--target", target, "--recipe", "uint8")
    assert result.exit_code == 2
    assert f"{format} does not store uint8 weights" in result.stderr
    assert "--recipe weights-int8, the nearest" in result.stderr
    assert "--target web" in result.stderr
