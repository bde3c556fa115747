"""Which layers hand what they make to one other layer alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from converters.api import Program
from converters.capture import example

Makers = Mapping[type[nn.Module], Collection[str]]
"""Types of layers, and the functions of PyTorch that may lie behind one: these do not read it."""


@dataclass
class _Result:
    """Of one call of a layer: which layer, what may lie behind it, how often it was read."""

    layer: str
    through: Collection[str]
    uses: int = 0


class _CountUses(TorchFunctionMode):
    """Counts the calls that read a layer's result, or a module's numbers.

    Those that make no tensor, such as `size`, read none; but what is written into is read.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.numbers = Counter({id(t): 0 for t in [*module.parameters(), *module.buffers()]})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = _made(args[0]) if args else None
        # The mark is an attribute of the tensor and dies with it; an id would come again.
        if made and func.__name__.strip("_") in made.through and torch.is_tensor(result):
            result.mlship_result = made  # type: ignore[attr-defined]
            self.count((args[1:], kwargs))
        # What makes no tensor (a size, a shape) reads no numbers; what returns None may write.
        elif result is None or any(map(torch.is_tensor, tree_leaves(result))):
            self.count((args, kwargs))
        return result

    def count(self, values: Any) -> None:
        for value in tree_leaves(values):
            if made := _made(value):
                made.uses += 1
            if id(value) in self.numbers:
                self.numbers[id(value)] += 1

    def once(self, module: nn.Module) -> bool:
        """Whether no number of the module was used twice: so by the module alone."""
        tensors = [*module.parameters(), *module.buffers()]
        return all(self.numbers[id(t)] <= 1 for t in tensors)


def _made(value: object) -> _Result | None:
    return getattr(value, "mlship_result", None)


def find_pairs(
    program: Program, makers: Makers, readers: Collection[type[nn.Module]]
) -> list[tuple[str, str]]:
    """The paths of each (maker, reader) of which the first's result is read by the second alone.

    Seen in one run of the module, in its order. Each is used once, and so is each of its numbers.
    Subclasses are left alone: their forward may do more.
    """
    met: list[tuple[_Result, str]] = []
    module = program.module
    uses = _CountUses(module)

    def after_maker(path: str, through: Collection[str], result: torch.Tensor) -> None:
        result.mlship_result = _Result(path, through)  # type: ignore[attr-defined]

    def before_reader(path: str, given: tuple[torch.Tensor, ...]) -> None:
        met.extend((made, path) for each in given if (made := _made(each)))

    with ExitStack() as stack:
        for path, part in module.named_modules():
            if (kind := type(part)) in makers:
                through = makers[kind]
                hook = part.register_forward_hook(
                    lambda m, x, y, p=path, t=through: after_maker(p, t, y)
                )
                stack.callback(hook.remove)
            # The same layer may be a maker for one pair and the reader of another.
            if kind in readers:
                before = part.register_forward_pre_hook(lambda m, x, p=path: before_reader(p, x))
                stack.callback(before.remove)
        with torch.no_grad(), uses:
            returned = module(*example(program.spec))
    uses.count(returned)
    return [
        (made.layer, reader)
        for made, reader in met
        if made.uses == 1
        if all(uses.once(module.get_submodule(path)) for path in (made.layer, reader))
    ]
