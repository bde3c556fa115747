"""The specification of a module that is in memory, found by running it once."""

from __future__ import annotations

import copy
import inspect
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from converters.capture import user_code
from model_defs.errors import BadModule, BadSpec, UnknownName
from model_defs.spec import ModelSpec, Postprocess, Preprocess, TensorSpec

SHARE = 0.01
"""A first tolerance: this share of an output's range, which is what the zoo's models allow ..."""
ULPS = 4
"""... or so many steps of float16 at its largest number, where these are more."""
BOUNDS = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
"""What an input is taken to lie between: the first that holds all numbers of the example."""


def describe(
    module: nn.Module,
    example_inputs: torch.Tensor | Sequence[torch.Tensor],
    *,
    name: str | None = None,
    tolerance: float | Mapping[str, float] | None = None,
) -> ModelSpec:
    """The specification of a module by an example of its inputs; `notes` say what was found.

    The module stays as it is: a copy is run, on the CPU, in eval mode. Of a batch, the first is
    taken. Inputs are named as forward names them, outputs `output`, or `output1` and so on, or
    after the fields of a NamedTuple. An input of one or three channels is a picture. `tolerance`
    is one for all outputs, or by name; else it is a hundredth of an output's range.

    Raises BadModule where it does not run, and what ModelSpec raises.
    """
    ours = _copied(module)
    inputs = _first_of_batch(_tensors(example_inputs))
    with torch.no_grad(), user_code("the module does not run on the example"):
        result = ours(*inputs)
    taken = _inputs(_input_names(ours, len(inputs)), inputs)
    outputs = _outputs(result, {spec.name for spec in taken}, tolerance)
    return ModelSpec(
        name or _model_name(type(ours).__name__),
        lambda: copy.deepcopy(ours),
        inputs=taken,
        outputs=outputs,
        notes=tuple(_notes(taken, outputs, tolerance)),
    )


def _copied(module: nn.Module) -> nn.Module:
    """A copy that shares nothing with the module, in eval mode on the CPU."""
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    known = {}
    for part in module.modules():
        for value in vars(part).values():
            # What a hook computes of parameters (an old weight_norm) refuses to be copied.
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                known[id(value)] = value.detach().clone()
    return copy.deepcopy(module, known).cpu().eval()


