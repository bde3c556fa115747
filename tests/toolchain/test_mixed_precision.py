"""Mixed precision: a build that float16 breaks keeps the layers in float32 that need it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.numpy import load_file
from torch import nn

from converters import mil
from converters.api import Artifact
from converters.capture import capture
from converters.reference import ReferenceRunner
from model_defs import lookup
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.build import produce
from toolchain.build.build import build
from toolchain.build.prepare import Prepared
from toolchain.build.request import BuildRequest
from toolchain.bundle import bundle
from toolchain.bundle.parity_report import ParityReport, ParityRow, Question, Verdict
from toolchain.cli.main import main
from toolchain.parity.metrics import used
from toolchain.recipes import mixed_precision, recipes, targets
from toolchain.recipes.half_run import HalfRun
from toolchain.recipes.sensitivity import Judge

NET = '''
import torch
from torch import nn
from model_defs.spec import ModelSpec, Postprocess, Preprocess, TensorSpec


class Fine(nn.Module):
    """The first layer's results count to the fourth digit."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.fine = nn.Conv2d(3, 8, 3, padding=1)
        self.plain = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 1, 1)

    def forward(self, image):
        waves = (self.fine(image) * 3000).sin()
        return self.last(self.plain(waves * 0.1).relu()).sigmoid()


class Loud(nn.Module):
    """The first layer's results are beyond float16, the second takes them back."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.up = nn.Conv2d(3, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 8, 1)
        self.last = nn.Conv2d(8, 1, 1)
        self.up.weight.data *= 300000
        self.down.weight.data /= 300000

    def forward(self, image):
        return self.last(self.down(self.up(image).relu())).sigmoid()


class Few(nn.Module):
    """Its kernels are so small that float16 makes the smaller file of them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.fine = nn.Conv2d(3, 4, 1)
        self.last = nn.Conv2d(4, 1, 1)

    def forward(self, image):
        return self.last((self.fine(image) * 100).sin()).sigmoid()


