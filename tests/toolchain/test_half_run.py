"""Some layers in float16 and others in float32, computed in PyTorch as a Core ML file would."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from converters.api import Program
from converters.capture import capture
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.recipes import mixed_precision, recipes
from toolchain.recipes.half_run import HalfRun
from toolchain.recipes.sensitivity import Judge

SIZE = (1, 2, 4, 4)


class Chain(nn.Module):
    """Two layers, and what follows each of them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b((self.a(x) * 1.1).relu()) / 3


def program_of(module: nn.Module, tolerance: float | None = 1e-3, count: int = 1) -> Program:
    given = (TensorSpec("x", SIZE, "features"),)
    outputs = tuple(
        TensorSpec(f"y{n}", SIZE, "features", tolerance=tolerance) for n in range(count)
    )
    return capture(ModelSpec("chain", lambda: module, given, outputs))


def half(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half().float()


X = torch.from_numpy(np.random.default_rng(0).normal(size=SIZE).astype(np.float32))


def conv(x: torch.Tensor, layer: nn.Module, *, is_half: bool = False) -> torch.Tensor:
    weight, bias = layer.weight, layer.bias
    if is_half:
        return half(torch.conv2d(half(x), half(weight), half(bias), padding="same"))  # type: ignore[arg-type]
    return torch.conv2d(x, weight, bias, padding="same")  # type: ignore[arg-type]


@pytest.mark.parametrize("keep", [(), ("a",), ("b",), ("a", "b")])
def test_what_follows_a_layer_is_computed_as_that_layer_is(keep: tuple[str, ...]) -> None:
    module = Chain().requires_grad_(False)
    a, b = ("a" not in keep), ("b" not in keep)
    made = conv(X, module.a, is_half=a)
    made = (half(made * 1.1) if a else made * 1.1).relu()
    made = conv(made, module.b, is_half=b)
    want = half(made / 3) if b else made / 3
    run = HalfRun(program_of(module), arithmetic=True)
    got = run.keeping({"x": X.numpy()}, keep)["y0"]
    np.testing.assert_array_equal(got, want.numpy())


def test_without_arithmetic_only_what_layers_hold_is_rounded() -> None:
    module = Chain().requires_grad_(False)
    run = HalfRun(program_of(module), arithmetic=False)
    got = run.keeping({"x": X.numpy()}, ["a"])["y0"]
    module.b.weight.copy_(half(module.b.weight))
    module.b.bias.copy_(half(module.b.bias))  # type: ignore[arg-type,union-attr]
    np.testing.assert_allclose(got, module(X).numpy(), rtol=1e-6)


def test_a_kernel_that_float16_holds_is_computed_in_float16_even_if_kept() -> None:
    """A converter tells what is to stay float32 by its numbers."""
    module = Chain().requires_grad_(False)
    module.a.weight.copy_(half(module.a.weight))
    module.a.bias.copy_(half(module.a.bias))  # type: ignore[arg-type,union-attr]
    run = HalfRun(program_of(module), arithmetic=True)
    x = {"x": X.numpy()}
    np.testing.assert_array_equal(run.keeping(x, ["a"])["y0"], run.keeping(x, [])["y0"])


def test_one_layer_alone_is_what_the_rest_in_float32_leaves() -> None:
    module = Chain().requires_grad_(False)
    run, x = HalfRun(program_of(module), arithmetic=True), {"x": X.numpy()}
    known = run.values(x)
    for layer, other in (("a", "b"), ("b", "a")):
        got = run.alone(x, [layer], known)["y0"]
        np.testing.assert_array_equal(got, run.keeping(x, [other])["y0"])
    np.testing.assert_array_equal(run.alone(x, [], known)["y0"], module(X).numpy())


class Deep(nn.Module):
    """Eighty layers, one of which makes numbers that count to the fourth digit."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.ModuleList(nn.Conv2d(2, 2, 1) for _ in range(80))
        for layer in self.layers:
            layer.weight.data.copy_(torch.eye(2)[..., None, None] * 1.0009)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number == 46:
                x = (x * 2000).sin()
        return x


def test_of_many_layers_the_one_is_found_in_few_runs() -> None:
    program = program_of(Deep(), tolerance=0.05)
    x = {"case": {"x": X.numpy()}}
    judge = Judge(x, {"case": {"y0": program.module(X).detach().numpy()}})
    seen: list[tuple[int, int]] = []
    found = mixed_precision.mix(
        recipes.find("fp16"),
        program,
        judge,
        ["case"],
        arithmetic=False,
        report=lambda *counts: seen.append(counts),
    )
    assert "layers.46" in found.keep
    assert mixed_precision.PIECES < len(seen) <= mixed_precision.RUNS
    assert all(done < total for done, total in seen)
    again = mixed_precision.mix(recipes.find("fp16"), program, judge, ["case"], arithmetic=False)
    assert again == found
