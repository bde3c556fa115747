"""What forward takes and returns, as people write it, is flat tensors to all else."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from converters.capture import capture
from converters.program_graph import captured_of
from converters.reference import ReferenceRunner
from converters.signature import leaves, names_of
from model_defs.errors import BadModule, BadSpec
from model_defs.spec import ModelSpec, TensorSpec


@dataclass
class Found:
    mask: Any
    scores: Any = None


class Pair(NamedTuple):
    near: Any
    far: Any


class Record(OrderedDict):  # type: ignore[type-arg]
    """As a ModelOutput of transformers is: a mapping with attributes."""


A, B, C = (torch.full((1,), float(i)) for i in range(3))


@pytest.mark.parametrize(
    ("result", "names"),
    [
        (A, ["output"]),
        ((A,), ["output"]),
        ([A, B], ["output1", "output2"]),
        ((A, None, B), ["output1", "output3"]),
        ({"Low-Res": A, "out.1": B, "skip": None}, ["low_res", "out_1"]),
        (Record(logits=A, hidden_states=(B, C)), ["logits", "hidden_states_1", "hidden_states_2"]),
        (Found(A, {"b": B}), ["mask", "scores_b"]),
        (Found(A), ["mask"]),
        (Pair(A, [B, (C,)]), ["near", "far_1", "far_2_1"]),
        (({"a": A}, B), ["output1_a", "output2"]),
        ({"a": A, "A": B, "image": C}, ["a", "a_2", "image_out"]),
        ({1: A, "2": B}, ["t1", "t2"]),
        ({}, []),
    ],
)
def test_names_come_from_the_keys(result: Any, names: list[str]) -> None:
    found = list(leaves(result))
    assert names_of(found, frozenset({"image"})) == names
    assert [float(leaf.value) for leaf in found] == [0, 1, 2][: len(names)]


class Net(nn.Module):
    """Its `shape` says what forward returns of two maps."""

    def __init__(self, shape: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.scale = nn.Conv2d(3, 2, 3), nn.Parameter(torch.full((1,), 2.0))
        self.shape = [shape]
        self.eval()

    def forward(self, image: Tensor, gain: Tensor, *, sign: float = 1.0) -> Any:
        y = self.conv(image) * self.scale * sign
        return self.shape[0](y, y.mean((2, 3)) + gain)


def tensor(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, shape, "features", tolerance=0.01)


IMAGE, GAIN = tensor("image", 1, 3, 8, 8), tensor("gain", 1, 2)
MAP, MEAN = (1, 2, 6, 6), (1, 2)


def spec_of(shape: Callable[[Tensor, Tensor], Any], **outputs: tuple[int, ...]) -> ModelSpec:
    named = tuple(tensor(name, *sizes) for name, sizes in outputs.items())
    return ModelSpec("net", lambda: Net(shape), (IMAGE, GAIN), named)


@pytest.mark.parametrize(
    ("shape", "outputs"),
    [
        (lambda a, b: (a, b), {"any": MAP, "other": MEAN}),
        (lambda a, b: [a, None, b], {"any": MAP, "other": MEAN}),
        (lambda a, b: {"far": a, "near": b}, {"near": MEAN, "far": MAP}),
        (lambda a, b: {"far": a, "near": b}, {"any": MAP, "other": MEAN}),
        (lambda a, b: Found(b, (a, {"x": b})), {"scores_1": MAP, "mask": MEAN}),
        (lambda a, b: Record(logits=a, cache="none"), {"logits": MAP}),
        (lambda a, b: Pair(b, a), {"far": MAP, "near": MEAN}),
        (lambda a, b: (a.half(), b), {"any": MAP, "other": MEAN}),
    ],
)
def test_a_module_is_flat_to_all_else(
    shape: Callable[[Tensor, Tensor], Any], outputs: Mapping[str, tuple[int, ...]]
) -> None:
    program = capture(spec_of(shape, **outputs))
    assert list(program.module.state_dict()) == ["scale", "conv.weight", "conv.bias"]
    assert type(program.module).__name__ == "Net"
    inputs = torch.rand(1, 3, 8, 8), torch.rand(1, 2)
    wanted = {MAP: program.module.conv(inputs[0]) * 2}  # type: ignore[operator]
    wanted[MEAN] = wanted[MAP].mean((2, 3)) + inputs[1]
    exported = torch.export.export(program.module, inputs, strict=False)
    assert "conv.weight" in exported.state_dict
    runner = ReferenceRunner(program)
    by_name = dict(zip(("image", "gain"), (x.numpy() for x in inputs), strict=True))
    for found in (
        program.module(*inputs),
        copy.deepcopy(program.module)(*inputs),
        captured_of(program).module(*inputs),
        exported.module()(*inputs),
        tuple(map(torch.from_numpy, runner.run(by_name).values())),
    ):
        assert [one.dtype for one in found] == [torch.float32] * len(outputs)
        for one, sizes in zip(found, outputs.values(), strict=True):
            torch.testing.assert_close(one, wanted[sizes], rtol=1e-3, atol=1e-3)


def test_what_is_left_out_is_said() -> None:
    program = capture(spec_of(lambda a, b: {"a": a, "b": b, "n": 3}, b=MEAN))
    assert program.notes == ("forward also returns a, n, which the specification leaves out",)
    assert capture(spec_of(lambda a, b: {"b": b, "a": a}, a=MAP, b=MEAN)).notes == ()


def test_a_plain_module_stays_what_it_is() -> None:
    net = Net(lambda a, b: (a, b))
    spec = ModelSpec("net", lambda: net, (IMAGE, GAIN), (tensor("a", *MAP), tensor("b", *MEAN)))
    assert capture(spec).module is net


@pytest.mark.parametrize(
    ("shape", "outputs", "message"),
    [
        (lambda a, b: {"a": a, "b": b}, {"a": MAP, "c": MEAN}, r"no 'c'\s+where: it returned a, b"),
        (lambda a, b: {"a": a, "b": b}, {"c": MAP}, r"2 tensors for 1 outputs\s+do: .* a, b"),
        (lambda a, b: {"a": a, "b": b}, {"b": MAP}, r"'b' has shape \(1, 2\), not"),
        (lambda a, b: (a, None), {"a": MAP, "b": MEAN}, "1 tensors for 2 outputs"),
        (lambda a, b: "a", {"a": MAP}, "forward returned str"),
    ],
)
def test_outputs_that_are_not_the_declared_ones(
    shape: Callable[[Tensor, Tensor], Any], outputs: Mapping[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(BadSpec, match=message):
        capture(spec_of(shape, **outputs))


def test_a_call_says_how_the_module_is_asked() -> None:
    class Dictated(Net):
        def forward(self, batch: Any, sign: float = 1.0) -> Any:  # type: ignore[override]
            return super().forward(batch["image"], batch["extra"][0], sign=sign)

    spec = ModelSpec(
        "net",
        lambda: Dictated(lambda a, b: {"map": a}),
        (IMAGE, GAIN),
        (tensor("y", *MAP),),
        call=lambda net, image, gain: net({"image": image, "extra": [gain]}, sign=-1.0)["map"],
    )
    program, inputs = capture(spec), (torch.rand(1, 3, 8, 8), torch.rand(1, 2))
    expected = program.module.conv(inputs[0]) * -2  # type: ignore[operator]
    torch.testing.assert_close(captured_of(program).module(*inputs)[0], expected)


def test_inputs_in_another_order_go_by_name() -> None:
    outputs = (tensor("a", *MAP), tensor("b", *MEAN))
    spec = ModelSpec("net", lambda: Net(lambda a, b: (a, b)), (GAIN, IMAGE), outputs)
    inputs = torch.rand(1, 2), torch.rand(1, 3, 8, 8)
    assert captured_of(capture(spec)).module(*inputs)[0].shape == MAP


def test_a_forward_set_on_the_module_itself_is_the_one_that_is_called() -> None:
    net = Net(lambda a, b: a)
    net.forward = lambda image, gain: {"twice": net.conv(image) * 2}  # type: ignore[assignment]
    spec = ModelSpec("net", lambda: net, (IMAGE, GAIN), (tensor("twice", *MAP),))
    inputs = torch.rand(1, 3, 8, 8), torch.rand(1, 2)
    torch.testing.assert_close(capture(spec).module(*inputs)[0], net.conv(inputs[0]) * 2)


def test_what_call_raises_is_the_user_s() -> None:
    spec = ModelSpec(
        "net",
        lambda: Net(lambda a, b: a),
        (IMAGE,),
        (tensor("a", *MAP),),
        call=lambda net, x: net(x),
    )
    with pytest.raises(BadModule, match="missing 1 required positional argument: 'gain'"):
        capture(spec)
