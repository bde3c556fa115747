"""What is fed to a model of a file, so that it can be described: noise of the sizes it takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from converters.capture import cast_floats, user_code
from converters.describe import LONGEST_NAME, describe_run, model_name
from converters.files.request import FileRequest, InputExample
from converters.signature import tensor_name
from model_defs.errors import BadSpec
from model_defs.spec import ModelSpec

RANGE = "the file says no range of its inputs: numbers of 0 to 1 are taken (--example says others)"


def noises(request: FileRequest) -> list[torch.Tensor]:
    """Noise as the user says, in the inputs' order. Raises BadSpec where he says none."""
    path = request.path
    if not request.examples:
        raise BadSpec(
            "the file does not say what sizes its inputs have",
            where=str(path),
            do="say them: --example 1,3,224,224 (once for each input), or "
            f"{path.name}:1,3,224,224 in a name",
        )
    return [one.tensor() for one in request.examples]


def unsaid(examples: Iterable[InputExample]) -> list[str]:
    """A note where an input's range is not known."""
    return [RANGE] if any(one.low is None and one.dtype != "bool" for one in examples) else []


def described(
    path: Path,
    module: nn.Module,
    inputs: Mapping[str, torch.Tensor],
    notes: Sequence[str] = (),
    call: Any = None,
) -> ModelSpec:
    """The specification of a file's module, found by running it once on these inputs."""
    ours = module.eval()
    cast = cast_floats(ours)
    what = f"the model of {path.name} does not run on the example"
    with torch.no_grad(), user_code(what, cast):
        fed = [tensor.clone() for tensor in inputs.values()]  # it may write there
        result = ours(*fed) if call is None else call(ours, *fed)
    return describe_run(name_of(path), ours, inputs, result, notes=[*notes, *cast])


def name_of(path: Path) -> str:
    """A file's name as a model's."""
    stem = path.name if path.is_dir() else path.stem
    return model_name(re.sub(r"[^A-Za-z0-9]+", "-", stem))[:LONGEST_NAME].rstrip("-")


def names_of_inputs(names: Sequence[str]) -> list[str]:
    """The names as tensors' names; numbered where two would be the same."""
    found = [tensor_name(name) for name in names]
    if len(set(found)) < len(found):
        return [f"input{number}" for number in range(1, len(found) + 1)]
    return found
