"""The specification of a module that is in memory, found by running it once."""

from __future__ import annotations

import copy
import inspect
import linecache
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import nn

from converters.capture import HALVES, TORCH, cast_halves, user_code
from converters.signature import leaves, names_of, tensor_name
from model_defs.errors import BadModule, BadSpec, UnknownName
from model_defs.spec import ModelSpec, Postprocess, Preprocess, TensorSpec

LONGEST_NAME = 100
"""So many characters of a model's name: the names of files that begin with it have to end, too."""
EXAMPLE = "pass a tensor, or a tuple of what forward takes: (torch.rand(1, 3, 224, 224),)"
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
    taken. Inputs are named as forward names them, outputs after their keys, or `output`, `output1`
    and so on. An input of one or three channels is a picture. `tolerance`
    is one for all outputs, or by name; else it is a hundredth of an output's range.

    Raises BadModule where it cannot be copied or does not run, BadSpec for an example, a name or
    a tolerance that is none, and what ModelSpec raises.
    """
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    if name is None:
        name = model_name(type(module).__name__)
    check_name(name)
    _check_tolerance(tolerance)
    _check_module(module)
    inputs = _first_of_batch(_tensors(example_inputs))
    _check_call(module, inputs)
    ours = _copied(module)
    notes = cast_halves(ours)
    with torch.no_grad(), user_code("the module does not run on the example"):
        result = ours(*inputs)
    named = dict(zip(_input_names(ours, len(inputs)), inputs, strict=True))
    return describe_run(name, ours, named, result, tolerance, notes)


def describe_run(
    name: str,
    module: nn.Module,
    inputs: Mapping[str, torch.Tensor],
    result: Any,
    tolerance: float | Mapping[str, float] | None = None,
    notes: Sequence[str] = (),
) -> ModelSpec:
    """The specification of a module that was run: its inputs by name, and what it returned.

    The module is kept as it is, and each build is a copy of it. `notes` come before those of what
    was found. Raises what `describe` raises of names, outputs and tolerances.
    """
    taken = _inputs([*inputs], [*inputs.values()])
    outputs, unused = _outputs(result, frozenset(inputs), tolerance)
    return ModelSpec(
        name,
        lambda: copy.deepcopy(module),
        inputs=taken,
        outputs=outputs,
        notes=(*notes, *_notes(taken, outputs, tolerance), *map(_unused_note, unused)),
    )


def check_name(name: object) -> None:
    """What ModelSpec does not say of a name: that it is text, and not endless."""
    if not isinstance(name, str):
        raise BadSpec(f"a {type(name).__name__} is no name", do="pass text: name='my-net'")
    if len(name) > LONGEST_NAME:
        raise BadSpec(
            f"the model's name has {len(name)} characters, more than {LONGEST_NAME}",
            where=name,
            do="pass a shorter one: name='my-net'",
        )


def _check_tolerance(tolerance: object) -> None:
    given = tolerance.values() if isinstance(tolerance, Mapping) else (tolerance,)
    for one in given:
        if one is not None and (isinstance(one, bool) or not isinstance(one, Real)):
            raise BadSpec(
                f"tolerance {one!r} is no number",
                do="pass the largest error that nobody sees, in the output's own unit: 0.01",
            )


def _check_module(module: nn.Module) -> None:
    """That it has numbers, of float32, and code that can be read."""
    if isinstance(module, torch.jit.ScriptModule):
        raise BadModule(
            "the module is a torch.jit.ScriptModule, which is compiled already",
            do="pass the nn.Module that it was made of",
        )
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_meta:
            raise BadModule(
                f"{name} is on the device meta, and has no numbers",
                do="module.to_empty(device='cpu'), then load its weights with load_state_dict",
            )
        if tensor.is_floating_point() and tensor.dtype not in (torch.float32, *HALVES):
            raise BadModule(
                f"{name} is {str(tensor.dtype).removeprefix('torch.')}, not float32",
                do="pass module.float(); the recipe chooses the type that is stored",
            )


def _check_call(module: nn.Module, inputs: Sequence[torch.Tensor]) -> None:
    """That forward takes as many inputs as the example has: said here, at the user's line."""
    signature = inspect.signature(module.forward)
    try:
        signature.bind(*inputs)
    except TypeError as error:
        raise BadSpec(
            f"forward does not take the example (tensors: {len(inputs)}): {error}",
            where=_line_of(module.forward),
            do=f"pass a tuple of what it takes, in its order: forward{signature}",
        ) from error


def _line_of(forward: Any) -> str:
    """Where a user defined it, as `file.py:12: code`; nothing for what is PyTorch's."""
    code = getattr(inspect.unwrap(forward), "__code__", None)
    if code is None or code.co_filename.startswith((TORCH, "<")):
        return ""
    line = linecache.getline(code.co_filename, code.co_firstlineno).strip()
    return f"{code.co_filename}:{code.co_firstlineno}: {line}"


