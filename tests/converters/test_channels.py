"""Channels that go together: tiny nets of each kind, then what must be left alone.

Everything that a channel has is set to 0, so that it contributes nothing; without it, the net
must give the same numbers.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converters.capture import example
from converters.channels.find import channels_of, explains
from converters.channels.follow import stored
from converters.channels.groups import Channels
from converters.channels.remove import remove
from model_defs import zoo
from model_defs.counting import macs

X = torch.rand(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def filled(module: nn.Module) -> nn.Module:
    """Numbers away from 0 and from identity."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + (0.5 if "var" in name else -0.5))
    return module.eval().requires_grad_(False)


def some(channels: Channels) -> dict[str, np.ndarray]:
    """A third of each group's channels, at least one, never all."""
    random = np.random.default_rng(0)
    return {
        g.name: np.sort(random.permutation(g.size)[: max(1, min(g.size - 1, g.size // 3))])
        for g in channels.groups
    }


def check_dead_channels(module: nn.Module, inputs: tuple[Tensor, ...], atol: float = 1e-5) -> float:
    """Returns the share of the multiply-adds that is left."""
    channels = channels_of(module, inputs)
    assert channels.groups
    chosen = some(channels)
    cuts = channels.cuts(chosen)
    dead = copy.deepcopy(module)
    tensors = stored(dead)
    with torch.no_grad():
        for (name, place), indices in cuts.items():
            if tensors[name].is_floating_point() and "running" not in name:
                tensors[name].index_fill_(place, torch.from_numpy(indices), 0.0)
    dead.eval()
    pruned = copy.deepcopy(dead)
    remove(pruned, cuts)
    assert explains(channels, module, inputs, chosen)
    with torch.no_grad():
        want, got = dead(*inputs), pruned(*inputs)
    for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (want, got)), strict=True):
        assert a.shape == b.shape
        assert float((a - b).abs().max()) <= atol * max(1.0, float(a.abs().max()))
    left = macs(pruned, inputs)
    assert channels.macs({}) == macs(module, inputs)
    assert channels.macs(chosen) == left < channels.macs({})
    assert channels.numbers(chosen) == sum(t.numel() for t in stored(pruned).values())
    return left / channels.macs({})


def conv(inputs: int, outputs: int, kernel: int = 3, **options: int) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


class Net(nn.Module):
    """Named parts; `forward` is what differs."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


class Residual(Net):
    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y = y + self.second(y)
        return self.last(y * self.gate(y.mean((2, 3), keepdim=True)))


class Joined(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.cat((self.first(x), x, self.second(x)), 1))


class Halves(Net):
    """A gated unit: both halves of the channels go together."""

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.first(x).chunk(2, 1)
        return self.last(value * gate.sigmoid())


class Shuffled(Net):
    """ShuffleNet's exchange between the groups of convolutions."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        n, channels, height, width = x.shape
        x = x.view(n, 2, channels // 2, height, width).transpose(1, 2).reshape(x.shape)
        return self.last(self.second(x))


class Flat(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.middle(self.first(x).flatten(1))))


class Attention(Net):
    """Four heads; `size` is a number in the code, so that only the values' inside may go."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.first(x).flatten(2).transpose(1, 2)  # (1, 64, 12)
        queries, keys, values = (part(tokens) for part in (self.q, self.k, self.v))
        weights = (queries @ keys.transpose(1, 2) * 0.3).softmax(-1)
        return self.last(weights @ values)


class Tied(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for _ in range(3):
            x = F.elu(F.conv2d(x, self.again.weight, self.again.bias, padding=1)) + x
        return self.last(x)


class Scaled(Net):
    """A parameter of its own, (1, C, 1, 1), and a bias read elsewhere."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__(**parts)
        self.scale = nn.Parameter(torch.ones(1, 8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = F.prelu(self.first[0](x) * self.scale, self.slope.weight)
        return self.last(y + self.first[0].bias.reshape(1, -1, 1, 1))


NETS: dict[str, nn.Module] = {
    "plain": nn.Sequential(conv(4, 8), conv(8, 6), nn.Conv2d(6, 2, 1)),
    "depthwise": nn.Sequential(conv(4, 8, 1), conv(8, 8, groups=8), nn.Conv2d(8, 2, 1)),
    "multiplied": nn.Sequential(conv(4, 8, 1), conv(8, 16, groups=8), nn.Conv2d(16, 2, 1)),
    "grouped": nn.Sequential(conv(4, 12), conv(12, 18, groups=3), nn.Conv2d(18, 2, 1)),
    "transposed": nn.Sequential(
        nn.ConvTranspose2d(4, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 6, 2),
        nn.Conv2d(6, 1, 1),
    ),
    "transposed-grouped": nn.Sequential(
        conv(4, 8), nn.ConvTranspose2d(8, 8, 2, 2, groups=8),
        nn.ConvTranspose2d(8, 12, 3, groups=2), nn.ReLU(), nn.Conv2d(12, 2, 1),
    ),
    "pixel-shuffle": nn.Sequential(conv(4, 16), nn.PixelShuffle(2), nn.Conv2d(4, 2, 3)),
    "pixel-unshuffle": nn.Sequential(conv(4, 6), nn.PixelUnshuffle(2), nn.Conv2d(24, 2, 3)),
    "resized": nn.Sequential(
        conv(4, 8), nn.MaxPool2d(3, 2, 1), nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.ReflectionPad2d(1), nn.AvgPool2d(2), nn.InstanceNorm2d(8, affine=True),
        nn.ConstantPad2d(1, 0.0), nn.Conv2d(8, 2, 3),
    ),
    "residual": Residual(
        first=conv(4, 8), second=conv(8, 8), gate=nn.Sequential(nn.Conv2d(8, 6, 1), nn.ReLU(),
        nn.Conv2d(6, 8, 1), nn.Sigmoid()), last=nn.Conv2d(8, 2, 1),
    ),
    "joined": Joined(first=conv(4, 6), second=conv(4, 8), last=nn.Conv2d(18, 2, 3)),
    "halves": Halves(first=conv(4, 12), last=nn.Conv2d(6, 2, 1)),
    "shuffled": Shuffled(
        first=conv(4, 12), second=conv(12, 8, groups=2), last=nn.Conv2d(8, 2, 1)
    ),
    "flat": Flat(
        first=nn.Sequential(conv(4, 6), nn.AdaptiveAvgPool2d(2)),
        middle=nn.Linear(24, 10), last=nn.Linear(10, 3),
    ),
    "attention": Attention(
        first=conv(4, 12), q=nn.Linear(12, 8), k=nn.Linear(12, 8), v=nn.Linear(12, 6),
        last=nn.Linear(6, 2),
    ),
    "tied": Tied(first=conv(4, 8), again=nn.Conv2d(8, 8, 3), last=nn.Conv2d(8, 2, 1)),
    "scaled": Scaled(first=conv(4, 8), slope=nn.PReLU(8), last=nn.Conv2d(8, 2, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_dead_channels_change_nothing_when_they_go(name: str) -> None:
    assert check_dead_channels(filled(copy.deepcopy(NETS[name])), (X,)) < 0.9


SMALLER = {"select": 128, "select-coarse": 128, "inpaint-lite": 64, "inpaint-pconv": 256}
"""A side on which a net that takes any size is quicker."""

PHONE_SIZED = [
    *("select", "select-coarse", "portrait-video", "portrait-head"),
    *("depth", "depth-trunk", "depth-head", "inpaint-lite", "inpaint-pconv"),
    # What others of these share with them.
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("portrait", "saliency")),
]


@pytest.mark.parametrize("name", PHONE_SIZED)
def test_the_zoos_dead_channels_change_nothing_when_they_go(name: str) -> None:
    spec = zoo.load(name)
    module = spec.build().eval().requires_grad_(False)
    side = SMALLER.get(name)
    inputs = tuple(tensor[..., :side, :side] for tensor in example(spec))
    channels = channels_of(module, inputs)
    assert not channels.unknown
    assert not channels.refused
    left = check_dead_channels(module, inputs, atol=1e-4)
    assert left < (0.9 if name.endswith(("head", "trunk")) else 0.6)


def names(module: nn.Module) -> list[str]:
    return [group.name for group in channels_of(filled(module), (X,)).groups]


def test_what_makes_the_output_stays() -> None:
    assert names(nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 6, 1))) == ["0"]


def test_what_is_added_to_the_input_stays() -> None:
    class Added(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.last(x + self.first(x))

    assert names(Added(first=nn.Conv2d(4, 4, 1), last=nn.Conv2d(4, 2, 1))) == []


class Means(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).mean(1, keepdim=True))


class Attends(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).softmax(1))


class Masked(Net):
    """A fixed number for each channel."""

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x) * torch.linspace(0, 1, 8).reshape(1, -1, 1, 1))


class Selected(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x)[:, 3:4])


