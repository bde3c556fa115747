"""Bundles with state, for all targets: each step fed with what the file put out at the last."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

import mlship
from converters.api import Tensors
from converters.export import export
from converters.reference import ReferenceRunner
from converters.tfjs.runner import NODE
from mlship import ModelSpec, Postprocess
from model_defs.pixels import open_picture
from tests.toolchain.manifests import resealed
from tests.toolchain.projects import mlship as cli
from tests.toolchain.stateful import CELL, GRU, PLANE, ConvGRU, program_of
from tests.toolchain.test_loading import ask, encoded
from toolchain.build.request import Built
from toolchain.data import cases, sequences
from toolchain.data.trunks import Trunks
from toolchain.parity.subject import Subject, Subjects, golden
from toolchain.recipes import recipes, targets

TARGETS = ("ios", "android", "web")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """Bundles of both, by their folders' names; recipe fp16, or fp32 of the cell."""
    out = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSHIP_CACHE", str(out / "cache"))
        found = mlship.build(GRU, targets="all", out=out)
        found += mlship.build(CELL, targets="all", recipe="fp32", out=out)
    for one in found:
        assert one.ok, one.problems or one.error
    return {f"{one.model}-{one.target}": one for one in found}


def test_every_file_passes_each_step_and_keeps_to_pytorch_s_sequence(
    built: dict[str, Built],
) -> None:
    for name, one in built.items():
        rows = one.report.rows if one.report else ()
        steps = {row.case for row in rows if row.verdict == "passed"}
        assert {f"noise-step-{n}" for n in (1, 2, 3, 4)} <= steps, name
        if name.startswith("gru"):
            assert {f"photo-step-{n}" for n in (1, 2, 3, 4)} <= steps, name


def test_a_manifest_says_the_state_and_a_bundle_has_two_golden_steps(
    built: dict[str, Built],
) -> None:
    for name, one in built.items():
        bundle = one.shipped()
        assert bundle.state == (GRU if name.startswith("gru") else CELL).state
        inputs, expected = golden(bundle)
        steps = [f"{case}-step-{n}" for case in ("photo", "noise") for n in (1, 2)]
        assert [*inputs] == steps
        for taken, made in bundle.state.items():
            assert not inputs["noise-step-1"][taken].any()
            np.testing.assert_array_equal(
                inputs["noise-step-2"][taken], expected["noise-step-1"][made]
            )