def _copied(module: nn.Module) -> nn.Module:
    """A copy that shares nothing with the module, in eval mode on the CPU."""
    known = {}
    for part in module.modules():
        for value in vars(part).values():
            # What a hook computes of parameters (an old weight_norm) refuses to be copied.
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                known[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(module, dict(known)).cpu().eval()
    except Exception as error:  # a user's attribute may raise anything
        name = _uncopied(module, known)
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadModule(
            f"the module cannot be copied: {why}",
            where=f"its attribute {name}" if name else "",
            do=f"take {name or 'what cannot be copied'} off the module, or pass a ModelSpec whose "
            "build() makes it",
        ) from error


def _uncopied(module: nn.Module, known: Mapping[int, torch.Tensor]) -> str:
    """The first attribute that refuses to be copied, as `encoder.lock`; "" if none does alone."""
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            if name == "_modules":
                continue
            try:
                copy.deepcopy(value, dict(known))
            except Exception:  # as above
                return f"{path}.{name}".lstrip(".")
    return ""


def _tensors(example_inputs: object) -> tuple[torch.Tensor, ...]:
    wanted = "example inputs are {}, not float32 tensors"
    if isinstance(example_inputs, Mapping):
        raise BadSpec(
            wanted.format(f"a {type(example_inputs).__name__}"),
            do="pass a tuple of its tensors, in the order of forward",
        )
    single = torch.is_tensor(example_inputs) or isinstance(example_inputs, str | np.ndarray)
    given: tuple[object, ...] = (example_inputs,)
    if not single and isinstance(example_inputs, Iterable):
        given = tuple(example_inputs)
    for one in given:
        if isinstance(one, np.ndarray):
            do = "pass torch.from_numpy(array).float() in place of an array of NumPy"
            raise BadSpec(wanted.format("a NumPy array"), do=do)
    wrong = [type(one).__name__ for one in given if not isinstance(one, torch.Tensor)]
    tensors = [one for one in given if isinstance(one, torch.Tensor)]
    if wrong or not given:
        raise BadSpec(wanted.format(", ".join(wrong) or "none"), do=EXAMPLE)
    for one in tensors:
        _check_example(one, wanted)
    return tuple(one.detach().cpu() for one in tensors)


def _check_example(tensor: torch.Tensor, wanted: str) -> None:
    if tensor.dtype != torch.float32:
        raise BadSpec(wanted.format(tensor.dtype), do="pass tensor.float()")
    if tensor.is_meta or tensor.layout != torch.strided:
        kind = "on the device meta" if tensor.is_meta else str(tensor.layout)
        raise BadSpec(wanted.format(kind), do=EXAMPLE)
    if tensor.numel() == 0:
        raise BadSpec(
            f"an example input of shape {tuple(tensor.shape)} holds no numbers",
            do="pass one with at least 1 along each axis",
        )


def _first_of_batch(inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """An app feeds one picture: of a training's batch, its first."""
    counts = {tensor.shape[0] for tensor in inputs if tensor.ndim == 4}
    if all(tensor.ndim == 4 for tensor in inputs) and len(counts) == 1:
        return tuple(tensor[:1] for tensor in inputs)
    return inputs


def _input_names(module: nn.Module, count: int) -> list[str]:
    parameters = inspect.signature(module.forward).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [tensor_name(one.name) for one in parameters if one.kind in positional][:count]
    if len(set(names)) < count:
        return _numbered("input", count)
    return names


def _numbered(noun: str, count: int) -> list[str]:
    return [noun] if count == 1 else [f"{noun}{number}" for number in range(1, count + 1)]


def model_name(kind: str) -> str:
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
        raise BadSpec("the example holds numbers that are not finite", do="pass finite ones")
    for low, high in BOUNDS:
        if low <= least and most <= high:
            return low, high
    low, high = float(math.floor(least)), float(math.ceil(most))
    if low == high:
        raise BadSpec(
            f"the example holds nothing but {low:g}, which says no bounds",
            do="pass an example whose numbers differ, as in use",
        )
    return low, high


def _outputs(
    result: Any, taken: frozenset[str], tolerance: float | Mapping[str, float] | None
) -> tuple[tuple[TensorSpec, ...], list[str]]:
    """The outputs, and the names of what forward returned that is no tensor."""
    found = list(leaves(result))
    names = names_of(found, taken)
    known = {n: leaf.value for n, leaf in zip(names, found, strict=True)}
    tensors = {name: one for name, one in known.items() if isinstance(one, torch.Tensor)}
    if not tensors:
        raise BadModule(
            f"forward returned {type(result).__name__}",
            do="return tensors: one, or a tuple, a dict or a dataclass of them",
        )
    if isinstance(tolerance, Mapping):
        for name in tolerance:
            if name not in tensors:
                raise UnknownName.among("output", name, tensors)
    outputs = tuple(_output(name, one, tolerance) for name, one in tensors.items())
    return outputs, [name for name in known if name not in tensors]


def _output(
    name: str, tensor: torch.Tensor, tolerance: float | Mapping[str, float] | None
) -> TensorSpec:
    if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
        what = "not finite on the example" if tensor.is_floating_point() else str(tensor.dtype)
        raise BadModule(f"output '{name}' is {what}", do="return finite float32 tensors")
    if tensor.numel() == 0:
        raise BadModule(
            f"output '{name}' of shape {tuple(tensor.shape)} holds no numbers on the example",
            do="return tensors with at least 1 along each axis",
        )
    given = tolerance.get(name) if isinstance(tolerance, Mapping) else tolerance
    shape = tuple(tensor.shape)
    allowed = first_tolerance(tensor) if given is None else float(given)
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


def _unused_note(name: str) -> str:
    return f"found by running the module: {name}, which forward also returns, is no tensor"


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