def _tensors(example_inputs: torch.Tensor | Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    given = (example_inputs,) if torch.is_tensor(example_inputs) else tuple(example_inputs)
    wrong = [type(one).__name__ for one in given if not torch.is_tensor(one)]
    wrong += [
        str(one.dtype) for one in given if torch.is_tensor(one) and one.dtype != torch.float32
    ]
    if wrong or not given:
        raise BadSpec(
            f"example inputs are {', '.join(wrong) or 'none'}, not float32 tensors",
            do="pass a tensor, or a tuple of what forward takes: (torch.rand(1, 3, 224, 224),)",
        )
    return tuple(one.detach().cpu() for one in given)


def _is_float(one: object) -> bool:
    return isinstance(one, torch.Tensor) and one.dtype == torch.float32


def _first_of_batch(inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """An app feeds one picture: of a training's batch, its first."""
    counts = {tensor.shape[0] for tensor in inputs if tensor.ndim == 4}
    if all(tensor.ndim == 4 for tensor in inputs) and len(counts) == 1:
        return tuple(tensor[:1] for tensor in inputs)
    return inputs


def _input_names(module: nn.Module, count: int) -> list[str]:
    parameters = inspect.signature(module.forward).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [_tensor_name(one.name) for one in parameters if one.kind in positional][:count]
    if len(set(names)) < count:
        return _numbered("input", count)
    return names


def _numbered(noun: str, count: int) -> list[str]:
    return [noun] if count == 1 else [f"{noun}{number}" for number in range(1, count + 1)]


def _tensor_name(text: str) -> str:
    """The text in the form that is a tensor's name in every format."""
    found = re.sub(r"[^a-z0-9_]", "_", text.lower()).strip("_")
    return found if found[:1].isalpha() else f"t{found}"


def _model_name(kind: str) -> str:
    """A class's name as a model's: UNet becomes u-net."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", kind).lower()
    return "-".join(re.findall(r"[a-z0-9]+", words)).lstrip("0123456789-") or "model"


def _inputs(names: Sequence[str], tensors: Sequence[torch.Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(map(_input, names, tensors))


def _input(name: str, tensor: torch.Tensor) -> TensorSpec:
    low, high = _bounds(tensor)
    shape = tuple(tensor.shape)
    if not _is_plane(shape):
        return TensorSpec(name, shape, "features", low=low, high=high)
    scale = 255 / (high - low)
    rule = Preprocess(
        colour="RGB" if shape[1] == 3 else "GRAY",
        mean=(-low * scale + 0.0,) * shape[1],  # of low 0: 0, not -0
        std=(scale,) * shape[1],
    )
    return TensorSpec(name, shape, "image", low=low, high=high, preprocess=rule)


def _is_plane(shape: tuple[int, ...]) -> bool:
    """Whether it can be a picture: (1, C, H, W) of one or three channels and many pixels."""
    return len(shape) == 4 and shape[0] == 1 and shape[1] in (1, 3) and min(shape[2:]) > 1


def _bounds(tensor: torch.Tensor) -> tuple[float, float]:
    least, most = float(tensor.min()), float(tensor.max())
    if not math.isfinite(least) or not math.isfinite(most):
        raise BadSpec("the example holds numbers that are not finite")
    for low, high in BOUNDS:
        if low <= least and most <= high:
            return low, high
    return float(math.floor(least)), float(math.ceil(most))


def _outputs(
    result: Any, taken: set[str], tolerance: float | Mapping[str, float] | None
) -> tuple[TensorSpec, ...]:
    tensors = (result,) if torch.is_tensor(result) else result
    if not isinstance(tensors, tuple | list) or not all(map(torch.is_tensor, tensors)):
        raise BadModule(
            f"forward returned {type(result).__name__}",
            do="return a tensor, or a tuple of tensors: wrap the module in one whose forward does",
        )
    fields = getattr(result, "_fields", None) or _numbered("output", len(tensors))
    names = [_tensor_name(field) for field in fields]
    names = [f"{name}_out" if name in taken else name for name in names]
    if isinstance(tolerance, Mapping):
        for name in tolerance:
            if name not in names:
                raise UnknownName.among("output", name, names)
    return tuple(_output(name, one, tolerance) for name, one in zip(names, tensors, strict=True))


def _output(
    name: str, tensor: torch.Tensor, tolerance: float | Mapping[str, float] | None
) -> TensorSpec:
    if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
        what = "not finite on the example" if tensor.is_floating_point() else str(tensor.dtype)
        raise BadModule(f"output '{name}' is {what}", do="return finite float32 tensors")
    given = tolerance.get(name) if isinstance(tolerance, Mapping) else tolerance
    shape = tuple(tensor.shape)
    allowed = first_tolerance(tensor) if given is None else given
    if not _is_plane(shape):
        return TensorSpec(name, shape, "features", tolerance=allowed)
    rule = Postprocess(low=None, high=None, colour="RGB" if shape[1] == 3 else "GRAY")
    return TensorSpec(name, shape, "map", tolerance=allowed, postprocess=rule)


def first_tolerance(tensor: torch.Tensor) -> float:
    """SHARE of the tensor's range, or ULPS of float16 if these are more; two digits, rounded up."""
    largest = float(tensor.abs().max())
    span = float(tensor.max() - tensor.min())
    least = max(SHARE * span, ULPS * largest * 2.0**-11)
    if least == 0:  # nothing but zeros
        return SHARE
    digit = 10.0 ** (math.floor(math.log10(least)) - 1)
    return float(f"{math.ceil(least / digit) * digit:.2g}")


def _notes(
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    tolerance: float | Mapping[str, float] | None,
) -> list[str]:
    """What was found out rather than said by the user, a sentence each."""
    notes = []
    for spec in inputs:
        what = "a picture whose pixels become" if spec.kind == "image" else "numbers of"
        notes.append(
            f"found by running the module: input {spec.name} {spec.shape} is {what} "
            f"{spec.low:g} to {spec.high:g}"
        )
    for spec in outputs:
        own = tolerance.get(spec.name) if isinstance(tolerance, Mapping) else tolerance
        why = "as given" if own is not None else "1 % of its range on the example, a first guess"
        notes.append(
            f"found by running the module: output {spec.name} {spec.shape}; "
            f"it may be off by {spec.tolerance:g}, {why}"
        )
    return notes
