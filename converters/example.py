"""An example of what forward takes, as people write it: tensors by name, and how to pass them."""

from __future__ import annotations

import dataclasses
import inspect
import linecache
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from converters.graph.sources import TORCH
from converters.signature import as_float32, is_by_name, tensor_name
from model_defs.errors import BadSpec

WANTED = "example inputs are {}, not tensors"
DO = "pass a tensor, or a tuple of what forward takes: (torch.rand(1, 3, 224, 224),)"
CONSTANTS = (bool, int, float, str, type(None))
"""What may stand beside tensors, and is passed as it is in every call."""


@dataclass(frozen=True)
class Arguments:
    """An example as a call has it: arguments by position, and others by keyword."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class Slot:
    """Where the input of this name stands in the arguments."""

    name: str


@dataclass(frozen=True)
class ExampleCall:
    """Tensors by the names of the inputs; the arguments of forward have slots in their places."""

    inputs: Mapping[str, torch.Tensor]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def call(self, module: nn.Module) -> Callable[..., Any] | None:
        """What a specification says of how it is called; None where nothing needs to be said."""
        names = list(self.inputs)
        plain = [*self.args, *self.kwargs.values()] == [Slot(name) for name in names]
        if plain and not self.kwargs and not is_by_name(module, names):
            return None
        if plain and list(self.kwargs) == names and is_by_name(module, names):
            return None

        def called(net: Any, *tensors: torch.Tensor) -> Any:
            known = dict(zip(names, tensors, strict=True))
            args = (filled(one, known) for one in self.args)
            return net(*args, **{key: filled(one, known) for key, one in self.kwargs.items()})

        return called

    @property
    def source(self) -> str:
        """The same as Python."""
        by_key = (f"{key}={written(one)}" for key, one in self.kwargs.items())
        names, given = ", ".join(self.inputs), ", ".join([*map(written, self.args), *by_key])
        return f"lambda net, {names}: net({given})"


def filled(structure: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """A structure with tensors in place of its slots."""
    if isinstance(structure, Slot):
        return tensors[structure.name]
    return _rebuilt(structure, lambda part, _: filled(part, tensors), ())


def written(structure: Any) -> str:
    """A structure as Python, its slots as the names of variables."""
    if isinstance(structure, Slot):
        return structure.name
    if isinstance(structure, Mapping):
        return "{" + ", ".join(f"{key!r}: {written(v)}" for key, v in structure.items()) + "}"
    if isinstance(structure, list):
        return "[" + ", ".join(map(written, structure)) + "]"
    if isinstance(structure, tuple):
        return "(" + "".join(f"{written(one)}, " for one in structure).rstrip(" ") + ")"
    return repr(structure)


Path = tuple[str | int, ...]


def _rebuilt(structure: Any, made: Callable[[Any, Path], Any], path: Path) -> Any:
    """The same structure with something else in place of each of its parts."""
    if isinstance(structure, Mapping):
        return {key: made(value, (*path, str(key))) for key, value in structure.items()}
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        parts = zip(structure._fields, structure, strict=True)
        return type(structure)(*(made(value, (*path, name)) for name, value in parts))
    if isinstance(structure, tuple | list):
        return type(structure)(made(value, (*path, i)) for i, value in enumerate(structure))
    if dataclasses.is_dataclass(structure) and not isinstance(structure, type | Slot):
        names = [field.name for field in dataclasses.fields(structure)]
        new = {name: made(getattr(structure, name), (*path, name)) for name in names}
        return dataclasses.replace(structure, **new)
    return structure


def read(module: nn.Module, given: object, batch: int = 1) -> ExampleCall:
    """The example of a module's inputs that a user gave; BadSpec for what is none.

    A tensor, or a tuple or list of forward's arguments; a mapping has arguments by keyword if
    forward has parameters of all its keys, else it is the one argument; Arguments are what they
    are. Within them may stand mappings, tuples, lists, dataclasses and, beside tensors, numbers,
    text and None. Where all tensors are batches of pictures, the first `batch` of each are taken.
    """
    args, kwargs = _arguments(module, given)
    _check_call(module, args, kwargs)
    found: dict[str, torch.Tensor] = {}
    notes: list[str] = []

    def slot(value: Any, path: Path) -> Any:
        if isinstance(value, np.ndarray):
            do = "pass torch.from_numpy(array).float() in place of an array of NumPy"
            raise BadSpec(WANTED.format("a NumPy array"), do=do)
        if not isinstance(value, torch.Tensor):
            if _is_structure(value) or isinstance(value, CONSTANTS):
                return _rebuilt(value, slot, path)
            raise BadSpec(WANTED.format(type(value).__name__), do=DO)
        name = _name(path, found)
        found[name] = _checked(value, name, notes)
        return Slot(name)

    names = _parameter_names(module, args)
    new_args = tuple(slot(one, (name,)) for one, name in zip(args, names, strict=True))
    new_kwargs = {key: slot(one, (key,)) for key, one in kwargs.items()}
    if not found:
        what = ", ".join(type(one).__name__ for one in (*args, *kwargs.values())) or "none"
        raise BadSpec(WANTED.format(what), do=DO)
    return ExampleCall(_of_batch(found, batch), new_args, new_kwargs, tuple(notes))


def _is_structure(value: Any) -> bool:
    if isinstance(value, Mapping | tuple | list):
        return True
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _arguments(module: nn.Module, given: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(given, Arguments):
        return given.args, dict(given.kwargs)
    if isinstance(given, Mapping):
        parameters = inspect.signature(module.forward).parameters.values()
        by_key = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
        anything = any(p.kind == p.VAR_KEYWORD for p in parameters)
        if given and all(isinstance(key, str) and (anything or key in by_key) for key in given):
            return (), dict(given)
        return (given,), {}
    single = torch.is_tensor(given) or isinstance(given, str | np.ndarray)
    if not single and isinstance(given, Iterable):
        return tuple(given), {}
    return (given,), {}


def _check_call(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """That forward takes as many inputs as the example has: said here, at the user's line."""
    if any(isinstance(one, np.ndarray) for one in args):
        return  # which is the first thing to say
    signature = inspect.signature(module.forward)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        what = f"arguments: {len(args) + len(kwargs)}"
        raise BadSpec(
            f"forward does not take the example ({what}): {error}",
            where=line_of(module.forward),
            do=f"pass a tuple of what it takes, in its order, or a dict: forward{signature}",
        ) from error


