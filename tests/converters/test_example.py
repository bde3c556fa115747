"""What a user gives as an example, and how forward is then called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from converters.capture import capture
from converters.describe import describe
from converters.example import read
from converters.signature import call
from model_defs.errors import BadSpec

IMAGE, TOKENS, KEEP = torch.rand(1, 3, 8, 8), torch.arange(6)[None] % 5, torch.ones(1, 6).bool()


class Pair(NamedTuple):
    image: Any
    extra: Any


@dataclass
class Batch:
    image: Any
    rest: Any = None


class Net(nn.Module):
    def forward(self, a: Any, b: Any = None, *, c: Any = None, flag: bool = False) -> Any:
        return {"a": first(a) * 2, "b": first(b), "c": first(c), "flag": flag}


def first(given: Any) -> Any:
    """The first tensor of a structure."""
    if isinstance(given, dict):
        return first(next(iter(given.values())))
    if isinstance(given, Batch):
        return first(given.image)
    return first(given[0]) if isinstance(given, list | tuple) else given


class Anything(nn.Module):
    def forward(self, *tensors: Tensor, **named: Tensor) -> Any:
        return [*tensors, *named.values()]


@pytest.mark.parametrize(
    ("net", "example", "names", "source"),
    [
        (Net, IMAGE, ["a"], "net(a)"),
        (Net, (IMAGE, TOKENS), ["a", "b"], "net(a, b)"),
        (Net, [IMAGE, None], ["a"], "net(a, None)"),
        (Net, {"a": IMAGE, "c": KEEP}, ["a", "c"], "net(a=a, c=c)"),
        (Net, {"a": IMAGE, "flag": True}, ["a"], "net(a=a, flag=True)"),
        (
            Net,
            {"image": IMAGE, "ids": TOKENS},
            ["image", "ids"],
            "net({'image': image, 'ids': ids})",
        ),
        (
            Net,
            ({"image": IMAGE}, [TOKENS, "x"]),
            ["image", "b_1"],
            "net({'image': image}, [b_1, 'x'])",
        ),
        (Net, ((IMAGE, (TOKENS,)),), ["a_1", "a_2_1"], "net((a_1, (a_2_1,),))"),
        (Net, ({"x": IMAGE}, {"x": TOKENS}), ["x", "b_x"], "net({'x': x}, {'x': b_x})"),
        (Net, (Pair(IMAGE, TOKENS),), ["image", "extra"], None),
        (Net, (Batch(IMAGE),), ["image"], None),
        (Anything, (IMAGE, KEEP), ["input1", "input2"], "net(input1, input2)"),
        (
            Anything,
            {"Left": IMAGE, "right": KEEP},
            ["left", "right"],
            "net(Left=left, right=right)",
        ),
    ],
)
def test_forward_is_called_as_on_the_example(
    net: Callable[[], nn.Module], example: Any, names: list[str], source: str | None
) -> None:
    module = net()
    found = read(module, example)
    assert list(found.inputs) == names
    if source is not None:
        assert found.source == f"lambda net, {', '.join(names)}: {source}"
    spec = describe(module, example)
    again = call(spec, module, tuple(found.inputs.values()))
    if isinstance(example, dict) and "image" not in example:
        wanted = module(**example)
    else:
        wanted = module(*(example if isinstance(example, list | tuple) else (example,)))
    torch.testing.assert_close(again, wanted)
    assert [t.name for t in capture(spec).spec.inputs] == names


def test_what_needs_no_words_has_none() -> None:
    assert describe(Net(), (IMAGE, TOKENS)).call is None
    assert describe(Net(), {"a": IMAGE, "c": KEEP}).call is None
    assert describe(Net(), {"a": IMAGE, "flag": True}).call is not None


def test_types_and_bounds_are_the_example_s() -> None:
    spec = describe(Net(), (IMAGE.double(), TOKENS), tolerance={"b_out": 0})
    found = [(t.name, t.dtype, t.low, t.high) for t in spec.inputs]
    assert found == [("a", "float32", 0, 1), ("b", "int64", 0, 4)]
    assert [(t.name, t.dtype, t.tolerance) for t in spec.outputs[1:]] == [("b_out", "int64", 0)]


def test_a_mask_of_one_kind_may_be_of_both() -> None:
    spec = describe(Net(), {"a": IMAGE, "c": torch.ones(1, 6, dtype=torch.int32)})
    assert (spec.inputs[1].low, spec.inputs[1].high, spec.inputs[1].dtype) == (0, 1, "int32")


def test_as_many_of_a_batch_as_asked_for() -> None:
    assert describe(nn.Conv2d(3, 1, 1), torch.rand(4, 3, 8, 8), batch=2).inputs[0].shape[0] == 2
    with pytest.raises(BadSpec, match="the example's batch is of 4, not 5"):
        describe(nn.Conv2d(3, 1, 1), torch.rand(4, 3, 8, 8), batch=5)


def test_compiled_parts_are_unwrapped_and_the_user_s_stay() -> None:
    net = nn.Sequential(torch.compile(nn.Conv2d(3, 2, 1)), nn.ReLU())  # type: ignore[arg-type]
    net[1].compile()
    spec = describe(torch.compile(net), IMAGE)  # type: ignore[arg-type]
    assert list(capture(spec).module.state_dict()) == ["0.weight", "0.bias"]
    assert spec.name == "sequential"
    assert type(net[0]).__name__ == "OptimizedModule"
