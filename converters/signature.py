"""How a module is called and what it returns: ordered, named tensors on both sides.

The user's forward takes what it takes (keywords, a dict) and returns what it returns (a dict, a
dataclass, nested, with None in it). All else sees `flat(spec, module)`: tensors by position in,
a tuple of tensors out, with the module's own paths and names of weights.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from model_defs.errors import BadSpec
from model_defs.spec import ModelSpec

OUTPUT = "output"
"""What an output without a key is called; the second of several is `output2`."""


@dataclass(frozen=True)
class Leaf:
    """A tensor, or what is none, in what forward returned; `path` are the keys that lead to it."""

    path: tuple[str | int, ...]
    value: Any

    @property
    def is_keyed(self) -> bool:
        return any(isinstance(step, str) for step in self.path)


def leaves(result: Any, path: tuple[str | int, ...] = ()) -> Iterator[Leaf]:
    """What a structure holds, in its order; None is nothing.

    Taken apart are mappings (a ModelOutput of transformers is one), dataclasses, named tuples,
    tuples and lists.
    """
    for step, value in _parts(result):
        if step is None:
            yield Leaf(path, value)
        elif value is not None:
            yield from leaves(value, (*path, step))


def _parts(result: Any) -> Iterator[tuple[str | int | None, Any]]:
    """The parts of a structure with their keys; what is none is its own part, without a key."""
    if isinstance(result, Mapping):
        yield from ((str(key), value) for key, value in result.items())
    elif dataclasses.is_dataclass(result) and not isinstance(result, type):
        yield from ((f.name, getattr(result, f.name)) for f in dataclasses.fields(result))
    elif isinstance(result, tuple) and hasattr(result, "_fields"):
        yield from zip(result._fields, result, strict=True)
    elif isinstance(result, tuple | list):
        yield from enumerate(result)
    elif result is not None:
        yield None, result


def names_of(found: Sequence[Leaf], taken: frozenset[str]) -> list[str]:
    """A name for each output: its keys joined, or `output`, `output1` and so on.

    One that is `taken` by an input has `_out` behind it. Each name stands for one output.
    """
    alone = len(found) == 1
    names: list[str] = []
    for leaf in found:
        name = tensor_name(_spelled(leaf, alone=alone))
        name = f"{name}_out" if name in taken else name
        number = 2
        while name in names:
            name, number = f"{name.rstrip('0123456789').rstrip('_')}_{number}", number + 1
        names.append(name)
    return names


def _spelled(leaf: Leaf, *, alone: bool) -> str:
    if alone and not leaf.is_keyed:
        return OUTPUT
    first, *rest = (str(step + 1) if isinstance(step, int) else step for step in leaf.path)
    first = f"{OUTPUT}{first}" if isinstance(leaf.path[0], int) else first
    return "_".join([first, *rest])


def tensor_name(text: str) -> str:
    """The text in the form that is a tensor's name in every format."""
    found = re.sub(r"[^a-z0-9_]", "_", text.lower()).strip("_")
    return found if found[:1].isalpha() else f"t{found}"


def call(spec: ModelSpec, module: Any, inputs: Sequence[torch.Tensor]) -> Any:
    """What the module's own forward returns for the inputs of its specification, in their order.

    They are passed as `spec.call` says; else by position, or by name where forward's parameters
    have these names and another order.
    """
    if spec.call is not None:
        return spec.call(module, *inputs)
    names = [tensor.name for tensor in spec.inputs]
    if is_by_name(module, names):
        return module(**dict(zip(names, inputs, strict=True)))
    return module(*inputs)


def is_by_name(module: Any, names: Sequence[str]) -> bool:
    """Whether inputs of these names are passed by keyword."""
    try:
        parameters = inspect.signature(module.forward).parameters
    except (TypeError, ValueError, AttributeError):
        return False
    in_order = [
        name
        for name, one in parameters.items()
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    if list(names) == in_order[: len(names)]:
        return False
    by_keyword = {
        name
        for name, one in parameters.items()
        if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)
    }
    return by_keyword.issuperset(names)


