"""Random small networks: converted, executed, and equal to PyTorch."""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, Phase, assume, given, settings
from mil_packages import compare, convert
from torch import Tensor, nn

from converters import mil

Draw = Callable[[st.SearchStrategy], Any]
Layer = Callable[[Tensor], Tensor]
MOST = 4096
"""Elements that a value may have, so that hundreds of programs are quick."""
STEADY = 20
"""How many times a layer may enlarge its input's error: beyond it float32 kernels part by right."""

ACTIVATIONS: tuple[Layer, ...] = (
    torch.relu,
    F.relu6,
    torch.sigmoid,
    torch.tanh,
    F.silu,
    F.gelu,
    F.elu,
    F.softplus,
    F.hardswish,
    torch.abs,
    torch.square,
    lambda x: F.leaky_relu(x, 0.1),
    lambda x: x.clamp(-1, 1.5),
    lambda x: torch.exp(-x.abs()),
    lambda x: torch.sqrt(x.abs() + 0.5),
    lambda x: 1 / (x.abs() + 0.5),
)


def activation(draw: Draw, x: Tensor) -> Layer:
    return draw(st.sampled_from(ACTIVATIONS))


def conv(draw: Draw, x: Tensor) -> Layer:
    channels = x.shape[1]
    groups = draw(st.sampled_from([g for g in (1, 2, channels) if channels % g == 0]))
    size = draw(st.sampled_from([1, 3, 5]))
    dilation = draw(st.sampled_from([1, 2]))
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate"]))
    pad = dilation * (size // 2)
    if mode != "zeros" and pad >= min(x.shape[2:]):  # replicated more often in steps alone
        mode = "zeros"
    return nn.Conv2d(
        channels,
        groups * draw(st.integers(1, 3)),
        size,
        draw(st.sampled_from([1, 2])),
        pad,
        dilation,
        groups,
        draw(st.booleans()),
        mode,
    )


def deconv(draw: Draw, x: Tensor) -> Layer:
    size = draw(st.sampled_from([2, 3, 4]))
    stride = draw(st.sampled_from([1, 2]))
    pad = draw(st.integers(0, 1))
    extra = draw(st.integers(0, stride - 1)) if pad else 0  # else coremltools fails
    return nn.ConvTranspose2d(x.shape[1], draw(st.integers(1, 4)), size, stride, pad, extra)


def norm(draw: Draw, x: Tensor) -> Layer:
    channels = x.shape[1]
    kinds: list[Callable[[], nn.Module]] = [lambda: nn.BatchNorm2d(channels)]
    if x.shape[2] * x.shape[3] > 3:
        kinds.append(lambda: nn.InstanceNorm2d(channels, affine=True, eps=0.1))
        kinds.append(lambda: nn.GroupNorm(1, channels, eps=0.1))
    return draw(st.sampled_from(kinds))()


def pool(draw: Draw, x: Tensor) -> Layer:
    size = draw(st.integers(2, 3))
    stride = draw(st.integers(1, 3))
    pad = draw(st.integers(0, size // 2))
    ceil = draw(st.booleans())
    if draw(st.booleans()):
        return lambda x: F.max_pool2d(x, size, stride, pad, ceil_mode=ceil)
    counts = not ceil and draw(st.booleans())  # with both, Core ML is not PyTorch
    return lambda x: F.avg_pool2d(x, size, stride, pad, ceil, counts)


def resize(draw: Draw, x: Tensor) -> Layer:
    if draw(st.booleans()):
        factor = draw(st.sampled_from([2, 3]))
        return lambda x: F.interpolate(x, scale_factor=factor)
    size = (draw(st.integers(1, 12)), draw(st.integers(1, 12)))
    align = draw(st.booleans())
    return lambda x: F.interpolate(x, size, mode="bilinear", align_corners=align)


def pad(draw: Draw, x: Tensor) -> Layer:
    most = min(2, *(n - 1 for n in x.shape[2:]))
    pads = tuple(draw(st.integers(0, most)) for _ in range(4))
    mode = draw(st.sampled_from(["constant", "reflect", "replicate"]))
    return lambda x: F.pad(x, pads, mode)


def crop(draw: Draw, x: Tensor) -> Layer:
    top, left = (draw(st.integers(0, n - 1)) for n in x.shape[2:])
    step = draw(st.integers(1, 2))
    return lambda x: x[:, :, top:, left::step]


def shuffle(draw: Draw, x: Tensor) -> Layer:
    kinds: list[Layer] = [
        lambda x: x.transpose(2, 3),
        lambda x: x.flip(2),
        lambda x: x.flip((1, 3)),
    ]
    if x.shape[1] % 4 == 0:
        kinds.append(lambda x: F.pixel_shuffle(x, 2))
    if x.shape[2] % 2 == x.shape[3] % 2 == 0:
        kinds.append(lambda x: F.pixel_unshuffle(x, 2))
    if x.shape[1] % 2 == 0:
        kinds.append(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1))
    return draw(st.sampled_from(kinds))


def mix(draw: Draw, x: Tensor) -> Layer:
    kinds: list[Layer] = [
        lambda x: torch.cat([x, torch.sigmoid(x)], 1),
        lambda x: x + torch.tanh(x),
        lambda x: x * x.mean((2, 3), keepdim=True),
        lambda x: x - x.amax(1, keepdim=True),
        lambda x: torch.where(x > 0, x, 0.3 * x),
        lambda x: torch.maximum(x, x.mean(1, keepdim=True)),
        lambda x: F.softmax(x, 1),
        lambda x: F.softmax(x.flatten(2), 2).reshape(x.shape),
        lambda x: torch.stack([x, -x], 2).flatten(1, 2),
        lambda x: torch.matmul(x, x.transpose(2, 3)) / x.shape[3],
    ]
    return draw(st.sampled_from(kinds))


LAYERS = (activation, conv, deconv, norm, pool, resize, pad, crop, shuffle, mix)


class Network(nn.Module):
    def __init__(self, layers: list[Layer]) -> None:
        super().__init__()
        self.layers = layers
        self.kept = nn.ModuleList([m for m in layers if isinstance(m, nn.Module)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def unlike_fresh(module: nn.Module) -> None:
    """Statistics and weights as after training, so that a fold cannot hide."""
    for name, buffer in module.named_buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 2) if "var" in name else buffer.uniform_(-1, 1)
    for parameter in module.parameters():
        parameter.uniform_(-1, 1)


@st.composite
def networks(draw: Draw) -> tuple[Network, Tensor]:
    """A network and its input; steps that would leave the bounds are passed over."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    shape = (
        1,
        draw(st.sampled_from([1, 2, 3, 4])),
        draw(st.integers(4, 9)),
        draw(st.integers(4, 9)),
    )
    x = torch.randn(shape)
    layers: list[Layer] = []
    y = x
    with torch.no_grad():
        for kind in draw(st.lists(st.sampled_from(LAYERS), min_size=2, max_size=7)):
            layer = kind(draw, y)
            if isinstance(layer, nn.Module):
                layer.eval()
                unlike_fresh(layer)
            try:
                z = layer(y)
            except RuntimeError:  # too small for this kernel
                continue
            small = z.numel() <= MOST and z.dim() == 4 and 1e-3 < z.abs().max() < 1e4
            if small and steady(layer, y, z):
                layers, y = [*layers, layer], z
    return Network(layers).eval(), x


def steady(layer: Layer, x: Tensor, y: Tensor) -> bool:
    """Whether rounding of the input stays rounding in y = layer(x), as shares of their largest.

    A mean that cancels to almost nothing and is multiplied by does not: what is left of it
    depends on the order of the additions, in PyTorch as in any other runtime.
    """
    noise = 1e-4 * x.abs().max() * torch.randn_like(x)
    moved = (layer(x + noise) - y).abs().max()
    return bool(moved <= STEADY * 1e-4 * y.abs().max())


def test_a_mean_that_cancels_is_no_network_to_judge_by() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 6, 6)
    by_mean: Layer = lambda x: x * x.mean((2, 3), keepdim=True)  # noqa: E731
    cancelled = x - x.mean((2, 3), keepdim=True) + 1e-5
    assert steady(by_mean, x + 1, by_mean(x + 1))
    assert not steady(by_mean, cancelled, by_mean(cancelled))


class Several(nn.Module):
    """Networks side by side: one conversion for all of them."""

    def __init__(self, networks: list[Network]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(n(x) for n, x in zip(self.networks, inputs, strict=True))


def check(drawn: list[tuple[Network, Tensor]]) -> None:
    """Each network's package gives what PyTorch gives."""
    try:
        _check(drawn)
    except Exception as error:
        for one in drawn if len(drawn) > 1 else ():
            check([one])
        raise AssertionError(f"{[(described(n), tuple(x.shape)) for n, x in drawn]}") from error


def _check(drawn: list[tuple[Network, Tensor]]) -> None:
    several, inputs = Several([n for n, _ in drawn]), [x for _, x in drawn]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "random.mlpackage"
        convert(several, inputs, path, [f"y_{i}" for i in range(len(drawn))], "iOS16")
        feed = {f"in_{i}": x.numpy() for i, x in enumerate(inputs)}
        ours = mil.open_package(path).main.run(feed)
        for i, theirs in enumerate(several(*inputs)):
            compare(ours[f"y_{i}"], theirs.numpy(), 2e-5)


def described(network: Network) -> list[str]:
    """Its layers: modules as they print, functions by line of this file and what they captured."""
    return [
        str(layer) if isinstance(layer, nn.Module) else _place(layer) for layer in network.layers
    ]


def _place(layer: Layer) -> str:
    captured = inspect.getclosurevars(layer).nonlocals if inspect.isfunction(layer) else {}
    line = f":{layer.__code__.co_firstlineno}" if inspect.isfunction(layer) else ""
    return f"{layer.__qualname__}{line} {captured or ''}"


def test_a_failure_names_the_network_and_its_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checker that cannot fail proves nothing."""
    good, bad = Network([torch.relu]), Network([nn.Conv2d(1, 1, 1), torch.tanh])

    def fails(drawn: list[tuple[Network, Tensor]]) -> None:
        assert all(network is good for network, _ in drawn)

    monkeypatch.setattr(sys.modules[__name__], "_check", fails)
    x = torch.rand(1, 1, 4, 4)
    check([(good, x)])
    with pytest.raises(AssertionError, match=r"Conv2d\(1, 1.*tanh.*\(1, 1, 4, 4\)") as caught:
        check([(good, x), (bad, x)])
    assert "relu" not in str(caught.value)


GENERATED = settings(
    phases=[Phase.generate],  # a shrink takes longer than all cases, and `check` names the net
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TEN = st.lists(networks(), min_size=10, max_size=10)


def layered(drawn: list[tuple[Network, Tensor]]) -> list[tuple[Network, Tensor]]:
    """Those that have layers, of which there must be some."""
    drawn = [(network, x) for network, x in drawn if network.layers]
    assume(drawn)
    return drawn


@pytest.mark.usefixtures("ct")
@settings(GENERATED, max_examples=20, derandomize=True)
@given(TEN)
def test_hundreds_of_random_networks(drawn: list[tuple[Network, Tensor]]) -> None:
    check(layered(drawn))


@pytest.mark.slow
@pytest.mark.usefixtures("ct")
@settings(GENERATED, max_examples=300)
@given(TEN)
def test_thousands_of_random_networks(drawn: list[tuple[Network, Tensor]]) -> None:
    check(layered(drawn))
