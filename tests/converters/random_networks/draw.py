"""Draws small networks: layers that PyTorch's users write, with arguments as rare as they come."""

from __future__ import annotations

import inspect
import random
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Found = TypeVar("Found")


class Draw:
    """Choices that a number decides, the same on every machine: Hypothesis' depend on the time."""

    def __init__(self, number: int) -> None:
        self._random = random.Random(number)

    def one_of(self, choices: Sequence[Found]) -> Found:
        return self._random.choice(choices)

    def whole(self, least: int, most: int) -> int:
        return self._random.randint(least, most)

    def flag(self) -> bool:
        return self._random.random() < 0.5


Layer = Callable[[Tensor], Tensor]
MOST = 4096
"""Elements that a value may have, so that hundreds of programs are quick."""
DEPTH = (2, 7)
"""Layers that are drawn for a network; what leaves the bounds is passed over."""
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
    return draw.one_of(ACTIVATIONS)


def _groups(draw: Draw, x: Tensor) -> int:
    channels = x.shape[1]
    groups: int = draw.one_of([g for g in (1, 2, channels) if channels % g == 0])
    return groups


def conv(draw: Draw, x: Tensor) -> Layer:
    channels, groups = x.shape[1], _groups(draw, x)
    size = draw.one_of([1, 3, 5])
    dilation = draw.one_of([1, 2])
    mode = draw.one_of(["zeros", "zeros", "reflect", "replicate", "circular"])
    pad = dilation * (size // 2)
    if mode != "zeros" and pad >= min(x.shape[2:]):  # replicated more often in steps alone
        mode = "zeros"
    return nn.Conv2d(
        channels,
        groups * draw.whole(1, 3),
        size,
        draw.one_of([1, 2]),
        pad,
        dilation,
        groups,
        draw.flag(),
        mode,
    )


def deconv(draw: Draw, x: Tensor) -> Layer:
    size = draw.one_of([2, 3, 4])
    stride = draw.whole(1, 3)
    pad = draw.whole(0, 2)
    dilation = draw.one_of([1, 1, 2])
    extra = draw.whole(0, max(stride, dilation) - 1)
    groups = _groups(draw, x)
    outputs = groups * draw.whole(1, 3)
    biased = draw.flag()
    return nn.ConvTranspose2d(
        x.shape[1], outputs, size, stride, pad, extra, groups, biased, dilation
    )


def norm(draw: Draw, x: Tensor) -> Layer:
    channels = x.shape[1]
    kinds: list[Callable[[], nn.Module]] = [lambda: nn.BatchNorm2d(channels)]
    if x.shape[2] * x.shape[3] > 3:
        kinds.append(lambda: nn.InstanceNorm2d(channels, affine=True, eps=0.1))
        kinds.append(lambda: nn.GroupNorm(1, channels, eps=0.1))
    return draw.one_of(kinds)()


def normalised(draw: Draw, x: Tensor) -> Layer:
    """A convolution, and behind it what passes fold into it, or must not."""
    layer = draw.one_of([conv, deconv])(draw, x)
    how = draw.whole(0, 2)
    if how == 0 and getattr(layer, "padding_mode", "zeros") == "zeros":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # that it is old is why it is here
            nn.utils.weight_norm(layer)
    channels: int = layer.out_channels  # type: ignore[attr-defined]
    if how == 1:
        scale = torch.rand(channels, 1, 1) + 0.5
        return Then(layer, lambda x: x * scale + 0.3)
    return Then(layer, nn.BatchNorm2d(channels, affine=draw.flag()))


class Then(nn.Module):
    """Two layers as one."""

    def __init__(self, first: Any, second: Any) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        return y


def tokens(draw: Draw, x: Tensor) -> Layer:
    """A linear layer over the last axis, and a norm over tokens, features, or neither."""
    rows, width = x.shape[2:]
    wide = draw.one_of([rows, draw.whole(1, 9)])
    linear = nn.Linear(width, wide, bias=draw.flag())
    kind = draw.whole(0, 3 if wide > 1 else 2)  # ONNX Runtime has no LayerNorm of one number
    if kind == 0:
        return Then(linear, nn.BatchNorm2d(x.shape[1]))
    if kind == 1:
        return Then(lambda x: linear(x)[0], Then(nn.BatchNorm1d(rows), lambda x: x[None]))
    if kind == 2:
        return Then(linear, nn.RMSNorm(wide, eps=1e-2))
    return Then(linear, nn.LayerNorm(wide, eps=0.1))


def pool(draw: Draw, x: Tensor) -> Layer:
    size = (draw.whole(1, 3), draw.whole(2, 3))
    stride = (draw.whole(1, 4), draw.whole(1, 3))
    padding = tuple(draw.whole(0, k // 2) for k in size)
    ceil = draw.flag()
    if draw.flag():
        dilation = draw.one_of([1, 1, 2])
        return lambda x: F.max_pool2d(x, size, stride, padding, dilation, ceil)
    counts, divisor = draw.flag(), draw.one_of([None, None, 2, 5])
    return lambda x: F.avg_pool2d(x, size, stride, padding, ceil, counts, divisor)


def adaptive(draw: Draw, x: Tensor) -> Layer:
    size = (draw.whole(1, 9), draw.whole(1, 9))
    if draw.flag():
        return lambda x: F.adaptive_avg_pool2d(x, size)
    return lambda x: F.adaptive_max_pool2d(x, size)


def resize(draw: Draw, x: Tensor) -> Layer:
    mode = draw.one_of(["nearest", "nearest-exact", "bilinear", "bilinear", "bicubic"])
    how: dict[str, Any] = {"mode": mode}
    if not mode.startswith("nearest"):
        how["antialias"] = draw.one_of([False, False, True])
        how["align_corners"] = draw.flag()
    if draw.flag():
        factor = draw.one_of([0.5, 0.7, 1.05, 1.3, 1.6, 2.0, 3.0, (1.3, 2.0)])
        how["recompute_scale_factor"] = draw.one_of([None, None, True])
        return lambda x: F.interpolate(x, scale_factor=factor, **how)
    # To a width of one pixel PyTorch's antialias repeats the first row, and is refused.
    size = (draw.whole(1, 12), draw.whole(2 if how.get("antialias") else 1, 12))
    return lambda x: F.interpolate(x, size, **how)


def pad(draw: Draw, x: Tensor) -> Layer:
    mode = draw.one_of(["constant", "reflect", "replicate", "circular"])
    most = min(3, *(n - 1 for n in x.shape[2:]))
    pads = tuple(draw.whole(-1, most) for _ in range(4))
    if mode == "constant":
        front = draw.one_of([(), (1, 0), (-1, 2)]) if x.shape[1] > 1 else ()
        value = draw.one_of([0.0, -1.5])
        return lambda x: F.pad(x, (*pads, *front), mode, value)
    return lambda x: F.pad(x, pads, mode)


def division(draw: Draw, x: Tensor) -> Layer:
    """What rounds a quotient down, or towards zero, of negative numbers, too."""
    by = draw.one_of([0.7, 1.0, -0.7, 3.0, -2.5])
    whole = draw.one_of([3, -3, 1, 7])
    kinds: list[Layer] = [
        lambda x: x // by,
        lambda x: torch.remainder(x, by),
        lambda x: torch.fmod(x, by),
        lambda x: torch.div(x, by, rounding_mode="trunc"),
        lambda x: ((x * 10).long() // whole).float(),
        lambda x: ((x * 10).int() % whole).float(),
        lambda x: torch.fmod((x * 10).int(), whole).float(),
        lambda x: torch.div((x * 10).long(), whole, rounding_mode="trunc") / 7,
        lambda x: ((x * 5).int() @ (x * 3).int().transpose(2, 3)) / 50,
    ]
    return draw.one_of(kinds)


def assignment(draw: Draw, x: Tensor) -> Layer:
    """Writing into parts, in place."""
    row = draw.whole(-1, x.shape[2] - 1)
    step = draw.whole(1, 3)
    places = torch.tensor([draw.whole(-1, x.shape[3] - 1) for _ in range(draw.whole(1, 3))])

    def run(write: Callable[[Tensor, Tensor], Any]) -> Layer:
        def assigned(x: Tensor) -> Tensor:
            y = x * 1.5
            write(y, x)
            return y

        return assigned

    kinds: list[Callable[[Tensor, Tensor], Any]] = [
        lambda y, x: y[..., ::step].fill_(0.5),
        lambda y, x: y[:, :, row].copy_(x[:, :, 0]),
        lambda y, x: y[:, 0].clamp_(min=0),
        lambda y, x: y[:, :, row:].mul_(x.mean()),
        lambda y, x: y.transpose(2, 3)[:, :, ::step].add_(1),
        lambda y, x: y.__setitem__((..., places), 1.5),
        lambda y, x: y.__setitem__(x > 0, -0.25),
        lambda y, x: y.index_add_(3, places % x.shape[3], x[..., : len(places)], alpha=2),
        lambda y, x: y.masked_fill_(x < -0.5, 2.0),
        lambda y, x: y.diagonal(0, 2, 3).mul_(2),
    ]
    return run(draw.one_of(kinds))


def order(draw: Draw, x: Tensor) -> Layer:
    """Largest and sorted numbers, and places of the largest. Ties have no order that is defined:
    a net whose outputs noise moves so far is passed over (`steady`)."""
    axis = draw.whole(1, 3)
    count = draw.whole(1, x.shape[axis])
    down = draw.flag()
    kinds: list[Layer] = [
        lambda x: x.topk(count, axis, largest=down)[0],
        lambda x: x.topk(count, axis, largest=down)[1] * 0.1 + x.mean(),
        lambda x: x.sort(axis, descending=down)[0],
        lambda x: x * x.argmax(axis, keepdim=True),
        lambda x: x + x.argmin().float() * 0.01,
        lambda x: x.cumsum(axis),
    ]
    return draw.one_of(kinds)


def crop(draw: Draw, x: Tensor) -> Layer:
    top, left = (draw.whole(0, n - 1) for n in x.shape[2:])
    step = draw.whole(1, 2)
    return lambda x: x[:, :, top:, left::step]


def shuffle(draw: Draw, x: Tensor) -> Layer:
    kinds: list[Layer] = [
        lambda x: x.transpose(2, 3),
        lambda x: x.flip(2),
        lambda x: x.flip((1, 3)),
        lambda x: x.roll(3),
        lambda x: x.roll((1, -2), (2, 3)),
    ]
    if x.shape[1] % 4 == 0:
        kinds.append(lambda x: F.pixel_shuffle(x, 2))
    if x.shape[2] % 2 == x.shape[3] % 2 == 0:
        kinds.append(lambda x: F.pixel_unshuffle(x, 2))
    if x.shape[1] % 2 == 0:
        kinds.append(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1))
    return draw.one_of(kinds)


def mix(draw: Draw, x: Tensor) -> Layer:
    kinds: list[Layer] = [
        lambda x: torch.cat([x, torch.sigmoid(x)], 1),
        lambda x: x + torch.tanh(x),
        lambda x: x * x.mean((2, 3), keepdim=True),
        lambda x: x - x.amax(1, keepdim=True),
        lambda x: torch.where(x > 0, x, 0.3 * x),
        lambda x: torch.maximum(x, x.mean(1, keepdim=True)),
        lambda x: F.softmax(x, 1),
        lambda x: F.softplus(x, 2, 3),
        lambda x: torch.add(x, x.flip(-1), alpha=3),
        lambda x: torch.where((x > 0.5) | (x < -1), x, -x),
        lambda x: F.softmax(x.flatten(2), 2).reshape(x.shape),
        lambda x: torch.stack([x, -x], 2).flatten(1, 2),
        lambda x: torch.matmul(x, x.transpose(2, 3)) / x.shape[3],
    ]
    return draw.one_of(kinds)


LAYERS = (
    *(activation, conv, deconv, norm, pool, resize, pad, crop, shuffle, mix),
    *(normalised, tokens, adaptive, division, assignment, order),
)


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


def a_network(draw: Draw, depth: tuple[int, int] = DEPTH) -> tuple[Network, Tensor]:
    """A network and its input; steps that would leave the bounds are passed over."""
    torch.manual_seed(draw.whole(0, 2**16))
    shape = (
        1,
        draw.one_of([1, 2, 3, 4]),
        draw.whole(4, 9),
        draw.whole(4, 9),
    )
    x = torch.randn(shape)
    layers: list[Layer] = []
    y = x
    with torch.no_grad():
        for kind in [draw.one_of(LAYERS) for _ in range(draw.whole(*depth))]:
            layer = kind(draw, y)
            if isinstance(layer, nn.Module):
                layer.eval()
                unlike_fresh(layer)
            try:
                z = layer(y)
            except RuntimeError:  # too small for this kernel
                continue
            small = 0 < z.numel() <= MOST and z.dim() == 4 and 1e-3 < z.abs().max() < 1e4
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


def described(network: Network) -> list[str]:
    """Its layers: modules as they print, functions by line of this file and what they captured."""
    return [
        str(layer) if isinstance(layer, nn.Module) else _place(layer) for layer in network.layers
    ]


def _place(layer: Layer) -> str:
    captured = inspect.getclosurevars(layer).nonlocals if inspect.isfunction(layer) else {}
    captured = {k: _place(v) if inspect.isfunction(v) else v for k, v in captured.items()}
    line = f":{layer.__code__.co_firstlineno}" if inspect.isfunction(layer) else ""
    return f"{layer.__qualname__}{line} {captured or ''}"


def drawn(number: int, count: int, depth: tuple[int, int] = DEPTH) -> list[tuple[Network, Tensor]]:
    """So many networks that have layers: the same for the same number."""
    draw = Draw(number)
    found: list[tuple[Network, Tensor]] = []
    while len(found) < count:
        network, x = a_network(draw, depth)
        if network.layers:
            found.append((network, x))
    return found
