"""Cross-layer equalization: equal bits, even ranges; then why it must not fire."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from converters.api import Program
from converters.capture import capture
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.passes.equalize import Equalize
from toolchain.passes.weights_fp16 import WeightsFp16
from toolchain.passes.weights_uint8 import WeightsUint8
from toolchain.quantization.equalization import find_equalizable_pairs
from toolchain.recipes import pipeline, recipes

X = torch.rand(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)) - 0.5


def program_of(module: nn.Module) -> Program:
    """A program whose channels are of very different ranges."""
    torch.manual_seed(3)
    for parameter in module.parameters():
        spread = torch.exp2(torch.randint(-4, 5, (len(parameter),)).float())
        spread = spread.view(-1, *[1] * (parameter.dim() - 1))
        parameter.data.copy_((torch.rand_like(parameter) - 0.5) * spread)
    image = TensorSpec("x", tuple(X.shape), "image", low=-0.5, high=0.5)
    shape = tuple(module.eval()(X).shape)
    return capture(
        ModelSpec("tiny", lambda: module, (image,), (TensorSpec("y", shape, "map", tolerance=0.1),))
    )


def outputs(program: Program) -> Tensor:
    result: Tensor = program.module(X)
    return result


def even(program: Program, first: str, second: str) -> bool:
    """Whether each channel is made and read by numbers as large, up to a factor of 2."""
    made, read = (program.module.get_submodule(path) for path in (first, second))
    ratio = _largest(made, made=True) / _largest(read, made=False)
    return bool(((ratio >= 0.5) & (ratio < 2)).all())


def _largest(layer: nn.Module, *, made: bool) -> Tensor:
    """For each channel that a layer makes or reads; in groups: depthwise layers only."""
    transposed, depthwise = isinstance(layer, nn.ConvTranspose2d), getattr(layer, "groups", 1) > 1
    kernel = layer.get_parameter("weight").abs()
    first = depthwise or made != transposed
    return (kernel if first else kernel.transpose(0, 1)).flatten(1).amax(1)


PAIRS: dict[str, tuple[nn.Module, nn.Module]] = {
    "convolutions": (nn.Conv2d(4, 6, 3), nn.Conv2d(6, 5, 3)),
    "no bias": (nn.Conv2d(4, 6, 1, bias=False), nn.Conv2d(6, 5, 3, padding=1)),
    "into depthwise": (nn.Conv2d(4, 6, 1), nn.Conv2d(6, 6, 3, groups=6)),
    "from depthwise": (nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 6, 1)),
    "into transposed": (nn.Conv2d(4, 6, 1), nn.ConvTranspose2d(6, 5, 2, 2)),
    "from transposed": (nn.ConvTranspose2d(4, 6, 2, 2), nn.Conv2d(6, 5, 1)),
    "padded by reflection": (
        nn.Conv2d(4, 6, 1),
        nn.Conv2d(6, 5, 3, padding=1, padding_mode="reflect"),
    ),
    "linear": (nn.Linear(8, 6), nn.Linear(6, 5)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_evens_out_the_ranges_of_two_layers(name: str) -> None:
    before = program_of(nn.Sequential(PAIRS[name][0], nn.ReLU(), PAIRS[name][1]))
    after = pipeline.run(before, (Equalize(),))
    assert not even(before, "0", "2")
    assert even(after, "0", "2")
    assert torch.equal(outputs(after), outputs(before))
    assert Equalize()(after) is after


def test_a_channel_is_scaled_by_the_nearest_power_of_two() -> None:
    program = program_of(nn.Sequential(nn.Conv2d(4, 2, 1), nn.Conv2d(2, 1, 1)))
    first, second = program.module[0], program.module[1]  # type: ignore[index]
    for tensor in (first.weight, first.bias, second.weight):
        tensor.data.fill_(1.0)
    first.weight[0], first.bias[0] = 24.0, 3.0  # sqrt(24 / 1) is nearest to 4
    after = Equalize()(program).module
    assert after[0].weight[:, 0, 0, 0].tolist() == [6, 1]  # type: ignore[index]
    assert after[0].bias.tolist() == [0.75, 1]  # type: ignore[index]
    assert after[1].weight[0, :, 0, 0].tolist() == [4, 1]  # type: ignore[index]


def test_channels_in_groups_are_told_apart() -> None:
    layers = nn.Conv2d(4, 6, 1, groups=2), nn.ConvTranspose2d(6, 4, 2, groups=2), nn.Conv2d(4, 2, 1)
    before = program_of(nn.Sequential(*layers))
    after = Equalize()(before)
    made, read = (after.module[i].weight.abs().amax((1, 2, 3)) for i in (0, 1))  # type: ignore[index]
    assert ((made / read >= 0.5) & (made / read < 2)).all()
    assert torch.equal(outputs(after), outputs(before))


BETWEEN: dict[str, nn.Module] = {
    "nothing": nn.Identity(),
    "ReLU in place": nn.ReLU(inplace=True),
    "LeakyReLU": nn.LeakyReLU(0.2),
    "PReLU": nn.PReLU(6),
    "dropout": nn.Dropout(0.5),
    "max pooling": nn.MaxPool2d(2),
    "average pooling": nn.AvgPool2d(2),
    "global pooling": nn.AdaptiveAvgPool2d(1),
    "nearest": nn.Upsample(scale_factor=2),
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "several": nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Upsample(scale_factor=2)),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_looks_through_what_scales(name: str) -> None:
    before = program_of(nn.Sequential(nn.Conv2d(4, 6, 3), BETWEEN[name], nn.Conv2d(6, 5, 1)))
    after = Equalize()(before)
    assert after is not before
    assert torch.equal(outputs(after), outputs(before))


def inverted_residual() -> nn.Module:
    depthwise = nn.Conv2d(16, 16, 3, groups=16)
    return nn.Sequential(nn.Conv2d(4, 16, 1), nn.ReLU(), depthwise, nn.ReLU(), nn.Conv2d(16, 4, 1))


def test_goes_on_until_no_pair_moves() -> None:
    before = program_of(inverted_residual())
    assert find_equalizable_pairs(before) == [("0", "2"), ("2", "4")]
    after = pipeline.run(before, (Equalize(),))
    for pair in (("0", "2"), ("2", "4")):
        assert even(after, *pair)
    assert torch.equal(outputs(after), outputs(before))


def test_a_scale_a_kernel_then_loses_less() -> None:
    before = program_of(inverted_residual())
    losses = [
        float((outputs(pipeline.run(before, passes)) - outputs(before)).abs().mean())
        for passes in ((WeightsUint8(),), (Equalize(), WeightsUint8()))
    ]
    assert losses[1] < losses[0] / 2


def test_a_recipe_with_it_is_as_exact_as_without() -> None:
    assert recipes.find("equalize").exact


class Two(nn.Module):
    """What the cases below vary: a layer, and one that reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.between(self.first(x)))

    def between(self, y: Tensor) -> Tensor:
        return y


