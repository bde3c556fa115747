"""Hints: proved by comparing again, and silent where nothing is proved."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from converters.api import Program, Tensors
from converters.reference import ReferenceRunner
from model_defs.errors import BadArtifact
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.parity.hints import Evidence, explain

SPEC = TensorSpec("y", (1, 4, 6, 5), "map", low=-8, high=8, tolerance=1e-3)
WANT = np.random.default_rng(0).normal(size=SPEC.shape).astype(np.float32)


def hint(got: np.ndarray | None, want: np.ndarray = WANT, **others: np.ndarray) -> str:
    outputs = dict(others) if got is None else {"y": got, **others}
    return explain(Evidence(SPEC, {}, {"y": want}, outputs, 1e-3))


def test_nothing_is_said_of_what_is_only_different() -> None:
    assert hint(np.random.default_rng(1).normal(size=WANT.shape).astype(np.float32)) == ""
    assert hint(None) == ""
    assert hint(WANT[:, :2]) == ""
    assert hint(np.zeros((0,), np.float32)) == ""
    assert hint(np.full_like(WANT, np.nan)) == ""


def test_nothing_is_said_where_all_would_agree() -> None:
    flat = np.full_like(WANT, 0.25)
    flat[0, 0, 0, 0] += 1e-3
    assert hint(flat + 0.5, want=flat) == ""


def test_nothing_is_said_where_a_fit_only_just_helps() -> None:
    """Off by a hair more than the tolerance: any fit of a factor would bring it below."""
    noise = np.random.default_rng(2).uniform(-1, 1, WANT.shape).astype(np.float32)
    got = WANT * np.float32(1.0002) + 0.0009 * noise
    assert 1e-3 < np.abs(got - WANT).max() < 2e-3
    assert hint(got) == ""


def test_the_layout_that_was_not_turned() -> None:
    nhwc = WANT.transpose(0, 2, 3, 1).reshape(WANT.shape)
    assert hint(nhwc).startswith("the layout is (N, H, W, C) where (N, C, H, W)")


def test_the_layout_that_was_turned_once_too_often() -> None:
    turned = WANT.reshape(1, 6, 5, 4).transpose(0, 3, 1, 2)
    assert hint(turned).startswith("the layout is (N, C, H, W) where (N, H, W, C)")


def test_the_same_layouts_by_shape() -> None:
    assert hint(WANT.transpose(0, 2, 3, 1)).startswith("the layout is (N, H, W, C)")
    assert hint(WANT.transpose(0, 1, 3, 2)) == "height and width are transposed"


def test_reversed_channels() -> None:
    assert "channels are in reverse order" in hint(WANT[:, ::-1])


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("relu", lambda x: np.maximum(x, 0)),
        ("tanh", np.tanh),
        ("softmax", lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
        ("clamp to 0..1", lambda x: x.clip(0, 1)),
        ("clamp to -1..1", lambda x: x.clip(-1, 1)),
    ],
)
def test_a_missing_activation(name: str, function: object) -> None:
    want = function(WANT).astype(np.float32)  # type: ignore[operator]
    assert hint(WANT, want=want) == f"the last {name} is missing: equal after {name}"


def test_some_channels_of_another_output() -> None:
    wide = np.concatenate([WANT[:, :1], WANT], axis=1)
    assert hint(None, both=wide) == "outputs are concatenated: channels 1 to 4 of 'both' are 'y'"


class Growing(nn.Module):
    """Values that float16 cannot hold, in a layer that is named."""

    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Conv2d(3, 4, 1)
        self.large = nn.Conv2d(4, 4, 1)
        nn.init.constant_(self.large.weight, 1e5)

    def forward(self, x: Tensor) -> Tensor:
        return self.large(self.small(x)) * 1e-5


def program_of(module: nn.Module) -> tuple[Program, Tensors, Tensors]:
    image = TensorSpec("x", (1, 3, 6, 5), "image", low=0, high=1)
    program = Program(ModelSpec("m", lambda: module, (image,), (SPEC,)), module.eval())
    inputs = {"x": np.random.default_rng(0).random(image.shape).astype(np.float32)}
    return program, inputs, ReferenceRunner(program).run(inputs)


def test_an_overflow_names_the_layer() -> None:
    torch.manual_seed(0)
    program, inputs, want = program_of(Growing())
    got = {"y": want["y"].copy()}
    got["y"][0, 0, 0, 0] = np.nan
    found = explain(Evidence(SPEC, inputs, want, got, 1e-3, program=program))
    assert found.startswith("float16 overflows: PyTorch computes")
    assert " in large (" in found
    assert "test_hints.py:" in found


def test_an_overflow_of_a_literal_is_named_by_its_line_whatever_the_output_is() -> None:
    """The first operation that is beyond, also where PyTorch's output is nearly flat."""

    class Adds(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return ((x.mean(1, keepdim=True) + 1e6) * 3 * 1e-9).expand(1, 4, 6, 5)

    program, inputs, want = program_of(Adds())
    got = {"y": np.full_like(want["y"], np.nan)}
    found = explain(Evidence(SPEC, inputs, want, got, 1e-3, program=program))
    assert "PyTorch computes 1e+06 in add (" in found


def test_what_float16_holds_is_no_overflow() -> None:
    program, inputs, want = program_of(nn.Conv2d(3, 4, 1))
    got = {"y": np.full_like(want["y"], np.nan)}
    assert explain(Evidence(SPEC, inputs, want, got, 1e-3, program=program)) == ""


def test_a_backend_that_refuses_to_be_asked_again_is_left_in_peace() -> None:
    program, inputs, want = program_of(nn.Conv2d(3, 4, 1))

    def refuse(tensors: Tensors) -> Tensors:
        raise BadArtifact("no")

    evidence = Evidence(SPEC, inputs, want, {"y": WANT}, 1e-3, refuse, program)
    assert explain(evidence) == ""


def test_the_reference_is_left_as_it_was() -> None:
    program, inputs, want = program_of(
        nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Upsample((6, 5)))
    )
    evidence = Evidence(SPEC, inputs, want, {"y": WANT}, 1e-3, None, program)
    assert explain(evidence) == ""
    np.testing.assert_array_equal(ReferenceRunner(program).run(inputs)["y"], want["y"])