class Normalised(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.layer_norm(self.first(x).movedim(1, -1), (8,)).movedim(-1, 1))


class GroupNormalised(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x)).relu())


class Sorted(Net):
    """An operation without a rule."""

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).sort(1).values)


class NotKept(Net):
    """A buffer that no file holds, so that it cannot be cut."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__(**parts)
        self.register_buffer("mask", torch.ones(1, 8, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x) * self.mask)


@pytest.mark.parametrize(
    ("kind", "last"),
    [
        (Means, 1),
        (Attends, 8),
        (Masked, 8),
        (Selected, 1),
        (Normalised, 8),
        (Sorted, 8),
        (NotKept, 8),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_says_which_channels_there_are_blocks(kind: type[Net], last: int) -> None:
    net = kind(first=nn.Conv2d(4, 8, 1), last=nn.Conv2d(last, 2, 1))
    assert names(net) == []
    assert channels_of(net, (X,)).unknown == (("sort",) if kind is Sorted else ())


def test_what_a_group_norm_normalises_together_stays() -> None:
    first, norm, last = nn.Conv2d(4, 8, 1), nn.GroupNorm(2, 8), nn.Conv2d(8, 2, 1)
    net = GroupNormalised(first=first, norm=norm, last=last)
    assert names(net) == []
    assert channels_of(net, (X,)).unknown == ()
    assert names(nn.Sequential(net, nn.Conv2d(2, 6, 1), nn.ReLU(), nn.Conv2d(6, 2, 1))) == [
        "0.last",
        "1",
    ]


class Slices(Net):
    """The same sizes without some of the first channels, but other channels."""

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x)[:, 4:6])


class Written(Net):
    """A width written as a number."""

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).reshape(1, 8, 64).reshape(1, 8, 8, 8))


class Branches(Net):
    """Another way where the widths differ."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.last(y) if y.shape[1] == 8 else self.last(y) * 2


