"""Liars: backends with one fault each. Every one must fail, with a message that names the fault."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from own_models import Two
from torch import Tensor, nn
from torch.nn import functional

from converters import backends
from converters.api import Artifact, Program, Tensors
from converters.capture import capture
from converters.reference import ReferenceRunner
from model_defs import lookup
from model_defs.errors import BackendUnavailable, BadArtifact
from model_defs.pixels import open_picture
from toolchain.bundle.parity_report import ParityReport
from toolchain.data import cases
from toolchain.parity.harness import BackendChoice, judge
from toolchain.parity.reference import of_build
from toolchain.parity.subject import Subject
from toolchain.recipes import recipes

Answer = Callable[[Program, Tensors], dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def subject(two: Two) -> Subject:
    program = capture(lookup.load(lookup.expand(two.model)[0]))
    inputs = cases.build(program.spec.inputs, ("photo", "noise", "checkerboard"))
    reference = of_build(recipes.find("fp16"), program, program, inputs)
    return Subject(two.bundles["android"], reference, program)


@dataclass
class Liar:
    """PyTorch itself, with a fault."""

    program: Program
    answer: Answer
    backend: str = "litert"

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        return self.answer(self.program, inputs)

    def close(self) -> None:
        """Nothing to free."""


def judged(subject: Subject, answer: Answer, monkeypatch: pytest.MonkeyPatch) -> ParityReport:
    """The report on a backend that answers so, in litert's place."""
    assert subject.program is not None
    program = subject.program

    def opener(artifact: Artifact) -> Liar:
        return Liar(program, answer)

    liar = replace(backends.BACKENDS["litert"], opener=opener)
    monkeypatch.setitem(backends.BACKENDS, "litert", liar)
    return judge(subject, BackendChoice(("litert",))).report


def honest(program: Program, inputs: Tensors) -> dict[str, np.ndarray]:
    return ReferenceRunner(program).run(inputs)


