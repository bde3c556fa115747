"""The calls of a module's forward that make maps, numbered in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from toolchain.quantization.grids import LAYERS

Kind = Literal["kernel", "sum", "rectify", "select", "other"]
"""What a call does to numbers.

"kernel" and "sum" compute new ones, "rectify" clips them at 0 (and 6), "select" moves or drops
some and changes none.
"""


def is_map(value: object) -> bool:
    """Whether it is a tensor of floats with an axis beside the batch."""
    return isinstance(value, Tensor) and value.is_floating_point() and value.dim() >= 2


@dataclass(frozen=True)
class FunctionCall:
    """A call of one of PyTorch's functions, as it runs."""

    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    result: Any

    def again(self, *first: Any) -> Any:
        """What it gives for other first arguments."""
        return self.function(*first, *self.args[len(first) :], **self.kwargs)


class Calls(TorchFunctionMode):
    """Counts the calls that make maps while it is active; subclasses look at them in `made`.

    Calls of functions, not of modules: `+`, `torch.cat` and `F.relu` have no hooks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not any(map(is_map, tree_leaves(result))):
            return result
        self.count += 1
        return self.made(self.count - 1, FunctionCall(func, args, kwargs or {}, result))

    def made(self, number: int, call: FunctionCall) -> Any:
        """What stands for the result of a call."""
        return call.result


@dataclass(frozen=True)
class RecordedCall:
    """A call; what it reads are the numbers of calls, or below 0 the inputs: -1 is the first.

    `layer` is the path of the module whose kernel it reads, if any. `single` is whether its
    result is one tensor.
    """

    kind: Kind
    reads: tuple[int, ...]
    layer: str = ""
    single: bool = True

    @property
    def known(self) -> bool:
        """Whether a call made, or the caller gave, all that it reads."""
        return bool(self.reads) and NOBODY not in self.reads


NOBODY = -(10**6)
"""The number of a map that neither a call made nor the caller gave."""


def record_calls(
    module: nn.Module, inputs: Sequence[Tensor]
) -> tuple[list[RecordedCall], tuple[int, ...]]:
    """The calls of one run, and the numbers of those whose results are returned."""
    recorder = _Recorder(module, inputs)
    with torch.no_grad(), recorder:
        returned = module(*inputs)
    return recorder.calls, tuple(recorder.number_of(leaf) for leaf in tree_leaves(returned))


class _Recorder(Calls):
    def __init__(self, module: nn.Module, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.calls: list[RecordedCall] = []
        self._numbers = {id(tensor): -1 - place for place, tensor in enumerate(inputs)}
        self._kept: list[Any] = [*inputs]  # or an identity would come again
        self._layers = {
            id(layer.weight): path
            for path, layer in module.named_modules()
            if path and isinstance(layer, LAYERS)
        }

    def number_of(self, tensor: Any) -> int:
        return self._numbers.get(id(tensor), NOBODY)

    def made(self, number: int, call: FunctionCall) -> Any:
        given = [leaf for leaf in tree_leaves((call.args, dict(call.kwargs))) if is_map(leaf)]
        layer = next((self._layers[id(t)] for t in given if id(t) in self._layers), "")
        reads = tuple(self.number_of(t) for t in given if id(t) not in self._layers)
        kind = kind_of(call.function.__name__, call.args, call.kwargs)
        self.calls.append(RecordedCall(kind, reads, layer, single=isinstance(call.result, Tensor)))
        for leaf in tree_leaves(call.result):
            self._numbers[id(leaf)] = number
            self._kept.append(leaf)
        return call.result


KERNELS = ("conv2d", "conv_transpose2d", "linear")
SELECTS = (
    *("cat", "concat", "concatenate", "chunk", "split", "getitem", "narrow", "unbind"),
    *("reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze", "permute", "transpose"),
    *("contiguous", "clone", "dropout", "max_pool2d", "pixel_shuffle", "pixel_unshuffle"),
)


def kind_of(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Kind:
    """What a function of PyTorch, by its name, does to numbers with these arguments."""
    # `add_`, `relu_` and `__iadd__` do to numbers what `add` and `relu` do.
    name = name.strip("_")
    if name in KERNELS:
        return "kernel" if len(args) > 1 else "other"  # a kernel that is named is left alone
    if name in ("add", "iadd"):
        return "sum" if _is_plain_sum(args, kwargs) else "other"
    # Only these bounds: integer runtimes have an activation for them, and for no other clipping.
    if name in ("relu", "relu6") or (name == "hardtanh" and _bounds(args, kwargs) == (0, 6)):
        return "rectify"
    if name in SELECTS or (name == "pad" and not kwargs.get("value")):
        return "select"
    # Bilinear enlarging makes new numbers, which lie between the codes.
    nearest = name == "interpolate" and kwargs.get("mode", "nearest").startswith("nearest")
    return "select" if nearest else "other"


def _is_plain_sum(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Of two maps of one shape, none of them scaled."""
    return (
        len(args) == 2 and not kwargs and all(map(is_map, args)) and args[0].shape == args[1].shape
    )


def _bounds(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[float, float]:
    low = args[1] if len(args) > 1 else kwargs.get("min_val", -1.0)
    high = args[2] if len(args) > 2 else kwargs.get("max_val", 1.0)
    return low, high