def lying(bundle: Path, forward: Callable[..., Any], out: Path) -> Path:
    """A copy of a bundle of GRU for Android whose file computes something else."""

    class Liar(ConvGRU):
        def forward(self, image: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
            found: tuple[Tensor, Tensor] = forward(super().forward, image, hidden)
            return found

    (one,) = mlship.build(replace(GRU, build=Liar, state={}), targets="android", out=out / "liar")
    folder = Path(shutil.copytree(bundle, out / "gru-android"))
    artifact = one.shipped().artifact.path
    shutil.copy(artifact, folder / artifact.name)
    return resealed(folder)


LIES: dict[str, tuple[Callable[..., Any], str, str]] = {
    "state is zeros": (
        lambda net, image, hidden: net(image, hidden * 0),
        "photo-step-2",
        "step 2: the file ignores its state: 'hidden' (what 'hidden_out' was at step 1)",
    ),
    "state is transposed": (
        lambda net, image, hidden: net(image, hidden.transpose(2, 3).contiguous()),
        "photo-step-2",
        "step 2: with PyTorch's state of step 1 it fails as well: wrong at this step",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_with_a_wrong_state_passes_step_1_and_fails_at_step_2(
    built: dict[str, Built], tmp_path: Path, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path / "cache"))
    forward, where, said = LIES[lie]
    folder = lying(built["gru-android"].shipped().directory, forward, tmp_path)
    ran = mlship.parity(folder, model=GRU, backends=("litert",))
    (outcome,) = ran.outcomes
    rows = [row for row in outcome.report.rows if row.backend == "litert"]
    assert all(row.verdict != "failed" for row in rows if row.case.endswith("step-1"))
    assert outcome.report.failed_cases[0] == where
    assert any(said in problem for problem in outcome.report.problems)
    assert ran.exit_code == 1


def test_a_bundle_of_another_state_is_not_this_model(
    built: dict[str, Built], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(built["cell-web"].shipped().directory, tmp_path / "cell-web"))
    resealed(folder, lambda data: data.update(state={"h": "c_out", "c": "h_out"}))
    with pytest.raises(mlship.BadBundle, match="c_out -> h, h_out -> c, cell h_out -> h"):
        mlship.parity(folder, model=CELL)


def test_golden_steps_stand_in_for_a_model_that_is_not_known(built: dict[str, Built]) -> None:
    (outcome,) = mlship.parity(built["cell-android"].shipped(), backends=("litert",)).outcomes
    assert outcome.subject.reference.state == CELL.state
    assert {row.case for row in outcome.report.rows} >= {"noise-step-1", "noise-step-2"}
    assert outcome.report.ok, outcome.report.problems


def test_results_recorded_over_steps_are_compared_elsewhere(
    built: dict[str, Built], tmp_path: Path
) -> None:
    from toolchain.build import judge
    from toolchain.build.on_demand import Wanted
    from toolchain.parity.harness import BackendChoice

    folder = str(built["cell-android"].shipped().directory)
    wanted = Wanted(targets.find(("android",)), recipes.find("fp32"), model=CELL)
    record = tmp_path / "a.record"
    choice = BackendChoice(("litert",), keep=True)
    assert judge.run([folder], wanted, choice, record=record).exit_code == 0
    ran = judge.run([folder], wanted, BackendChoice(("litert",)), against=record)
    rows = [row for row in ran.outcomes[0].report.rows if "@" in row.backend]
    assert {row.case for row in rows} >= {"noise-step-1", "noise-step-4"}
    assert ran.exit_code == 0


def test_blame_looks_at_a_step_that_has_a_past(built: dict[str, Built]) -> None:
    subject: Subject = Subjects(None, None, "").of(built["gru-android"].shipped(), GRU)
    assert [*subject.inputs] == ["photo-step-2"]
    assert subject.inputs["photo-step-2"]["hidden"].any()


# In apps -------------------------------------------------------------------------------------


def steps_for(spec: ModelSpec, count: int = 4) -> tuple[list[Tensors], list[Tensors]]:
    """What an app feeds at each step, and PyTorch's outputs."""
    given, made = sequences.unrolled(program_of(spec), Trunks.of(spec).build_cases(("noise",)))
    fed = [{n: x for n, x in one.items() if n not in spec.state} for one in given.values()]
    return fed[:count], [*made.values()][:count]


def in_node(folder: Path, fed: list[Tensors], **more: Any) -> dict[str, Any]:
    steps = [
        {name: {"shape": x.shape, "data": encoded(x)} for name, x in one.items()} for one in fed
    ]
    job = {"command": "steps", "node": str(NODE), "bundle": str(folder), "steps": steps, **more}
    (answer,) = ask([job], folder / "mlship.mjs")
    assert "value" in answer, answer
    return dict(answer["value"])


@pytest.mark.parametrize("spec", [GRU, CELL], ids=["gru", "cell"])
def test_the_web_s_loading_code_remembers_and_leaks_nothing(
    built: dict[str, Built], spec: ModelSpec
) -> None:
    fed, wanted = steps_for(spec)
    answer = in_node(built[f"{spec.name}-web"].shipped().directory, fed)
    for got, want in zip(answer["found"], wanted, strict=True):
        for name, values in want.items():
            assert np.abs(np.array(got[name]) - values.ravel()).max() <= 0.01, name
    assert answer["again"] == answer["found"][0] != answer["found"][1]
    assert "is missing" in answer["refused"]
    loaded, *after = answer["counts"]
    # The states, and nothing else, outlive a call; nothing outlives reset() and dispose().
    held = loaded + len(spec.state)
    assert after == [held] * 5 + [loaded]
    assert answer["left"] == 0


def test_state_that_is_not_wanted_is_not_read_back(built: dict[str, Built]) -> None:
    fed, wanted = steps_for(GRU)
    folder = built["gru-web"].shipped().directory
    answer = in_node(folder, fed, wanted=["matte"])
    assert [[*one] for one in answer["found"]] == [["matte"]] * 4
    last = np.array(answer["found"][3]["matte"])
    assert np.abs(last - wanted[3]["matte"].ravel()).max() <= 0.01
    with pytest.raises(AssertionError, match="there is no output 'mate'"):
        in_node(folder, fed, wanted=["mate"])


def test_state_changes_its_layout_where_the_input_has_another(
    built: dict[str, Built], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(built["gru-web"].shipped().directory, tmp_path / "gru-web"))
    manifest = json.loads((folder / "manifest.json").read_text())
    (port,) = (p for p in manifest["artifact"]["outputs"] if p["name"] == "hidden_out")
    assert port["axes"] == [0, 2, 3, 1]
    port["axes"] = [0, 3, 2, 1]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    fed, _ = steps_for(GRU, 2)
    run = ReferenceRunner(program_of(GRU)).run
    hidden = run({**fed[0], "hidden": np.zeros(PLANE, np.float32)})["hidden_out"]
    turned = np.ascontiguousarray(hidden.transpose(0, 1, 3, 2))
    want = run({**fed[1], "hidden": turned})["matte"]
    got = in_node(folder, fed)["found"][1]["matte"]
    assert np.abs(np.array(got) - want.ravel()).max() <= 0.01


@pytest.mark.parametrize("target", TARGETS)
def test_a_loaded_bundle_remembers_until_it_is_reset(built: dict[str, Built], target: str) -> None:
    fed, wanted = steps_for(GRU)
    with mlship.load(built[f"gru-{target}"]) as model:
        found = [model.run(one) for one in fed]
        for got, want in zip(found, wanted, strict=True):
            assert np.abs(got["matte"] - want["matte"]).max() <= 0.01
        model.reset()
        np.testing.assert_array_equal(model.run(fed[0])["matte"], found[0]["matte"])
        own = {**fed[1], "hidden": wanted[0]["hidden_out"]}
        assert np.abs(model.run(own)["matte"] - wanted[1]["matte"]).max() <= 0.01
        with pytest.raises(mlship.BadPicture, match="'image' is missing"):
            model.run({"hidden": wanted[0]["hidden_out"]})


def test_run_takes_a_folder_of_frames(built: dict[str, Built], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(built["gru-android"].shipped().directory, tmp_path / "gru"))
    rule = asdict(Postprocess())
    resealed(folder, lambda data: data["outputs"][0].update(postprocess=rule))
    frames = tmp_path / "frames"
    frames.mkdir()
    for name in ("2.png", "1.png", "3.png"):
        shutil.copy(cases.PHOTO, frames / name)
    result = cli("run", folder, frames, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["pictures"] == 3
    shown = [open_picture(tmp_path / "out" / f"{n}.png") for n in (1, 2, 3)]
    cli("run", folder, frames / "2.png", "-o", tmp_path / "alone.png")
    np.testing.assert_array_equal(open_picture(tmp_path / "alone.png"), shown[0])
    assert not np.array_equal(shown[0], shown[1])
    assert not np.array_equal(shown[1], shown[2])
    refused = cli("run", folder, frames, "-o", tmp_path / "out.png")
    assert refused.exit_code == 2
    assert "becomes a folder" in refused.output


def test_the_state_of_a_file_is_said_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path / "cache"))
    model = shutil.copy(export(program_of(CELL), tmp_path / "made").onnx, tmp_path / "net.onnx")
    how = ("--recipe", "fp32", "--out", tmp_path / "dist", "--json")
    for wrong, said in (("h", "'h' is no state"), ("h=x", "there is no output 'x'")):
        refused = cli("build", model, "--target", "android", "--state", wrong, *how)
        assert refused.exit_code == 2
        assert said in refused.output
    state = ("--state", "h=h_out", "--state", "c=c_out")
    result = cli("build", model, "--target", "android", *state, *how)
    assert result.exit_code == 0, result.output
    (folder,) = (tmp_path / "dist").iterdir()
    ran = mlship.parity(folder, model=str(model), backends=("litert",))
    assert ran.exit_code == 0
    assert ran.outcomes[0].subject.bundle.state == CELL.state
    assert "noise-step-4" in {row.case for row in ran.outcomes[0].report.rows}


def test_each_size_has_a_state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path / "cache"))
    sizes = ((16, 16), (24, 32))
    spec = replace(GRU, inputs=tuple(replace(one, sizes=sizes) for one in GRU.inputs))
    (one,) = mlship.build(spec, targets="android", out=tmp_path)
    assert one.ok, one.problems or one.error
    assert {"photo-step-4", "photo-step-4 at 24x32"} <= {row.case for row in one.report.rows}
    steps = tuple(f"golden/24x32/noise-step-{n}.safetensors" for n in (1, 2))
    assert one.shipped().manifest.golden_at == {"24x32": steps}
    frame = {"image": np.full((1, 3, 24, 32), 0.5, np.float32)}
    with mlship.load(one, size="24x32") as model:
        first, second = model.run(frame), model.run(frame)
    assert first["hidden_out"].shape == (1, 6, 24, 32)
    assert not np.array_equal(first["matte"], second["matte"])


@pytest.mark.slow
def test_a_conv_gru_of_a_paper_keeps_to_pytorch_over_four_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.converters.wild.catalogue import NETS

    monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path / "cache"))
    net, state = NETS["conv-gru"], {"first": "output2_first_next", "second": "output2_second_next"}
    built = mlship.convert(
        *(net.module(), net.inputs(0)), targets="all", recipe="fp32", out=tmp_path, state=state
    )
    for one in built:
        assert one.ok, one.problems or one.error
        assert "photo-step-4" in {row.case for row in one.report.rows if row.verdict == "passed"}


def test_inspect_says_the_state(built: dict[str, Built]) -> None:
    folder = built["cell-ios"].shipped().directory
    shown = " ".join(cli("inspect", folder).stdout.split())
    assert "h_out -> h, c_out -> c, zeros at first" in shown
    assert json.loads(cli("inspect", folder, "--json").stdout)["state"] == CELL.state
