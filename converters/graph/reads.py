"""Numbers that forward reads out of tensors: those of constants are facts, others are refused."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
        if func in READS:
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

    def __init__(self, values: Sequence[Any]) -> None:
        super().__init__()
        self._values = iter(values)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READS:
            return next(self._values)
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class ConstantReads:
    """What one run of forward read out of tensors that do not depend on its inputs, in order."""

    values: tuple[Any, ...]

    @classmethod
    def of(cls, module: nn.Module, inputs: Sequence[torch.Tensor]) -> ConstantReads:
        """Of a run in which forward is told that it is being exported, as it will be.

        Raises BadModule with the user's line for a value that depends on the inputs.
        """
        with torch.no_grad(), watched(inputs) as (fed, values):
            module(*fed)
        return cls(tuple(values))

    @contextlib.contextmanager
    def replayed(self, module: nn.Module) -> Iterator[None]:
        """While forward runs, its reads are answered with these values."""
        if not self.values:
            yield
            return
        forward = module.forward

        def answered(*args: Any, **kwargs: Any) -> Any:
            with _Player(self.values):
                return forward(*args, **kwargs)

        with mock.patch.object(module, "forward", answered):
            yield


@contextlib.contextmanager
def watched(inputs: Sequence[torch.Tensor]) -> Iterator[tuple[list[torch.Tensor], list[Any]]]:
    """Copies of the inputs to run forward on, and what is read out of other tensors meanwhile.

    Raises BadModule with the user's line for a value that depends on the inputs.
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
