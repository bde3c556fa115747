"""A model of several sizes, from its specification to a bundle that runs at each of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import mlship as library
from converters import sizes
from converters.api import Artifact
from converters.capture import capture
from model_defs.errors import BadSpec, RecipeMismatch, UnknownName
from model_defs.spec import ModelSpec, TensorSpec, size_of
from tests.toolchain.projects import mlship
from tests.toolchain.test_loading import LOADING, NODE, ask
from toolchain.bundle import bundle as bundles
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.parity_report import ParityReport, ParityRow, case_and_size, case_at
from toolchain.parity import reference
from toolchain.parity.reference import Reference
from toolchain.recipes import recipes

NET = """
import torch
from torch import nn
from torch.nn import functional
from model_defs.spec import ModelSpec, Postprocess, Preprocess, TensorSpec


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.last = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, image):
        x = functional.interpolate(self.first(image).relu(), scale_factor=2.0, mode="bilinear")
        ramp = torch.linspace(0, 1, image.shape[3])
        return (self.last(x) + ramp).sigmoid()


class Positions(Net):
    def __init__(self):
        super().__init__()
        self.places = nn.Parameter(torch.zeros(1, 3, 32, 48))

    def forward(self, image):
        return super().forward(image + self.places)


image = TensorSpec("image", (1, 3, 32, 48), "image", low=0, high=1, preprocess=Preprocess(),
                   sizes=((32, 48), (64, 32)))
shade = TensorSpec("shade", (1, 1, 32, 48), "map", low=0, high=1, tolerance=0.01,
                   postprocess=Postprocess())