class Chunks(Net):
    """Two halves that must be as wide, though nothing else says so."""

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.first(x).chunk(2, 1)
        return self.last(one) + self.more(other)


@pytest.mark.parametrize("kind", [Slices, Written, Branches, Chunks])
def test_a_width_in_the_code_is_found_by_running_it(kind: type[Net]) -> None:
    width = {"Slices": 2, "Chunks": 4}.get(kind.__name__, 8)
    net = filled(
        kind(first=nn.Conv2d(4, 8, 1), last=nn.Conv2d(width, 2, 1), more=nn.Conv2d(width, 2, 1))
    )
    channels = channels_of(net, (X,))
    assert channels.groups == ()
    assert all(name.startswith(("first", "last", "more")) for name in channels.refused)
    assert channels.refused


def test_a_layer_is_left_whose_parameters_do_not_say_its_groups() -> None:
    class Functional(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.last(F.conv2d(self.first(x), self.middle.weight, groups=8))

    net = Functional(
        first=nn.Conv2d(4, 8, 1), middle=nn.Conv2d(8, 8, 1, groups=8), last=nn.Conv2d(8, 2, 1)
    )
    assert channels_of(filled(net), (X,)).refused == ("first",)


def test_what_is_not_read_stays() -> None:
    class Unread(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.first(x)

    assert names(Unread(first=nn.Conv2d(4, 2, 1), other=nn.Conv2d(4, 8, 1))) == []


def test_a_wrong_choice_is_not_explained() -> None:
    """The checker's own test: it is told that half of what goes together goes."""
    net = filled(copy.deepcopy(NETS["residual"]))
    channels = channels_of(net, (X,))
    (group, *_) = channels.groups
    broken = {place: m for place, m in group.members.items() if place[0] != "last.weight"}
    liar = Channels(
        (type(group)(group.name, broken, group.labels),), channels.calls, channels.labels
    )
    assert explains(channels, net, (X,), {group.name: np.array([1])})
    assert not explains(liar, net, (X,), {group.name: np.array([1])})


def test_the_module_looked_at_is_not_changed() -> None:
    net = filled(copy.deepcopy(NETS["grouped"]))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    channels_of(net, (X,))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
