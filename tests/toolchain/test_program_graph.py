"""A program's graph: captured once, handed on by passes, and the same as a new capture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from converters import program_graph
from converters.api import Program
from converters.capture import capture, example
from converters.graph.captured import CapturedGraph, capture_graph
from converters.program_graph import captured_of
from model_defs.errors import BadModule
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.passes.int8 import Int8
from toolchain.passes.prune_channels import PruneChannels
from toolchain.quantization.activations import OnGrids
from toolchain.quantization.gptq import collect_moments
from toolchain.recipes import pipeline, recipes


class Plain(nn.Module):
    """A layer that pads before it, one without a bias, a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect", bias=False)
        self.norm, self.other = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.second, self.last = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 5, 16)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.first(x)).relu()
        return self.last(y + self.other(self.second(y)).relu()).flatten(1)


class Standardised(Plain):
    """A kernel that is computed of another, which is folded when the graph is captured."""

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.second.weight / self.second.weight.std()
        y = self.norm(self.first(x)).relu()
        return self.last(functional.conv2d(y, kernel, padding=1)).flatten(1)


class Transformer(nn.Module):
    """PyTorch runs its layer as one operation, and exports its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, 4)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        head: Tensor = self.head(self.block(tokens).mean(1))
        return head


def program_of(kind: Callable[[], nn.Module]) -> Program:
    torch.manual_seed(4)
    module = kind()
    for name, buffer in module.named_buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand_like(buffer) + (0.5 if "var" in name else -0.5))
    image = TensorSpec("image", (1, 3, 16, 16), "image", low=0, high=1)
    out = TensorSpec("result", (1, 5), "features", tolerance=0.1)
    return capture(ModelSpec("net", lambda: module, (image,), (out,)))


def described(captured: CapturedGraph) -> list[tuple[str, ...]]:
    """Each operation, what it reads, and where it comes from."""
    return [
        (n.name, str(n.target), str(n.args), str(n.kwargs), *map(str, layer))
        for n, layer in zip(
            captured.operations,
            ((x.module, x.source, x.inputs) for x in captured.layers()),
            strict=True,
        )
    ]


def first_of(result: tuple[Tensor, ...]) -> Tensor:
    return result[0]


@pytest.mark.parametrize("recipe", ["fp32", "equalize,weights-int8,weights-fp16", "int8"])
@pytest.mark.parametrize("kind", [Plain, Standardised, Transformer])
def test_a_build_captures_once_what_it_may_hand_on(kind: type[nn.Module], recipe: str) -> None:
    before = program_of(kind)
    with mock.patch.object(program_graph, "capture_graph", wraps=capture_graph) as captures:
        after = pipeline.run(before, recipes.find(recipe).load())
        handed = captured_of(after)
    if kind is not Standardised:
        assert captures.call_count == 1
    inputs = example(after.spec)
    torch.testing.assert_close(
        first_of(handed.module(*inputs)), after.module(*inputs), rtol=1e-5, atol=1e-6
    )
    if not isinstance(after.module, OnGrids):
        again = capture_graph(after.module, inputs)
        assert described(handed) == described(again)
        assert torch.equal(first_of(handed.module(*inputs)), first_of(again.module(*inputs)))


def test_a_net_on_grids_has_them_behind_its_operations_and_its_own_numbers() -> None:
    after = pipeline.run(program_of(Plain), recipes.find("int8").load())
    captured = captured_of(after)
    made = [n for n in captured.operations if "fake_quantize" in str(n.target)]
    first, *others = [n.all_input_nodes[0] for n in made]
    assert first is captured.inputs[0]
    assert [n.name for n in others] == ["relu", "relu_1", "add", "conv2d_2"]
    assert {type(m).__name__ for m in after.module.children()} == {"Conv2d", "Identity"}
    inputs = example(after.spec)
    before = after.module(*inputs)
    after.module.get_parameter("last.weight").data.mul_(2)
    assert not torch.equal(after.module(*inputs), before)


class Sized(nn.Module):
    """A convolution at any size, and at a large one another operation."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.conv = most, nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).relu()
        return (y if x.shape[2] < self.most else y.sigmoid()).mean((2, 3))


def test_grids_stay_at_their_operations_at_another_size() -> None:
    after = Int8()(program_of(partial(Sized, 100)))
    inputs = torch.rand(1, 3, 24, 40)
    assert isinstance(after.module, OnGrids)
    grids = after.module.grids.at
    x = grids[-1].rounded(inputs)
    want = grids[1].rounded(functional.relu(after.module.get_submodule("conv")(x))).mean((2, 3))
    assert torch.equal(after.module(inputs), want)


def test_a_net_that_is_another_at_a_size_has_no_grids_there() -> None:
    after = Int8()(program_of(partial(Sized, 20)))
    with pytest.raises(BadModule, match="makes 4 operations at this size, and other ones when"):
        after.module(torch.rand(1, 3, 24, 40))


LAYERS = ("stem", "block.self_attn.out_proj", "block.linear1", "block.linear2", "head")


def test_a_transformer_computes_in_integers() -> None:
    before = program_of(Transformer)
    assert {f"{layer}.weight" for layer in LAYERS} == set(collect_moments(before))
    after = Int8()(before)
    integers = {name for name, e in after.encodings.items() if e.dtype == "int32"}
    assert integers == {f"{layer}.bias" for layer in LAYERS}
    inputs = example(before.spec)
    error = float((after.module(*inputs) - before.module(*inputs)).abs().max())
    assert 0 < error < 0.05 * float(before.module(*inputs).abs().max())


def test_a_transformer_loses_what_lies_inside_its_layers() -> None:
    before = program_of(Transformer)
    dead = np.arange(0, 32, 2)
    block = before.module.block
    assert isinstance(block, nn.TransformerEncoderLayer)
    block.linear1.weight.data[dead], block.linear1.bias.data[dead] = 0, 0
    block.linear2.weight.data[:, dead] = 0
    after = pipeline.run(before, (PruneChannels(ratio=0.5, multiple=1),))
    inner = after.module.get_submodule("block.linear1")
    assert (inner.out_features, inner.in_features) == (16, 16)
    inputs = example(before.spec)
    torch.testing.assert_close(after.module(*inputs), before.module(*inputs), rtol=1e-5, atol=1e-6)
    assert not any("not followed" in note for note in after.notes)