spec = ModelSpec("net", Net, (image,), (shade,))
positions = ModelSpec("positions", Positions, (image,), (shade,))
"""

SIZE, SHAPE = "64x32", (1, 3, 64, 32)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of one build for all targets: its JSON, by target; the bundles lie in `dist`."""
    root = tmp_path_factory.mktemp("sizes")
    (root / "net.py").write_text(NET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSHIP_CACHE", str(root / "cache"))
        result = mlship(
            "build", f"{root}/net.py:spec", "--target", "all", "--out", root / "dist", "--json"
        )
        again = mlship(
            "build", f"{root}/net.py:spec", "--target", "web", "--out", root / "dist", "--json"
        )
    assert result.exit_code == 0, result.output
    assert json.loads(again.stdout)[0]["cached"]
    return {one["target"]: one for one in json.loads(result.stdout)}


def bundle_of(built: dict[str, Any], target: str) -> Bundle:
    return bundles.read(Path(built[target]["bundle"]))


@pytest.mark.parametrize("target", ["ios", "android", "web"])
def test_each_size_is_proved_and_runs(target: str, built: dict[str, Any]) -> None:
    found = bundle_of(built, target)
    assert found.sizes == ("32x48", SIZE)
    cases = {row.case for row in found.report.rows if row.verdict == "passed"}
    assert {"noise", case_at("noise", SIZE), "photo", case_at("photo", SIZE)} <= cases
    seen = found.at(SIZE)
    assert (seen.inputs[0].shape, seen.outputs[0].shape) == (SHAPE, (1, 1, 64, 32))
    picture = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    with library.load(found.directory, size=SIZE) as model:
        assert model.run({"image": picture})["shade"].shape == (1, 1, 64, 32)
    with library.load(found.directory) as model:
        assert model.run({"image": picture[:, :, :32].repeat(2, 3)[..., :48]})["shade"].ptp() > 0
    with pytest.raises(UnknownName, match="size '9x9'"):
        library.load(found.directory, size="9x9")


def test_parity_judges_every_size(built: dict[str, Any]) -> None:
    folder = Path(built["android"]["bundle"])
    model = f"{folder.parents[1]}/net.py:spec"
    result = mlship("parity", folder, "--model", model, "--backend", "litert", "--json")
    assert result.exit_code == 0, result.output
    (outcome,) = json.loads(result.stdout)
    cases = [row["case"] for row in outcome["rows"] if row["backend"] == "litert"]
    assert "noise" in cases
    assert case_at("noise", SIZE) in cases
    golden = [row["case"] for row in outcome["rows"] if row["backend"] == "golden"]
    assert golden == ["photo", "noise", case_at("noise", SIZE)]
    # Without its model it is held to its golden vectors, of which each size has some.
    result = mlship("parity", folder, "--backend", "litert", "--json")
    assert result.exit_code == 0, result.output
    (outcome,) = json.loads(result.stdout)
    found = dict.fromkeys(row["case"] for row in outcome["rows"])
    assert [*found] == ["photo", "noise", case_at("noise", SIZE)]


def test_a_record_has_every_size(built: dict[str, Any], tmp_path: Path) -> None:
    folder, record = Path(built["android"]["bundle"]), tmp_path / "record.safetensors"
    model = f"{folder.parents[1]}/net.py:spec"
    common = ("parity", folder, "--model", model, "--backend", "litert", "--json")
    assert mlship(*common, "--record", record).exit_code == 0
    result = mlship(*common, "--against", record)
    assert result.exit_code == 0, result.output
    (outcome,) = json.loads(result.stdout)
    recorded = {row["case"] for row in outcome["rows"] if "@" in row["backend"]}
    assert case_at("noise", SIZE) in recorded


def test_a_size_whose_weights_were_damaged_fails_by_its_name(
    built: dict[str, Any], tmp_path: Path
) -> None:
    folder = Path(built["web"]["bundle"])
    liar = tmp_path / folder.name
    shutil.copytree(folder, liar)
    (liar / "manifest.json").unlink()
    ramp = np.linspace(0, 1, 32, dtype=np.float32).astype(np.float16).tobytes()
    (path,) = [p for p in liar.rglob("*.bin") if ramp in p.read_bytes()]
    path.write_bytes(path.read_bytes().replace(ramp, bytes(len(ramp))))
    found = bundles.read(folder)
    fields = {name: getattr(found.manifest, name) for name in type(found.manifest).model_fields}
    del fields["files"], fields["digest"]
    from toolchain.bundle.manifest import Contents

    bundles.seal(liar, Contents(**fields))
    model = f"{folder.parents[1]}/net.py:spec"
    result = mlship("parity", liar, "--model", model, "--backend", "tfjs-wasm", "--json")
    assert result.exit_code == 1
    (outcome,) = json.loads(result.stdout)
    assert outcome["problems"]
    assert all(f"at {SIZE}'" in problem for problem in outcome["problems"])


def test_the_command_line_runs_and_shows_a_size(built: dict[str, Any], tmp_path: Path) -> None:
    folder = built["ios"]["bundle"]
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "in.png")
    for size, shape in (((), (1, 1, 32, 48)), (("--size", SIZE), (1, 1, 64, 32))):
        out = tmp_path / "out.safetensors"
        result = mlship("run", folder, tmp_path / "in.png", *size, "-o", out)
        assert result.exit_code == 0, result.output
        from safetensors.numpy import load_file

        assert load_file(out)["shade"].shape == shape
    refused = mlship(
        "run", folder, tmp_path / "in.png", "--size", "64x64", "-o", tmp_path / "o.png"
    )
    assert refused.exit_code == 2
    assert "32x48, 64x32" in refused.output
    shown = mlship("inspect", folder)
    assert "32x48 (default), 64x32 (size_64x32)" in " ".join(shown.stdout.split())


def test_a_bundle_of_one_size_says_so(shared: Path, tmp_path: Path) -> None:
    result = mlship(
        "run", shared / "dist" / "tiny-ios", "--size", "64x64", "-o", tmp_path / "o.png"
    )
    assert result.exit_code == 2
    assert "tiny has one size" in result.output


def test_the_loading_code_of_the_web_takes_a_size(built: dict[str, Any]) -> None:
    found = bundle_of(built, "web")
    picture = np.random.default_rng(1).random(SHAPE, dtype=np.float32)
    job = {
        **{"command": "feed", "node": str(NODE), "bundle": str(found.directory), "size": SIZE},
        "tensors": {"image": {"shape": SHAPE, "data": _text(picture)}},
    }
    wrong = {**job, "size": "9x9"}
    answer, refused = ask([job, wrong], LOADING / "mlship.mjs")
    with library.load(found, size=SIZE) as model:
        want = model.run({"image": picture})["shade"]
    np.testing.assert_allclose(np.array(answer["value"]["shade"]), want.ravel(), atol=1e-6)
    assert refused["error"] == "there is no size 9x9, but 32x48, 64x32"


def _text(array: np.ndarray) -> str:
    import base64

    return base64.b64encode(array.tobytes()).decode()


