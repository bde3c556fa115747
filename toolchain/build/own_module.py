"""A module of a user's own file, described by shapes that were typed: `--example 1,3,224,224`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from converters.files.request import SYNTAX, InputExample
from model_defs import lookup
from model_defs.errors import BadSpec
from model_defs.spec import ModelSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

    from converters.example import Arguments


def describe(
    model: str,
    examples: Sequence[str],
    *,
    name: str | None = None,
    tolerance: float | None = None,
    weights: Path | None = None,
    trust_pickle: bool = False,
    state: Mapping[str, str] | None = None,
) -> ModelSpec:
    """The specification of path/to/file.py:Net, found by running it on such numbers once.

    Net is a module, a class of modules that takes no arguments, or a function that makes one.
    Raises what reading, making and describing it raise.
    """
    from converters import describe as described
    from converters.weights import load_weights

    given = read_examples(examples)
    if not examples:
        raise BadSpec("what the module takes is not known", do=f"say it: --example {SYNTAX}")
    if ".py:" not in model:
        raise BadSpec(
            f"an example is of a module, and '{model}' names none",
            do="name path/to/file.py:Net, or leave --example away",
        )
    (path,) = lookup.expand(model)
    module = made(path)
    if weights is not None:
        load_weights(module, weights, trust_pickle=trust_pickle)
    shapes = (InputExample.read(text).shape for text in examples)
    batch = max((shape[0] for shape in shapes if len(shape) == 4), default=1)
    return described.describe(
        module, given, name=name, tolerance=tolerance, batch=batch, state=state
    )


def call_of(model: str, examples: Sequence[str]) -> str:
    """How such a module is called on such an example, as Python."""
    from converters import example

    (path,) = lookup.expand(model)
    return example.read(made(path), read_examples(examples)).source


def made(path: str) -> nn.Module:
    """The module that path/to/file.py:Net is, or makes, under seed 0."""
    import torch
    from torch import nn

    from converters.capture import SEED, user_code

    found = lookup.load_as(path, object)
    if isinstance(found, nn.Module):
        return found
    attribute = path.rpartition(":")[2]
    if not callable(found):
        raise BadSpec(
            f"{attribute} is a {type(found).__name__}, and makes no module",
            where=path,
            do="name a class of modules, or a function that returns one",
        )
    torch.manual_seed(SEED)
    with user_code(f"{attribute}() failed"):
        module = found()
    if not isinstance(module, nn.Module):
        raise BadSpec(
            f"{attribute}() returned a {type(module).__name__}, not a nn.Module", where=path
        )
    return module


def read_examples(
    texts: Sequence[str],
) -> dict[str, torch.Tensor] | tuple[torch.Tensor, ...] | Arguments:
    """Random tensors of the shapes that were typed: in forward's order, by name, or first the one
    and then the other, as Python's calls have them. Raises BadSpec.
    """
    parts = [InputExample.read(text) for text in texts]
    names = [one.name for one in parts if one.name]
    free = tuple(one.tensor() for one in parts if not one.name)
    if any(one.name for one in parts[: len(free)]):
        raise BadSpec(
            f"of the examples {' '.join(texts)} one without a name follows one that has it",
            do="put those without a name first, in forward's order",
        )
    if len(set(names)) < len(names):
        raise BadSpec(
            f"of the examples {' '.join(texts)} two have the same name",
            do="name each as the parameter of forward that it is",
        )
    named = {one.name: one.tensor() for one in parts if one.name}
    if free and named:
        from converters.example import Arguments

        return Arguments(free, named)
    return free or named
