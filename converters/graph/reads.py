"""Numbers that forward reads out of tensors: those of constants are facts, others are refused."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from converters.graph.sources import line_of_stack
from model_defs.errors import BadModule

READS = frozenset(
    getattr(torch.Tensor, name)
    for name in (
        *("__bool__", "__int__", "__float__", "__index__", "__array__"),
        *("item", "tolist", "numpy", "is_nonzero", "equal", "allclose"),
    )
) | {torch.equal, torch.allclose, torch.is_nonzero}
"""What hands a tensor's value to Python."""


class _Recorder(TorchFunctionMode):
    """Runs as it is; notes the values that are read, and refuses those made of the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        fed = any(getattr(x, "mlship_fed", False) for x in tensors)
        if func in READS and fed:
            raise BadModule(
                "the module reads a tensor's value in forward: a branch or number that depends "
                "on data cannot be converted",
                where=line_of_stack(traceback.extract_stack()),
                do="use torch.where, clamp or a mask; decide what is fixed in __init__",
            )
        result = func(*args, **kwargs)
        if func is torch.Tensor.tolist:  # which PyTorch asks number by number while it exports
            self.values += tree_leaves(result)
        elif func in READS:
            self.values.append(result)
        elif fed:
            written = [args[0]] if args and isinstance(args[0], torch.Tensor) else []
            for leaf in (*tree_leaves(result), *(written if _writes(func) else ())):
                if isinstance(leaf, torch.Tensor):
                    leaf.mlship_fed = True  # type: ignore[attr-defined]
        return result


def _writes(func: Any) -> bool:
    name = getattr(func, "__name__", "")
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))


class _Player(TorchFunctionMode):
    """Answers each read with what was noted, in the same order."""

    def __init__(self, values: Sequence[Any], missed: list[None]) -> None:
        super().__init__()
        self._values, self._missed = iter(values), missed

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in READS:
            return func(*args, **(kwargs or {}))
        if func is torch.Tensor.tolist:
            (tensor,) = args
            numbers = [self._next() for _ in range(tensor.numel())]
            return torch.tensor(numbers, dtype=tensor.dtype).reshape(tensor.shape).tolist()
        return self._next()

    def _next(self) -> Any:
        for value in self._values:
            return value
        self._missed.append(None)
        raise RuntimeError("a value is read that was not noted")


def exported(module: nn.Module, inputs: Sequence[torch.Tensor]) -> torch.export.ExportedProgram:
    """The module by `torch.export`, values that it reads out of constants taken as they are.

    Only a forward that reads any runs ahead. Raises BadModule with the user's line for a value
    that depends on the inputs.
    """
    missed: list[None] = []
    try:
        program = _exported(module, inputs, (), missed)
    except Exception:  # PyTorch's own, around ours
        if not missed:
            raise
    if not missed:  # nor where forward caught it
        return program
    with torch.no_grad(), watched(inputs) as (fed, values):
        module(*fed)
    return _exported(module, inputs, values, [])


def _exported(
    module: nn.Module, inputs: Sequence[torch.Tensor], values: Sequence[Any], missed: list[None]
) -> torch.export.ExportedProgram:
    forward = module.forward

    def answered(*args: Any, **kwargs: Any) -> Any:
        with _Player(values, missed):
            return forward(*args, **kwargs)

    with mock.patch.object(module, "forward", answered):
        return torch.export.export(module, tuple(inputs), strict=False)


@contextlib.contextmanager
def watched(inputs: Sequence[torch.Tensor]) -> Iterator[tuple[list[torch.Tensor], list[Any]]]:
    """Copies of the inputs to run forward on, and what is read out of other tensors meanwhile.

    Forward is told that it is being exported, as it will be. Raises BadModule with the user's line
    for a value that depends on the inputs.
    """
    recorder = _Recorder()
    fed = [tensor.clone() for tensor in inputs]
    for tensor in fed:
        tensor.mlship_fed = True  # type: ignore[attr-defined]
    with _exporting(), recorder:
        yield fed, recorder.values


@contextlib.contextmanager
def _exporting() -> Iterator[None]:
    """What `torch.export` sets: code that asks skips checks that a graph cannot hold."""
    compiler: Any = torch.compiler
    with (
        mock.patch.object(compiler, "_is_compiling_flag", True),
        mock.patch.object(compiler, "_is_exporting_flag", True),
    ):
        yield