class Mask(nn.Module):
    """A mask with edges as steep as a step: float16 moves a pixel on them far, and few pixels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.up = nn.Conv2d(3, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, image):
        mask = self.last(self.up(image).relu())
        return ((mask - mask.mean()) * 8000).sigmoid()


image = TensorSpec("image", (1, 3, 24, 24), "image", low=0, high=1, preprocess=Preprocess())
out = TensorSpec("out", (1, 1, 24, 24), "map", low=0, high=1, tolerance=0.002,
                 postprocess=Postprocess())
fine = ModelSpec("fine", Fine, inputs=(image,), outputs=(out,))
loud = ModelSpec("loud", Loud, inputs=(image,), outputs=(out,))
few = ModelSpec("few", Few, inputs=(image,), outputs=(out,))
measured = TensorSpec("mask", (1, 1, 24, 24), "mask", low=0, high=1, metric="IoU", limit=0.98)
mask = ModelSpec("mask", Mask, inputs=(image,), outputs=(measured,))
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("mixed")
    (made / "net.py").write_text(NET)
    return made


CODES = "weights-int8,weights-fp16"


def mlship(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_layer_that_float16_breaks_stays_float32_and_is_named(folder: Path) -> None:
    asked = ("build", f"{folder}/net.py:fine", "--target", "android", "--target", "web")
    result = mlship(*asked, "--out", folder / "dist")
    assert result.exit_code == 0, result.output
    for target in ("android", "web"):
        manifest = json.loads((folder / "dist" / f"fine-{target}" / "manifest.json").read_text())
        (layer,) = manifest["recipe"]["keep"]
        assert layer == "fine"
        assert "of the tolerance" in manifest["recipe"]["keep"][layer]
        assert manifest["parity"]["ok"]
    shown = mlship("inspect", folder / "dist" / "fine-android", "--why")
    assert "alone it moves" in shown.output
    assert "pass by pass" in shown.output
    assert "layer by layer" in shown.output
    checked = mlship(
        "parity",
        folder / "dist" / "fine-android",
        "--backend",
        "litert",
        "--model",
        f"{folder}/net.py:fine",
    )
    assert checked.exit_code == 0, checked.output


def test_layers_that_overflow_stay_float32_in_core_ml(folder: Path) -> None:
    result = mlship("build", f"{folder}/net.py:loud", "--target", "ios", "--out", folder / "dist")
    assert result.exit_code == 0, result.output
    manifest = json.loads((folder / "dist" / "loud-ios" / "manifest.json").read_text())
    assert set(manifest["recipe"]["keep"]) >= {"up", "down"}
    assert "float16 ends at 65504" in manifest["recipe"]["keep"]["up"]


def test_a_recipe_of_codes_is_mixed_where_float16_breaks_it(folder: Path) -> None:
    asked = ("build", f"{folder}/net.py:fine", "--target", "ios", "--recipe", CODES)
    result = mlship(*asked, "--out", folder / "small")
    assert result.exit_code == 0, result.output
    made = bundle.read(folder / "small" / "fine-ios")
    assert list(made.manifest.recipe.keep) == ["fine"]
    convolutions = [
        operation
        for operation in mil.open_package(made.directory / "fine.mlpackage").main.block.operations
        if operation.type == "conv"
    ]
    kinds = [conv.results[0].type.dtype for conv in convolutions]
    assert kinds == ["fp32", "fp16", "fp16"]


def test_where_small_leaves_all_to_float16_it_is_mixed_as_well(folder: Path) -> None:
    asked = ("build", f"{folder}/net.py:few", "--target", "ios", "--recipe", "small")
    for _ in ("built", "cached"):
        result = mlship(*asked, "--out", folder / "dist")
        assert result.exit_code == 0, result.output
        assert "note: few-ios: 1 layer is not rounded: fine (mlship inspect" in result.stdout
        assert "kernels are left to float16" in result.stdout
    (found,) = json.loads(mlship(*asked, "--out", folder / "dist", "--json").stdout)
    assert list(found["keep"]) == ["fine"]
    assert "kernels are left to float16" in found["notes"][0]


def test_what_the_measure_of_a_mask_allows_stays_in_float16(folder: Path) -> None:
    asked = ("build", f"{folder}/net.py:mask", "--target", "ios", "--out", folder / "dist")
    result = mlship(*asked)
    assert result.exit_code == 0, result.output
    made = bundle.read(folder / "dist" / "mask-ios")
    assert made.manifest.recipe.keep == {}
    assert made.manifest.outputs[0].tolerance is None
    program = capture(lookup.load(f"{folder}/net.py:mask"))
    case = load_file(made.directory / "golden" / "photo.safetensors")
    judge = Judge({"photo": case}, {"photo": case}, used)
    moved = HalfRun(program, arithmetic=True).keeping(case, ())
    assert np.abs(moved["mask"] - case["mask"]).max() > 0.03
    assert judge.of_case("photo", program.spec.outputs, moved)[0] < 1


class Prover:
    """In place of parity: a build is not accurate before `layers` are in float32.

    Or it is not `faithful`, which no layer in float32 mends.
    """

    def __init__(self, question: Question) -> None:
        self.question = question
        self.kept: list[tuple[str, ...]] = []

    def __call__(self, artifact: Artifact, prepared: Prepared) -> ParityReport:
        self.kept.append(tuple(prepared.recipe.keep))
        good = self.question == "accurate" and self.kept[-1]
        verdict: Verdict = "passed" if good else "failed"
        row = ParityRow("litert", "photo", "out", verdict, 1.0, 0.1, note="off")
        return ParityReport((replace(row, question=self.question),), required=("litert",))


@pytest.mark.parametrize("question", ["accurate", "faithful"])
def test_layers_are_weighed_only_where_rounding_is_what_it_fails_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, question: Question
) -> None:
    prover, said = Prover(question), list[str]()
    monkeypatch.setattr(produce, "prove", prover)
    request = BuildRequest(
        (f"{folder}/net.py:fine",),
        targets.find(("android",)),
        recipes.find("fp16"),
        out=folder / f"proved-{question}",
    )
    (built,) = build(request, lambda what, stage: said.append(stage))
    weighed = [stage for stage in said if "choosing layers for float32, attempt 1 of 3" in stage]
    if question == "accurate":
        assert built.ok
        assert prover.kept == [(), ("fine",)]
        assert weighed[-1].endswith("2 of 3 weighed")
    else:
        assert not built.ok
        assert prover.kept == [()]
        assert not weighed
        assert built.problems[0].startswith("litert: not faithful: 'out'")


def test_where_no_other_layers_help_nothing_is_tried_again(folder: Path) -> None:
    program = capture(lookup.load(f"{folder}/net.py:fine"))
    x = {"ones": {"image": np.ones((1, 3, 24, 24), np.float32)}}
    judge = Judge(x, {"ones": {"out": np.full((1, 1, 24, 24), 9, np.float32)}})
    first = mixed_precision.mix(recipes.find("fp16"), program, judge, ["ones"], arithmetic=False)
    assert set(first.keep) == {"fine", "plain", "last"}
    again = mixed_precision.mix(first, program, judge, ["ones"], arithmetic=False)
    assert again.keep.keys() == first.keep.keys()
    assert not mixed_precision.may_mix(again, ["ones"])


def report_of(*verdicts: str) -> ParityReport:
    rows = (
        ParityRow("litert", f"case {n}", "out", verdict, 1.0, 0.1)  # type: ignore[arg-type]
        for n, verdict in enumerate(verdicts)
    )
    return ParityReport(tuple(rows), required=("litert",))


def test_a_report_names_the_cases_that_failed() -> None:
    assert report_of("passed", "failed", "skipped", "failed").failed_cases == ["case 1", "case 3"]


def test_only_what_rounding_may_have_failed_is_computed_in_mixed_precision() -> None:
    failed = report_of("failed").failed_cases
    assert mixed_precision.may_mix(recipes.find("fp16"), failed)
    assert not mixed_precision.may_mix(recipes.find("fp32"), failed)  # a fault of the converter
    assert mixed_precision.may_mix(recipes.find("small"), failed)  # the float16 in it
    assert not mixed_precision.may_mix(recipes.find("weights-int8"), failed)
    assert not mixed_precision.may_mix(recipes.find("int8"), failed)
    assert not mixed_precision.may_mix(recipes.find("fp16"), [])
    tried = replace(recipes.find("fp16"), attempt=len(mixed_precision.SHARES))
    assert not mixed_precision.may_mix(tried, failed)


def test_the_layers_that_overflow_are_named(folder: Path) -> None:
    program = capture(lookup.load(f"{folder}/net.py:loud"))
    inputs = {"ones": {"image": np.ones((1, 3, 24, 24), np.float32)}}
    runner = ReferenceRunner(program)
    judge = Judge(inputs, {"ones": runner.run(inputs["ones"])})
    assert set(mixed_precision.find_overflowing(program, judge)) == {"up", "down"}


def test_labels_are_judged_by_the_share_that_differs() -> None:
    class Labels(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x.argmax(1), x > 0.5

    taken = (TensorSpec("x", (1, 4, 10, 10), "image", low=0, high=1),)
    outputs = (
        TensorSpec("labels", (1, 10, 10), "map", tolerance=0.02, dtype="int64"),
        TensorSpec("over", (1, 4, 10, 10), "mask", tolerance=0.0, dtype="bool"),
    )
    program = capture(ModelSpec("labels", Labels, taken, outputs))
    x = {"x": np.random.default_rng(0).random((1, 4, 10, 10), np.float32)}
    right = ReferenceRunner(program).run(x)
    assert Judge({"a": x}, {"a": right}).worst(program)[0] == 0
    other = {**right, "labels": right["labels"].copy()}
    other["labels"][0, 0, :3] += 7
    share, where = Judge({"a": x}, {"a": other}).worst(program)
    assert share == pytest.approx(1.5)
    assert "labels" in where
    other = {**right, "over": ~right["over"]}
    assert Judge({"a": x}, {"a": other}).worst(program)[0] == np.inf
