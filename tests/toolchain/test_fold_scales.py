"""Scales of features go into the layers beside them, so that a file holds the program's numbers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from converters import formats
from converters.api import Program
from converters.capture import capture
from converters.encodings import Encoding
from converters.export import export_each
from converters.processes.worker import Worker
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.data import cases
from toolchain.parity import compare, constants
from toolchain.parity.reference import of_build
from toolchain.passes.fold_scales import FoldScales
from toolchain.recipes import pipeline, recipes

WIDTH = 12
X = torch.rand(1, 5, WIDTH, generator=torch.Generator().manual_seed(1))


def program_of(module: nn.Module, x: Tensor = X) -> Program:
    """A program whose vectors are far from 1 and 0."""
    torch.manual_seed(3)
    for tensor in module.parameters():
        if tensor.ndim == 1 or tensor.numel() in tensor.shape:
            tensor.data.uniform_(0.3, 1.7)
    spec = ModelSpec(
        "tiny",
        lambda: module.eval(),
        (TensorSpec("x", tuple(x.shape), "features", low=0, high=1),),
        (TensorSpec("y", tuple(module(x).shape), "features", tolerance=0.1),),
    )
    return capture(spec)


class Scaled(nn.Module):
    """A layer whose result is multiplied with a parameter."""

    def __init__(self, layer: nn.Module, *shape: int) -> None:
        super().__init__()
        self.layer, self.scale = layer, nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.layer(x)


class Attention(nn.Module):
    """Three layers read one norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        mixed = nn.functional.scaled_dot_product_attention
        return mixed(self.q(x), self.k(x), self.v(x), scale=1.0)


class ByHand(nn.Module):
    """A norm that forward writes out."""

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.layer = nn.Parameter(torch.ones(WIDTH)), nn.Linear(WIDTH, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * self.gain)


IMAGE = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(2))
linear, norm = (lambda: nn.Linear(WIDTH, 4)), (lambda: nn.LayerNorm(WIDTH))
FOLDED: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "a norm before a layer": (lambda: nn.Sequential(norm(), linear()), X),
    "a norm before three": (Attention, X),
    "a norm without shifts": (lambda: nn.Sequential(nn.RMSNorm(WIDTH), linear()), X),
    "a norm by hand": (ByHand, X),
    "a scale behind a layer": (lambda: Scaled(linear(), 4), X),
    "one number for all": (lambda: Scaled(linear(), 1), X),
    "a scale behind a convolution": (lambda: Scaled(nn.Conv2d(3, 4, 3), 4, 1, 1), IMAGE),
    "... in groups": (lambda: Scaled(nn.Conv2d(3, 6, 3, groups=3, bias=False), 1, 6, 1, 1), IMAGE),
}


def scales(program: Program) -> list[bool]:
    """Of each norm and scale, whether it is 1, and 0 where it shifts."""
    found = []
    for name, one in program.module.named_parameters():
        if "norm" in name or name in ("0.weight", "0.bias", "scale", "gain"):
            found.append(bool((one == (0 if "bias" in name else 1)).all()))
    return found


@pytest.mark.parametrize("name", FOLDED)
def test_a_scale_goes_into_the_layers_beside_it(name: str) -> None:
    make, x = FOLDED[name]
    program = program_of(make(), x)
    folded = FoldScales()(program)
    assert folded is not program
    assert all(scales(folded))
    assert not any(scales(program))
    torch.testing.assert_close(folded.module(x), program.module(x), rtol=1e-5, atol=1e-6)
    assert FoldScales()(folded) is folded


class Residual(nn.Module):
    """What is scaled has another reader."""

    def __init__(self, behind: bool) -> None:
        super().__init__()
        self.norm, self.layer, self.behind = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), behind
        self.scale = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        if self.behind:
            y = self.layer(x)
            return y * self.scale + y
        x = self.norm(x)
        return x + self.layer(x)


class Shared(nn.Module):
    """One layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(self.norm(x)).tanh())


class OfAnother(nn.Module):
    """A scale of tokens, and one that is computed."""

    def __init__(self, tokens: bool) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(WIDTH, 4), nn.Parameter(torch.ones(5, 1))
        self.tokens = tokens

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y * self.scale if self.tokens else y * self.scale.mean().exp()


class Multihead(nn.Module):
    """Axes are turned between, where TFLite's converter takes no scale either."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(WIDTH), nn.MultiheadAttention(WIDTH, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        mixed: Tensor = self.mix(x, x, x, need_weights=False)[0]
        return mixed


class Right(nn.Module):
    """The norm's result is the right side of a product: the features are the rows of a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.left = nn.LayerNorm(WIDTH), nn.Parameter(torch.rand(4, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.left, self.norm(x[0]))


BLOCKED: dict[str, Callable[[], nn.Module]] = {
    "a residual of the norm": lambda: Residual(False),
    "a residual before the scale": lambda: Residual(True),
    "a layer that is used twice": Shared,
    "no bias for the shift": lambda: nn.Sequential(norm(), nn.Linear(WIDTH, 4, bias=False)),
    "a scale of tokens": lambda: OfAnother(True),
    "a scale that is computed": lambda: OfAnother(False),
    "an activation between": lambda: nn.Sequential(norm(), nn.ReLU(), linear()),
    "a norm over two axes": lambda: nn.Sequential(nn.LayerNorm((5, WIDTH)), linear()),
    "axes are turned between": Multihead,
    "it is the other side": Right,
}


@pytest.mark.parametrize("name", BLOCKED)
def test_a_scale_stays_where(name: str) -> None:
    program = program_of(BLOCKED[name]())
    assert FoldScales()(program) is program


@pytest.mark.parametrize("scale", [1e-6, 1e7])
def test_a_scale_stays_that_float16_has_no_digits_for(scale: float) -> None:
    program = program_of(Scaled(nn.Linear(WIDTH, 4), 4))
    program.module.get_parameter("scale").data.mul_(scale)
    assert FoldScales()(program) is program


def test_what_a_step_has_stored_stays() -> None:
    program = program_of(Scaled(nn.Linear(WIDTH, 4), 4))
    stored = replace(program, encodings={"layer.weight": Encoding("float16")})
    assert FoldScales()(stored) is stored


class Block(nn.Module):
    """A block of a transformer with scales of its layers, as CaiT and ConvNeXt have them."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.norm = Attention(), nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 24), Scaled(nn.Linear(24, WIDTH), WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix(x)
        return x + self.down(nn.functional.hardswish(self.up(self.norm(x))))


def test_a_transformer_for_android_holds_the_numbers_of_its_program(tmp_path: Path) -> None:
    """TFLite's converter took the norms' scales into rounded kernels, and rounded them again.

    So it did with the 1/6 of a hard swish, and the layer behind.
    """
    recipe, captured = recipes.find("fp16"), program_of(Block())
    program = pipeline.run(captured, recipe.load())
    with Worker("tflite") as worker:
        artifact = worker.convert(export_each(program, tmp_path, {"onnx"}), tmp_path)
    numbers = constants.compare(artifact, program)
    assert numbers.report.folded == 0
    assert numbers.report.equal > 0.99 * numbers.report.numbers
    own = constants.numbers_of(program)
    assert all(own[name].ptp() == 0 for name in numbers.lost)
    made = of_build(recipe, captured, program, cases.build(captured.spec.inputs))
    with closing(formats.open_in_float32(artifact)) as runner:
        rows = compare.check(runner, made.of_file(numbers.lost).of("faithful"))
    assert {row.verdict for row in rows} == {"passed"}
    assert max(row.tolerance or 1 for row in rows) < 1e-4