DOES_NOT_SCALE: dict[str, Callable[[Tensor], Tensor]] = {
    "ReLU6": functional.relu6,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "ELU": functional.elu,
    "hard-swish": functional.hardswish,
    "GELU": functional.gelu,
    "clamp": lambda y: y.clamp(0, 6),
    "a constant": lambda y: y + 1,
    "a square": lambda y: y * y,
    "softmax": lambda y: y.softmax(1),
    "a permutation": lambda y: y.transpose(1, 2).reshape(y.shape),
    "pooling over channels": lambda y: functional.max_pool3d(y, (3, 1, 1), 1, (1, 0, 0)),
    "a sum": lambda y: y + y.relu(),
    "a concatenation": lambda y: torch.cat((y[:, :2], y[:, 2:]), 1),
}


@pytest.mark.parametrize("name", DOES_NOT_SCALE)
def test_leaves_what_does_not_scale(name: str) -> None:
    class Case(Two):
        def between(self, y: Tensor) -> Tensor:
            return DOES_NOT_SCALE[name](y)

    before = program_of(Case())
    assert Equalize()(before) is before


class WithBatchNorm(Two):
    """One that was not folded shifts what it scales."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)

    def between(self, y: Tensor) -> Tensor:
        return self.norm(y)


class ReadTwice(Two):
    """Another layer reads the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.third = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x).relu()
        return self.second(y) + self.third(y)


class Residual(Two):
    """The channels are one side of a sum."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return y + self.second(y.relu())


class SlopesAreItsBias(Two):
    """The bias is read by what lies between."""

    def between(self, y: Tensor) -> Tensor:
        return torch.prelu(y, self.first.bias)


class Returned(Two):
    """The channels are an output, and what the second layer makes of them is none."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        self.second(y)
        return y


class WrittenInto(Two):
    """Some of the channels are replaced."""

    def between(self, y: Tensor) -> Tensor:
        y[:, :2] = 0.5
        return y


class FirstTwice(Two):
    """The first layer runs twice."""

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(functional.relu6(self.first(x))))


class SecondTwice(Two):
    """The second layer runs twice."""

    def forward(self, x: Tensor) -> Tensor:
        return self.second(functional.relu6(self.second(self.first(x))))


class SharedKernel(Two):
    """Both layers have one kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.second.weight = self.first.weight


class BiasReadElsewhere(Two):
    """The bias has another use."""

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)) * self.first.bias.mean()


class Doubled(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


class Subclass(Two):
    """The first layer does more than its type says."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Doubled(4, 4, 1)


class Functional(Two):
    """The second layer is no module of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(self.first(x), self.second.weight)


class AcrossColumns(Two):
    """A linear layer reads columns, not channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 8, 1), nn.Linear(8, 8)


class PoolsFeatures(Two):
    """Pooling behind a linear layer mixes the numbers that the next one tells apart."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)

    def between(self, y: Tensor) -> Tensor:
        return functional.max_pool2d(y, 3, 1, 1)


@pytest.mark.parametrize(
    "kind",
    [
        *(WithBatchNorm, ReadTwice, Residual, Returned, WrittenInto, FirstTwice, SecondTwice),
        *(SlopesAreItsBias, SharedKernel, BiasReadElsewhere, Subclass, Functional),
        *(AcrossColumns, PoolsFeatures),
    ],
)
def test_leaves_a_pair_alone(kind: type[nn.Module]) -> None:
    before = program_of(kind())
    assert Equalize()(before) is before


@pytest.mark.parametrize("encode", [WeightsFp16(), WeightsUint8(keep=("first",))])
def test_kernels_that_are_encoded_stay(encode: Callable[[Program], Program]) -> None:
    encoded = encode(program_of(Two()))
    assert encoded.encodings
    assert Equalize()(encoded) is encoded


@pytest.mark.parametrize("layer", ["first", "second"])
def test_a_channel_that_is_zero_on_one_side_stays(layer: str) -> None:
    program = program_of(Two())
    program.module.get_parameter(f"{layer}.weight").data.zero_()
    assert Equalize()(program) is program