def test_parameters_of_one_size_are_refused_by_a_build(
    built: dict[str, Any], tmp_path: Path
) -> None:
    source = Path(built["web"]["bundle"]).parents[1] / "net.py"
    result = mlship("build", f"{source}:positions", "--target", "web", "--out", tmp_path)
    assert result.exit_code == 2
    assert f"at {SIZE}: positions: forward failed" in result.output
    assert "net.py" in result.output


def test_sizes_are_given_to_a_build_and_to_a_module_in_memory(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Upsample(scale_factor=2.0))
    (one,) = library.convert(
        net, (torch.rand(1, 3, 16, 16),), targets="android", out=tmp_path, sizes=((24, 16),)
    )
    assert one.ok, one.problems
    assert one.shipped().sizes == ("16x16", "24x16")
    with pytest.raises(BadSpec, match="no size"):
        library.convert(
            net, (torch.rand(1, 3, 16, 16),), targets="android", out=tmp_path, sizes=((24, 0),)
        )


def test_a_size_is_typed_as_height_x_width() -> None:
    assert size_of("512x384") == (512, 384)
    for text in ("512", "512x", "0x4", "4x-4", "4x4x4", "a4x4"):
        with pytest.raises(BadSpec, match="is no size"):
            size_of(text)
    result = mlship("build", "depth", "--target", "web", "--size", "512")
    assert result.exit_code == 2
    assert "'512' is no size" in result.output


def test_spec_writes_the_sizes_that_were_asked_for(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    example = ("--example", "1,3,32,48", "--size", "64x32")
    result = mlship("spec", f"{tmp_path}/net.py:Net", *example)
    assert result.exit_code == 0, result.output
    assert "sizes=((32, 48), (64, 32))" in result.stdout


def test_what_one_size_is_proved_of_says_nothing_of_another() -> None:
    row = ParityRow("litert", "noise", "shade", "passed", 0.0, 1.0)
    skipped = ParityRow("litert", case_at("noise", SIZE), "shade", "skipped", None, None)
    assert ParityReport((row,), ("litert",)).ok
    report = ParityReport((row, skipped), ("litert",))
    assert report.problems == (f"litert: 'shade' was skipped in every case at {SIZE}",)
    assert case_and_size(skipped.case) == ("noise", SIZE)
    assert case_and_size("at home.png") == ("at home.png", "")


def test_an_artifact_without_entries_has_no_further_size() -> None:
    with pytest.raises(UnknownName, match="size '9x9'"):
        Artifact(Path(), "coreml", "float32", (), ()).at("9x9")


class Sum(nn.Module):
    """Grows with the size; `most` is where the integers end that were found at the default."""

    def __init__(self, most: float) -> None:
        super().__init__()
        self.most = most

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.sum((2, 3)).clamp(max=self.most)


@pytest.mark.parametrize(("most", "refused"), [(500.0, False), (70.0, True)])
def test_scales_that_are_wrong_at_another_size_are_refused(most: float, refused: bool) -> None:
    image = TensorSpec("image", (1, 3, 8, 8), "image", low=0, high=1, sizes=((8, 8), (16, 8)))
    total = TensorSpec("total", (1, 3), "features", tolerance=1.0)
    captured = capture(ModelSpec("net", lambda: Sum(1e9), (image,), (total,)))
    shipped = replace(captured, module=Sum(most))
    given = {
        name: {"case": {"image": np.full((1, 3, *size_of(name)), 0.8, np.float32)}}
        for name in captured.spec.size_names
    }
    expected = dict(reference.Answers(shipped, given["8x8"]))
    default = Reference(given["8x8"], expected, captured.spec.outputs, program=shipped)
    spec = sizes.at(captured, "16x8").spec
    made = reference.at(default, spec.outputs, spec, given["16x8"])
    int8 = recipes.find("int8")
    if not refused:
        reference._check_scales(int8, default, made, captured)
        return
    with pytest.raises(RecipeMismatch, match="at 16x8: int8 moves 'total' by 32.4 in the mean"):
        reference._check_scales(int8, default, made, captured)


@pytest.mark.parametrize("sizes", [32, "32x32", [32], ["32"], [(0, 4)]])
def test_what_is_no_size_is_refused_in_words(sizes: Any, tmp_path: Path) -> None:
    with pytest.raises(BadSpec, match=r"size"):
        library.convert("depth", targets="ios", sizes=sizes, out=tmp_path)