def outputs_of(spec: ModelSpec, result: Any) -> tuple[torch.Tensor, ...]:
    """What `returned` finds, floats as float32."""
    return tuple(map(as_float32, returned(spec, result)))


def returned(spec: ModelSpec, result: Any) -> tuple[torch.Tensor, ...]:
    """What forward returned, as one tensor an output; BadSpec if it cannot be told which is which.

    Of what has keys, those are taken that the outputs are named after; else all, in order.
    """
    found = list(leaves(result))
    tensors = [leaf for leaf in found if isinstance(leaf.value, torch.Tensor)]
    chosen = _chosen(spec, tensors)
    if chosen is not None:
        return tuple(chosen)
    if not tensors:
        raise BadSpec(
            f"{spec.name}: forward returned {type(result).__name__}",
            do="return tensors: one, or a tuple, a dict or a dataclass of them",
        )
    if len(tensors) != len(spec.outputs):
        raise BadSpec(
            f"{spec.name}: forward returned {len(tensors)} tensors for {len(spec.outputs)} outputs",
            do=f"they are {', '.join(_names(spec, tensors))}",
        )
    return tuple(leaf.value for leaf in tensors)


def as_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Other floats as float32, which all that judges takes."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _names(spec: ModelSpec, tensors: Sequence[Leaf]) -> list[str]:
    return names_of(tensors, frozenset(tensor.name for tensor in spec.inputs))


def _chosen(spec: ModelSpec, tensors: Sequence[Leaf]) -> tuple[torch.Tensor, ...] | None:
    """The outputs by their keys; None where they are named after none."""
    if not any(leaf.is_keyed for leaf in tensors):
        return None
    known = dict(zip(_names(spec, tensors), tensors, strict=True))
    wanted = [tensor.name for tensor in spec.outputs]
    missing = [name for name in wanted if name not in known]
    if not missing:
        return tuple(known[name].value for name in wanted)
    if len(missing) == len(wanted):
        return None
    raise BadSpec(
        f"{spec.name}: forward returned no '{missing[0]}'",
        where=f"it returned {', '.join(known)}",
        do="name the outputs as forward does",
    )


def left_out(spec: ModelSpec, result: Any) -> list[str]:
    """What forward returned besides the outputs, by name."""
    found = list(leaves(result))
    names = dict(zip(_names(spec, found), found, strict=True))
    outputs = {tensor.name for tensor in spec.outputs}
    by_key = bool(outputs & names.keys())
    return [
        name
        for name, leaf in names.items()
        if not isinstance(leaf.value, torch.Tensor) or (by_key and name not in outputs)
    ]


def is_flat(spec: ModelSpec, module: nn.Module, result: Any) -> bool:
    """Whether the module itself is called, and returns, as all else expects it."""
    if spec.call is not None or is_by_name(module, [tensor.name for tensor in spec.inputs]):
        return False
    tensors = (result,) if isinstance(result, torch.Tensor) else result
    if type(tensors) is not tuple or len(tensors) != len(spec.outputs):
        return False
    return all(isinstance(one, torch.Tensor) and as_float32(one) is one for one in tensors)


def flat(spec: ModelSpec, module: nn.Module) -> nn.Module:
    """The module, whose forward takes the inputs by position and returns a tuple of the outputs.

    It shares the module's weights and children and has its class's name, so that paths, hooks and
    a state dict are as they were.
    """
    made = copy.copy(module)
    own = made.__dict__.pop("forward", None)  # where a user has set one on the module itself
    kind = type(module)

    class Flat(kind):  # type: ignore[valid-type, misc]
        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            forward = own or super().forward
            return outputs_of(spec, call(spec, _Called(self, forward), inputs))

    for name in ("__name__", "__qualname__", "__module__"):
        setattr(Flat, name, getattr(kind, name))
    made.__class__ = Flat
    return made


class _Called:
    """A flat module as a user's `call` sees it: its own forward, and all that it has."""

    def __init__(self, module: nn.Module, forward: Any) -> None:
        self._module, self.forward = module, forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)
