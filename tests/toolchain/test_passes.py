"""Passes: a tiny program, what is left of it, equal numbers; then why each must not fire."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from converters.api import Program
from converters.capture import capture
from converters.encodings import Encoding
from converters.program_graph import captured_of
from model_defs.errors import BadModule, BadWeights, PassFailed
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.passes import PASSES
from toolchain.passes.fold_batchnorm import FoldBatchnorm
from toolchain.passes.weights_fp16 import WeightsFp16
from toolchain.passes.weights_uint8 import WeightsUint8
from toolchain.passes.weights_uint16 import WeightsUint16
from toolchain.recipes import pipeline
from toolchain.recipes.recipes import RECIPES

X = torch.rand(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def program_of(module: nn.Module) -> Program:
    """A program with BatchNorm statistics far from identity."""
    torch.manual_seed(3)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point():
            tensor.data.copy_(torch.rand_like(tensor) + (0.5 if "var" in name else -0.5))
    module.eval()
    spec = ModelSpec(
        "tiny",
        lambda: module,
        (TensorSpec("x", (1, 4, 8, 8), "image", low=0, high=1),),
        (TensorSpec("y", tuple(module(X).shape), "map", tolerance=0.1),),
    )
    return capture(spec)


def kinds(program: Program) -> list[str]:
    return [type(m).__name__ for m in program.module.modules() if not list(m.children())]


@pytest.mark.parametrize(
    ("layer", "norm"),
    [
        (nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)),
        (nn.Conv2d(4, 4, 3, stride=2, groups=4), nn.BatchNorm2d(4, eps=1e-3)),
        (nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1), nn.BatchNorm2d(6)),
        (nn.ConvTranspose2d(4, 6, 4, stride=2, groups=2), nn.BatchNorm2d(6)),
        (nn.Sequential(nn.Flatten(2), nn.ConvTranspose1d(4, 6, 4, 2, groups=2)), nn.BatchNorm1d(6)),
        (
            nn.Sequential(nn.Unflatten(2, (2, 4)), nn.ConvTranspose3d(4, 6, 2, groups=2)),
            nn.BatchNorm3d(6),
        ),
        # What fills it up comes before its bias, and so do the operations of its graph.
        (nn.ConvTranspose2d(4, 6, 3, dilation=2, output_padding=1, bias=False), nn.BatchNorm2d(6)),
        (nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6, affine=False)),
        (nn.Sequential(nn.Flatten(1), nn.Linear(256, 6)), nn.BatchNorm1d(6)),
    ],
    ids=[
        "conv",
        "depthwise",
        "transposed",
        "transposed-groups",
        "transposed-groups-1d",
        "transposed-groups-3d",
        "transposed-filled",
        "no-affine",
        "linear",
    ],
)
def test_folds_a_batchnorm_into_its_layer(layer: nn.Module, norm: nn.Module) -> None:
    before = program_of(nn.Sequential(layer, norm, nn.ReLU()))
    after = FoldBatchnorm()(before)
    assert kinds(after) == [*kinds(before)[:-2], "Identity", "ReLU"]
    torch.testing.assert_close(after.module(X), before.module(X), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(captured_of(after).module(X)[0], after.module(X))
    assert FoldBatchnorm()(after) is after


class Twice(nn.Module):
    """The convolution's output has another use."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y + self.norm(y)


class Reused(Twice):
    """The convolution runs twice."""

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(self.conv(x)))


class SharedNorm(Twice):
    """The BatchNorm runs twice."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.norm(self.conv(x)))


class SharedWeight(Twice):
    """Another layer holds the same weight."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(4, 4, 1)
        self.other.weight = self.conv.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.other(x)


class FunctionalConv(Twice):
    """The convolution is no module of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(nn.functional.conv2d(x, self.conv.weight))


class WeightReadElsewhere(Twice):
    """The convolution's weight has another use."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) * self.conv.weight.mean()


class NormReadElsewhere(Twice):
    """The BatchNorm's scale has another use."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) * self.norm.weight.mean()


class ResultReturned(Twice):
    """The convolution's output is an output, too."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y).copy_(y)