def test_an_honest_backend_passes(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    report = judged(subject, honest, monkeypatch)
    assert report.ok, report.problems


def after(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Answer:
    """Right answers, then changed."""
    return lambda program, inputs: change(honest(program, inputs))


def on_depth(change: Callable[[np.ndarray], np.ndarray]) -> Answer:
    return after(lambda found: {**found, "depth": change(found["depth"])})


def before(change: Callable[[np.ndarray], np.ndarray]) -> Answer:
    """The picture is changed on its way in."""
    return lambda program, inputs: honest(program, {"image": change(inputs["image"])})


def inside(change: Callable[[Any], object]) -> Answer:
    """A copy of the module is changed."""

    def answer(program: Program, inputs: Tensors) -> dict[str, np.ndarray]:
        module = copy.deepcopy(program.module)
        with torch.no_grad():
            change(module)
        return honest(replace(program, module=module), inputs)

    return answer


def patched(patch: Callable[[], AbstractContextManager[Any]]) -> Answer:
    def answer(program: Program, inputs: Tensors) -> dict[str, np.ndarray]:
        with patch():
            return honest(program, inputs)

    return answer


def without_sigmoid() -> AbstractContextManager[Any]:
    return mock.patch.object(Tensor, "sigmoid", lambda x: x)


def sigmoid_twice() -> AbstractContextManager[Any]:
    return mock.patch.object(Tensor, "sigmoid", lambda x: torch.sigmoid(torch.sigmoid(x)))


def align_corners(module: Any) -> None:
    module.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)


def nearest(module: Any) -> None:
    module.up = nn.Upsample(scale_factor=2, mode="nearest")


class PaddedAfter(nn.Module):
    """A strided convolution padded as TensorFlow's SAME."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, (0, 1, 0, 1))
        return functional.conv2d(padded, self.conv.weight, self.conv.bias, stride=2)


def pad_after(module: Any) -> None:
    module.down = PaddedAfter(module.down)


def perturb(module: Any) -> None:
    module.middle.weight[0, 0, 1, 1] += 2


def swap_channels(module: Any) -> None:
    module.middle.weight.copy_(module.middle.weight.flip(0))


def drop_bias(module: Any) -> None:
    module.left.bias.add_(0.5)


def wrong_epsilon(module: Any) -> None:
    module.norm.eps = 0.3


def wrong_mean(module: Any) -> None:
    module.norm.running_mean.add_(0.4)


def four_levels(module: Any) -> None:
    weight = module.middle.weight
    step = weight.abs().max() / 2
    weight.copy_((weight / step).round() * step)


def without_relu() -> AbstractContextManager[Any]:
    return mock.patch.object(Tensor, "relu", lambda x: x)


def not_antialiased(program: Program, inputs: Tensors) -> dict[str, np.ndarray]:
    """The photograph is shrunk by plain bilinear sampling."""
    picture = torch.from_numpy(open_picture(cases.PHOTO).copy()).permute(2, 0, 1)[None] / 255
    small = functional.interpolate(picture, (32, 48), mode="bilinear", antialias=False)
    return honest(program, {"image": small.numpy()})


def first_answer_for_all() -> Answer:
    """An output buffer that is never refreshed."""
    kept: list[dict[str, np.ndarray]] = []

    def answer(program: Program, inputs: Tensors) -> dict[str, np.ndarray]:
        kept.append(honest(program, inputs))
        return kept[0]

    return answer


def one(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        changed = values.copy()
        changed[0, 0, 5, 7] = value
        return changed

    return change


def crash(program: Program, inputs: Tensors) -> dict[str, np.ndarray]:
    raise BadArtifact("the runtime crashed", where="/bundle/two.tflite")


def absent(program: Program, inputs: Tensors) -> dict[str, np.ndarray]:
    raise BackendUnavailable("the runtime is not here")


def logits_less_a(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: values * factor


TOLERANCE = "times the tolerance"

LIARS: dict[str, tuple[Answer, str]] = {
    "a weight is perturbed": (inside(perturb), TOLERANCE),
    "channels are swapped": (inside(swap_channels), TOLERANCE),
    "a bias is wrong": (inside(drop_bias), TOLERANCE),
    "the epsilon is wrong": (inside(wrong_epsilon), TOLERANCE),
    "the mean is wrong": (inside(wrong_mean), TOLERANCE),
    "weights have four levels": (inside(four_levels), TOLERANCE),
    "a relu is dropped": (patched(without_relu), TOLERANCE),
    "the sigmoid is dropped": (patched(without_sigmoid), "the last sigmoid is missing"),
    "the sigmoid comes twice": (patched(sigmoid_twice), "sigmoid is applied twice"),
    "align_corners is flipped": (inside(align_corners), "align_corners"),
    "resizing is nearest": (inside(nearest), "resizing is nearest where PyTorch's is bilinear"),
    "padding is off by one": (inside(pad_after), "padded as TensorFlow's SAME"),
    "BGR for RGB": (before(lambda x: x[:, ::-1].copy()), "channels in reverse order"),
    "expects 0..255": (before(lambda x: x / 255), "expects 0..255 where 0..1 is declared"),
    "expects -1..1": (before(lambda x: (x + 1) / 2), "expects -1..1 where 0..1 is declared"),
    "not antialiased": (not_antialiased, TOLERANCE),
    "one pixel to the left": (on_depth(lambda y: np.roll(y, 1, axis=3)), TOLERANCE),
    "upside down": (on_depth(lambda y: y[:, :, ::-1].copy()), "rows are upside down"),
    "mirrored": (on_depth(lambda y: y[..., ::-1].copy()), "columns are mirrored"),
    "height and width are transposed": (
        on_depth(lambda y: y.transpose(0, 1, 3, 2).reshape(y.shape)),
        "height and width are transposed",
    ),
    "times 255": (on_depth(logits_less_a(255)), "PyTorch's is 0.00392157 times this"),
    "plus a half": (on_depth(lambda y: y + 0.5), "PyTorch's is this -0.5"),
    "-1..1 for 0..1": (on_depth(lambda y: y * 2 - 1), "PyTorch's is 0.5 times this +0.5"),
    "outputs are swapped": (
        after(lambda y: {"depth": y["mask"], "mask": y["depth"]}),
        "the outputs are swapped: 'mask' holds the values of 'depth'",
    ),
    "outputs are concatenated": (
        after(lambda y: {"both": np.concatenate([y["depth"], y["mask"]], axis=1)}),
        "outputs are concatenated: channels 0 to 0 of 'both' are 'depth'",
    ),
    "an output is renamed": (
        after(lambda y: {"deep": y["depth"], "mask": y["mask"]}),
        "the output was renamed: 'deep' holds the values of 'depth'",
    ),
    "an output is missing": (after(lambda y: {"mask": y["mask"]}), "the output is missing"),
    "an output too many": (after(lambda y: {**y, "extra": y["mask"]}), "not in the model"),
    "one NaN": (on_depth(one(np.nan)), "1 of 1536 values are NaN or infinite, first at [0, 0, 5"),
    "one infinity": (on_depth(one(np.inf)), "1 of 1536 values are NaN or infinite"),
    "constant": (on_depth(lambda y: np.full_like(y, 0.5)), "the output is constant (0.5)"),
    "all zeros": (on_depth(np.zeros_like), "the output is constant (0)"),
    "empty": (on_depth(lambda y: y[:, :, :0]), "the output is empty"),
    "of another shape": (on_depth(lambda y: y[:, :, ::2]), "has shape (1, 1, 16, 48), not"),
    "NHWC": (on_depth(lambda y: y.transpose(0, 2, 3, 1)), "has shape (1, 32, 48, 1), not"),
    "integers": (on_depth(lambda y: y.astype(np.int32)), "int32, not a float type"),
    "8-bit": (on_depth(lambda y: (y * 255).astype(np.uint8)), "uint8, not a float type"),
    "never refreshed": (first_answer_for_all(), "on case 'noise'"),
    "crashes": (crash, "the runtime crashed (/bundle/two.tflite)"),
    "is not here": (absent, "skipped in every case"),
}


@pytest.mark.parametrize("name", LIARS)
def test_a_liar_is_caught(name: str, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, words = LIARS[name]
    report = judged(subject, answer, monkeypatch)
    assert not report.ok
    assert words in "\n".join(report.problems)


def test_there_are_at_least_25() -> None:
    assert len(LIARS) >= 25


def test_a_backend_that_does_not_open_fails(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opener(artifact: Artifact) -> Liar:
        raise BadArtifact("the file is truncated")

    broken = replace(backends.BACKENDS["litert"], opener=opener)
    monkeypatch.setitem(backends.BACKENDS, "litert", broken)
    report = judge(subject, BackendChoice(("litert",))).report
    assert "the file is truncated" in report.problems[0]


def test_a_backend_that_is_not_installed_does_not_pass(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opener(artifact: Artifact) -> Liar:
        raise BackendUnavailable("no LiteRT", do="pip install ai-edge-litert")

    missing = replace(backends.BACKENDS["litert"], opener=opener)
    monkeypatch.setitem(backends.BACKENDS, "litert", missing)
    report = judge(subject, BackendChoice(("litert",))).report
    assert report.problems[0] == "litert: 'depth' was skipped in every case"
    assert "pip install ai-edge-litert" in report.rows[-1].note


def test_only_the_first_failure_of_an_output_is_explained(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = judged(subject, LIARS["BGR for RGB"][0], monkeypatch)
    failed = [row for row in report.rows if row.verdict == "failed" and row.output == "depth"]
    assert [bool(row.hint) for row in failed] == [True] + [False] * (len(failed) - 1)


def test_a_hint_never_passes(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    report = judged(subject, LIARS["the sigmoid is dropped"][0], monkeypatch)
    assert {row.verdict for row in report.rows if row.hint} == {"failed"}