def line_of(forward: Any) -> str:
    """Where a user defined it, as `file.py:12: code`; nothing for what is PyTorch's."""
    code = getattr(inspect.unwrap(forward), "__code__", None)
    if code is None or code.co_filename.startswith((TORCH, "<")):
        return ""
    line = linecache.getline(code.co_filename, code.co_firstlineno).strip()
    return f"{code.co_filename}:{code.co_firstlineno}: {line}"


def _parameter_names(module: nn.Module, args: tuple[Any, ...]) -> list[str]:
    """Forward's names for arguments by position; `input1` and so on where it has none."""
    parameters = inspect.signature(module.forward).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [one.name for one in parameters if one.kind in kinds][: len(args)]
    if len({tensor_name(name) for name in names}) < len(args):
        return ["input"] if len(args) == 1 else [f"input{i + 1}" for i in range(len(args))]
    return names


def _name(path: Path, taken: Mapping[str, Any]) -> str:
    """The last keys that lead to a tensor, as many as tell it from the others."""
    words = [str(step + 1) if isinstance(step, int) else step for step in path]
    first = max(i for i, step in enumerate(path) if isinstance(step, str))
    for start in range(first, -1, -1):
        name = tensor_name("_".join(words[start:]))
        if name not in taken:
            return name
    return next(n for n in _numbered(name) if n not in taken)


def _numbered(name: str) -> Iterator[str]:
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def _checked(tensor: torch.Tensor, name: str, notes: list[str]) -> torch.Tensor:
    if tensor.is_meta or tensor.layout != torch.strided:
        kind = "on the device meta" if tensor.is_meta else str(tensor.layout)
        raise BadSpec(WANTED.format(kind), do=DO)
    if tensor.numel() == 0:
        raise BadSpec(
            f"an example input of shape {tuple(tensor.shape)} holds no numbers",
            do="pass one with at least 1 along each axis",
        )
    if tensor.ndim == 0:
        raise BadSpec(
            f"the example's {name} is a tensor of no axes", do="pass a number, or tensor[None]"
        )
    taken = (torch.int32, torch.int64, torch.bool)
    if not tensor.is_floating_point() and tensor.dtype not in taken:
        do = "pass tensor.float(), or tensor.long() for indices"
        raise BadSpec(WANTED.format(f"{tensor.dtype}").replace("not", "not such"), do=do)
    found = as_float32(tensor.detach().cpu())
    if found.dtype != tensor.dtype:
        notes.append(
            f"the example's {name} is {str(tensor.dtype).removeprefix('torch.')}: "
            "it was cast to float32"
        )
    return found


def _of_batch(found: dict[str, torch.Tensor], batch: int) -> dict[str, torch.Tensor]:
    """An app feeds one picture: of a training's batch, its first."""
    counts = {tensor.shape[0] for tensor in found.values() if tensor.ndim == 4}
    if any(tensor.ndim != 4 for tensor in found.values()) or len(counts) != 1:
        return found
    (count,) = counts
    if not 1 <= batch <= count:
        raise BadSpec(f"the example's batch is of {count}, not {batch}", do="pass a larger example")
    return {name: tensor[:batch] for name, tensor in found.items()}