class WrittenInto(Twice):
    """Some of the convolution's output is replaced."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y[:, :2] = 0.5
        return self.norm(y)


class NormFirst(Twice):
    """There is no convolution before the BatchNorm, whose input has its name."""

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(input=x))


class NormWithActivation(nn.BatchNorm2d):
    """A subclass that does more, as timm's BatchNormAct2d."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


class Subclass(Twice):
    """The BatchNorm is a subclass."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = NormWithActivation(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class OverTokens(Twice):
    """The BatchNorm scales tokens, of which there are as many as features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Linear(8, 8), nn.BatchNorm1d(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x[:, 0]))


class OldWeightNorm(Twice):
    """A hook computes the weight."""

    def __init__(self) -> None:
        super().__init__()
        with pytest.warns(FutureWarning):
            self.conv = nn.utils.weight_norm(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class WithoutStatistics(Twice):
    """The BatchNorm normalises by the batch that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


@pytest.mark.parametrize(
    "kind",
    [
        *(Twice, Reused, SharedNorm, SharedWeight, NormFirst, FunctionalConv, Subclass),
        *(WithoutStatistics, WeightReadElsewhere, NormReadElsewhere, ResultReturned, WrittenInto),
        OverTokens,
    ],
)
def test_leaves_a_batchnorm_alone(kind: type[nn.Module]) -> None:
    before = program_of(kind())
    assert FoldBatchnorm()(before) is before


def test_a_graph_is_handed_on_where_what_its_constants_are_of_stays() -> None:
    class Scaled(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.conv2d(x, self.weight * 2)

    module = nn.Sequential(nn.Conv2d(4, 4, 3), Scaled(4, 4, 1, bias=False)).requires_grad_(False)
    captured = captured_of(program_of(module))
    first, second = copy.deepcopy(module), copy.deepcopy(module)
    first[0].weight.mul_(2)
    second[1].weight.mul_(2)
    handed_on = captured.on(first)
    assert handed_on is not None
    torch.testing.assert_close(handed_on.module(X)[0], first(X))
    assert captured.on(second) is None


def test_a_norm_of_weights_is_their_tensor_by_then() -> None:
    before = program_of(OldWeightNorm())
    assert [*dict(before.module.conv.named_parameters())] == ["bias", "weight"]
    after = FoldBatchnorm()(before)
    assert isinstance(after.module.norm, nn.Identity)
    x = torch.rand(before.spec.inputs[0].shape)
    torch.testing.assert_close(after.module(x), before.module(x))


def test_rounds_weights_to_what_float16_stores() -> None:
    before = program_of(nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)))
    after = WeightsFp16()(before)
    for name, tensor in after.module.named_parameters():
        assert torch.equal(tensor, tensor.half().float())
        assert after.encodings[name] == Encoding("float16")
    original = before.module[0].weight  # type: ignore[index]
    assert torch.equal(after.module[0].weight, original.half().float())  # type: ignore[index]
    assert not torch.equal(after.module[0].weight, original)  # type: ignore[index]
    assert WeightsFp16()(after) is after


def test_refuses_a_weight_that_float16_cannot_hold() -> None:
    program = program_of(nn.Conv2d(4, 6, 3))
    program.module.weight.data[0, 0, 0, 0] = 1e5
    with pytest.raises(BadWeights, match="weight holds 100000"):
        WeightsFp16()(program)


class SharedKernel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


GRIDS = [(WeightsUint8, "uint8", 255), (WeightsUint16, "uint16", 65535)]


@pytest.mark.parametrize(("kind", "dtype", "last"), GRIDS)
def test_puts_kernels_onto_a_grid(kind: type[WeightsUint8], dtype: str, last: int) -> None:
    before = program_of(nn.Sequential(nn.Conv2d(4, 6, 3), nn.ConvTranspose2d(6, 6, 2)))
    after = kind()(before)
    assert set(after.encodings) == {"0.weight", "1.weight"}
    for name, encoding in after.encodings.items():
        kernel, original = (p.module.get_parameter(name).double() for p in (after, before))
        (scale,) = encoding.scales
        codes = (kernel - encoding.minimum) / scale
        assert encoding.dtype == dtype
        assert torch.allclose(codes, codes.round(), atol=1e-2)
        assert codes.min() > -0.5
        assert codes.max() < last + 0.5
        assert (kernel - original).abs().max() <= 0.5001 * scale
    assert kind()(after) is after


def test_a_grid_holds_zero_exactly() -> None:
    program = program_of(nn.Conv2d(4, 6, 3))
    program.module.weight.data[0] = 0
    assert not WeightsUint8()(program).module.weight[0].any()  # type: ignore[index]


def test_a_kernel_that_two_layers_share_has_one_grid() -> None:
    after = WeightsUint8()(program_of(SharedKernel()))
    assert after.encodings["first.weight"] == after.encodings["second.weight"]
    assert WeightsUint8()(after) is after


def test_a_kernel_of_zeros_has_no_grid() -> None:
    program = program_of(nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)))
    program.module[1].weight.data.zero_()  # type: ignore[index,operator]
    assert set(WeightsUint8()(program).encodings) == {"0.weight"}


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_has_one_name_in_four_spellings(name: str) -> None:
    module, attribute = PASSES[name].split(":")
    kind = import_module(f"toolchain.passes.{name.replace('-', '_')}")
    assert module == f"toolchain.passes.{name.replace('-', '_')}"
    assert attribute == "".join(word.capitalize() for word in name.split("-"))
    assert getattr(kind, attribute).name == name


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda r: r.name)
def test_recipes_run(recipe: Any) -> None:
    before = program_of(nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU()))
    after = pipeline.run(before, recipe.load())
    assert bool(after.encodings) != recipe.exact
    near = 0.2 if recipe.lossy else 5e-3
    torch.testing.assert_close(after.module(X), before.module(X), atol=near, rtol=0)


@dataclass(frozen=True)
class Liar:
    """A pass that does what it is told to."""

    act: Callable[[Program], Program]
    name: ClassVar[str] = "liar"
    exact: ClassVar[bool] = True

    def __call__(self, program: Program) -> Program:
        return self.act(program)


def scaled(program: Program, factor: float) -> Program:
    module = copy.deepcopy(program.module)
    module.weight.data *= factor
    return replace(program, module=module)


def in_place(program: Program) -> Program:
    program.module.weight.data *= 2
    return program


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda p: scaled(p, 1.01), "is exact, but moved 'y'"),
        (lambda p: scaled(p, float("nan")), "made 'y' NaN"),
        (in_place, "changed the program that it was given"),
        (lambda p: replace(p, module=nn.Sequential(p.module, nn.MaxPool2d(2))), "the shape of"),
    ],
)
def test_the_pipeline_stops_a_liar(act: Callable[[Program], Program], message: str) -> None:
    program = program_of(nn.Conv2d(4, 6, 3))
    with pytest.raises(PassFailed, match=message) as caught:
        pipeline.run(program, (FoldBatchnorm(), Liar(act)))
    assert "pass liar (after fold-batchnorm)" in caught.value.what


class Cancels(nn.Module):
    """Far from zero and back: what is left is rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight + 3e4) - 3e4


def test_rounding_that_moves_the_program_itself_is_no_lie() -> None:
    program = program_of(Cancels())
    program.module.weight.data.fill_(1.0)
    moved = scaled(program, 1 + 2**-22)
    pipeline.run(program, (Liar(lambda p: moved),))
    with pytest.raises(PassFailed, match="is exact, but moved 'y'"):
        pipeline.run(program, (Liar(lambda p: scaled(p, 1.05)),))


def test_a_model_whose_own_output_is_not_finite_is_not_blamed_on_a_pass() -> None:
    program = program_of(nn.Conv2d(4, 6, 3))
    program.module.weight.data[2] = float("nan")
    with pytest.raises(
        BadModule, match=r"PyTorch's own output 'y' is not finite on case 'photo': 36 of its 216"
    ):
        pipeline.run(program, (FoldBatchnorm(),))


def test_the_pipeline_lets_an_honest_pass_through() -> None:
    program = program_of(nn.Conv2d(4, 6, 3))
    assert pipeline.run(program, (Liar(lambda p: scaled(p, 1.0)),)) is not program
