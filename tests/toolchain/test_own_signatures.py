"""Modules with a user's own inputs and outputs, built for all targets, run as apps run them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import mlship
from mlship import ModelSpec, Preprocess, TensorSpec
from tests.toolchain.test_loading import ask, encoded

TARGETS = ("ios", "android", "web")


class Segmenter(nn.Module):
    """A picture to a dict: a map of floats, labels, a mask, nothing, a list."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5)
        nn.init.uniform_(self.norm.running_var, 0.5, 2.0)

    def forward(self, image: Tensor) -> dict[str, Any]:
        logits = self.norm(self.conv(image))
        return {
            "Logits": logits,
            "labels": logits.argmax(1),
            "any": logits.mean(1, keepdim=True) > 0.1,  # a word of Core ML's own
            "auxiliary": None,
            "pyramid": [logits.mean((2, 3)), (None, logits * 2)],
        }


class Reader(nn.Module):
    """Two of everything: pictures of four channels, tokens, a mask by keyword, a number."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 6)
        self.conv = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.out = nn.Linear(6, 4)

    def forward(
        self, batch: Mapping[str, Tensor], tokens: Tensor, *, keep: Tensor, scale: float = 1.0
    ) -> Any:
        seen = self.conv(batch["rgbm"]).mean((2, 3))
        words = torch.where(keep.unsqueeze(-1), self.words(tokens), 0.0) * scale
        scores = self.out(words + seen.unsqueeze(1))
        return [scores, scores.argmax(-1), keep & (tokens > 20)]


SEGMENTER = ModelSpec(
    "segmenter",
    Segmenter,
    (TensorSpec("image", (1, 3, 24, 32), "image", low=0, high=1, preprocess=Preprocess()),),
    (
        TensorSpec("logits", (1, 5, 24, 32), "map", tolerance=0.05),
        TensorSpec("labels", (1, 24, 32), "map", tolerance=0.01, dtype="int64"),
        TensorSpec("any", (1, 1, 24, 32), "mask", tolerance=0.01, dtype="bool"),
        TensorSpec("pyramid_2_2", (1, 5, 24, 32), "map", tolerance=0.1),
    ),
)
READER = ModelSpec(
    "reader",
    Reader,
    (
        TensorSpec("rgbm", (2, 4, 16, 16), "features", low=0, high=1),
        TensorSpec("tokens", (2, 9), "features", low=0, high=49, dtype="int64"),
        TensorSpec("keep", (2, 9), "features", dtype="bool"),
    ),
    (
        TensorSpec("scores", (2, 9, 4), "features", tolerance=0.05),
        TensorSpec("best", (2, 9), "features", tolerance=0.05, dtype="int64"),
        TensorSpec("late", (2, 9), "features", tolerance=0, dtype="bool"),
    ),
    call=lambda net, rgbm, tokens, keep: net({"rgbm": rgbm}, tokens, keep=keep, scale=2.0),
)


def fed(spec: ModelSpec) -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    return {
        t.name: random.random(t.shape, np.float32)
        if t.is_float
        else random.integers(t.low or 0, (t.high or 1) + 1, t.shape).astype(t.dtype)
        for t in spec.inputs
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[mlship.Built]]:
    out = tmp_path_factory.mktemp("own")
    found: dict[str, list[mlship.Built]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSHIP_CACHE", str(out / "cache"))
        for one in mlship.build([SEGMENTER, READER], targets="all", recipe="fp32", out=out):
            assert one.ok, one.error or one.problems
            found.setdefault(one.model, []).append(one)
    return found


def expected(spec: ModelSpec) -> dict[str, np.ndarray]:
    from converters.capture import capture
    from converters.reference import ReferenceRunner

    return ReferenceRunner(capture(spec)).run(fed(spec))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("spec", [SEGMENTER, READER], ids=lambda spec: spec.name)
def test_a_bundle_answers_as_the_module_does(
    built: dict[str, list[mlship.Built]], spec: ModelSpec, target: str
) -> None:
    (one,) = (b for b in built[spec.name] if b.target == target)
    with mlship.load(one) as model:
        got = model.run(fed(spec))
    for tensor, (name, want) in zip(spec.outputs, expected(spec).items(), strict=True):
        assert (got[name].dtype.name, got[name].shape) == (tensor.dtype, tensor.shape)
        if tensor.is_float:
            np.testing.assert_allclose(got[name], want, atol=1e-4)
        else:
            np.testing.assert_array_equal(got[name], want)


def test_an_example_as_people_write_it_is_converted(tmp_path: Path) -> None:
    example = {
        "batch": {"rgbm": torch.rand(2, 4, 16, 16)},
        "tokens": torch.arange(18).reshape(2, 9) * 2,
        "keep": torch.rand(2, 9) > 0.5,
        "scale": 0.5,
    }
    (one,) = mlship.convert(Reader(), example, targets="android", out=tmp_path, batch=2)
    assert one.ok, one.error or one.problems
    found = one.shipped()
    assert [(t.name, t.shape, t.dtype) for t in (*found.inputs, *found.outputs)] == [
        ("rgbm", (2, 4, 16, 16), "float32"),
        ("tokens", (2, 9), "int64"),
        ("keep", (2, 9), "bool"),
        ("output1", (2, 9, 4), "float32"),
        ("output2", (2, 9), "int64"),
        ("output3", (2, 9), "bool"),
    ]


def test_what_is_left_out_is_in_the_notes(built: dict[str, list[mlship.Built]]) -> None:
    (note,) = built["segmenter"][0].shipped().manifest.notes[-1:]
    assert note == "forward also returns pyramid_1, which the specification leaves out"


def test_numbers_that_are_no_tokens_are_refused(built: dict[str, list[mlship.Built]]) -> None:
    given = fed(READER)
    with mlship.load(built["reader"][1]) as model:
        with pytest.raises(mlship.BadPicture, match="numbers that int64 does not hold"):
            model.run({**given, "tokens": given["tokens"] + 0.5})
        with pytest.raises(mlship.BadArtifact, match="numbers that int32 does not hold"):
            model.run({**given, "tokens": given["tokens"] + 2**40})
        floats = {name: array.astype(np.float64) for name, array in given.items()}
        np.testing.assert_array_equal(model.run(floats)["best"], model.run(given)["best"])


def test_the_web_s_loading_code_takes_tokens_and_masks(
    built: dict[str, list[mlship.Built]],
) -> None:
    from converters.tfjs.runner import NODE

    folder = Path(built["reader"][2].shipped().directory)
    tensors = {
        name: {"shape": array.shape, "data": encoded(array.astype(np.float32))}
        for name, array in fed(READER).items()
    }
    job = {"command": "feed", "node": str(NODE), "bundle": str(folder), "tensors": tensors}
    (answer,) = ask([job], folder / "mlship.mjs")
    for name, want in expected(READER).items():
        got = np.array(answer["value"][name]).reshape(want.shape)
        np.testing.assert_allclose(got, want, atol=1e-4)
