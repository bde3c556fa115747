"""The specification of a module that is in memory, found by running it once."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, cast

import torch
from torch import nn

from converters import example
from converters.capture import CAST, cast_floats, uncompiled, user_code
from converters.signature import leaves, names_of
from converters.stepping import as_state, proposed_state
from model_defs.errors import BadModule, BadSpec, UnknownName
from model_defs.spec import (
    DTYPES,
    Dtype,
    Kind,
    ModelSpec,
    Postprocess,
    Preprocess,
    TensorSpec,
    check_state,
)

LONGEST_NAME = 100
"""So many characters of a model's name: the names of files that begin with it have to end, too."""
SHARE = 0.01
"""A first tolerance: this share of an output's range, which is what the zoo's models allow ..."""
ULPS = 4
"""... or so many steps of float16 at its largest number, where these are more."""
BOUNDS = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
"""What an input is taken to lie between: the first that holds all numbers of the example."""


def describe(
    module: nn.Module,
    example_inputs: Any,
    *,
    name: str | None = None,
    tolerance: float | Mapping[str, float] | None = None,
    batch: int = 1,
    state: Mapping[str, str] | None = None,
) -> ModelSpec:
    """The specification of a module by an example of its inputs; `notes` say what was found.

    The module stays as it is: a copy is run, on the CPU, in eval mode, in float32. Of a batch, the
    first `batch` are taken. Inputs are named as forward or their keys name them, outputs after
    their keys, or `output`, `output1` and so on. An input of one or three channels is a picture.
    `tolerance` is one for all outputs, or by name; else it is a hundredth of an output's range, or
    of its labels. `state` is ModelSpec's. What an example may be is said by `example.read`.

    Raises BadModule where it cannot be copied or does not run, BadSpec for an example, a name or
    a tolerance that is none, and what ModelSpec raises.
    """
    own = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    if name is None:
        name = model_name(type(own).__name__)
    check_name(name)
    _check_tolerance(tolerance)
    _check_module(own)
    given = example.read(own, example_inputs, batch)
    ours = uncompiled(_copied(own))
    cast = cast_floats(ours)
    call = given.call(ours)
    with torch.no_grad(), user_code("the module does not run on the example", cast):
        fed = {key: tensor.clone() for key, tensor in given.inputs.items()}  # it may write there
        if call is not None:
            result = call(ours, *fed.values())
        else:
            result = ours(*fed.values()) if given.args else ours(**fed)
    notes = [*cast, *given.notes]
    return describe_run(name, ours, given.inputs, result, tolerance, notes, call, state)


def describe_run(
    name: str,
    module: nn.Module,
    inputs: Mapping[str, torch.Tensor],
    result: Any,
    tolerance: float | Mapping[str, float] | None = None,
    notes: Sequence[str] = (),
    call: Callable[..., Any] | None = None,
    state: Mapping[str, str] | None = None,
) -> ModelSpec:
    """The specification of a module that was run: its inputs by name, and what it returned.

    The module is kept as it is, and each build is a copy of it. `notes` come before those of what
    was found. Raises what `describe` raises of names, outputs and tolerances.
    """
    taken = _inputs([*inputs], [*inputs.values()])
    outputs, unused = _outputs(result, frozenset(inputs), tolerance)
    if not isinstance(state, Mapping | None):
        raise BadSpec(
            f"state is a {type(state).__name__}, not a dict",
            do='say which input is fed with which output: state={"hidden": "hidden_out"}',
        )
    held = dict(state or {})
    check_state(held, tuple(map(as_state, taken)), outputs)
    made = dict(zip(*_named_leaves(result, frozenset(inputs)), strict=True))
    taken = tuple(
        _remembered(t, inputs[t.name], made[held[t.name]]) if t.name in held else t for t in taken
    )
    return ModelSpec(
        name,
        lambda: copy.deepcopy(module),
        inputs=taken,
        outputs=outputs,
        notes=(
            *notes,
            *_notes(taken, outputs, tolerance),
            *map(_unused_note, unused),
            *_renamed_notes(result, frozenset(inputs)),
            *([] if held else _state_notes(taken, outputs)),
        ),
        call=call,
        state=held,
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
    """That it has numbers, and code that can be read."""
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
        if tensor.is_floating_point() and tensor.dtype not in (torch.float32, *CAST):
            raise BadModule(
                f"{name} is {str(tensor.dtype).removeprefix('torch.')}, not float32",
                do="pass module.float(); the recipe chooses the type that is stored",
            )


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


def model_name(kind: str) -> str:
    """A class's name as a model's: UNet becomes u-net."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", kind).lower()
    return "-".join(re.findall(r"[a-z0-9]+", words)).lstrip("0123456789-") or "model"


def _inputs(names: Sequence[str], tensors: Sequence[torch.Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(map(_input, names, tensors))


def _input(name: str, tensor: torch.Tensor) -> TensorSpec:
    shape = tuple(tensor.shape)
    if tensor.dtype == torch.bool:
        return TensorSpec(name, shape, "mask" if _is_plane(shape) else "features", dtype="bool")
    if not tensor.is_floating_point():
        least, most = _whole_bounds(name, tensor)
        return TensorSpec(name, shape, "features", low=least, high=most, dtype=_dtype(tensor))
    low, high = _bounds(tensor)
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


def _dtype(tensor: torch.Tensor) -> Dtype:
    name: Any = str(tensor.dtype).removeprefix("torch.")
    return cast(Dtype, name)


def _whole_bounds(name: str, tensor: torch.Tensor) -> tuple[int, int]:
    """The least and the largest number: beyond them may be no row of a table."""
    least, most = int(tensor.min()), int(tensor.max())
    if least == most and least in (0, 1):  # a mask that hides nothing, or all
        return 0, 1
    if least == most:
        raise BadSpec(
            f"the example's {name} holds nothing but {least}, which says no bounds",
            do="pass an example with the least and the largest number that are in use",
        )
    return least, most


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
    known = dict(zip(*_named_leaves(result, taken), strict=True))
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


def _named_leaves(result: Any, taken: frozenset[str]) -> tuple[list[str], list[Any]]:
    """The names of what forward returned, and the values."""
    found = list(leaves(result))
    return names_of(found, taken), [leaf.value for leaf in found]


def _remembered(spec: TensorSpec, given: torch.Tensor, made: torch.Tensor) -> TensorSpec:
    """An input as state, whose bounds hold what is given and what comes of it."""
    if spec.dtype == "bool":
        return as_state(spec)
    both = torch.cat([given.flatten(), made.detach().flatten().to(given.dtype)])
    if not spec.is_float:
        return as_state(replace(spec, low=int(both.min()), high=max(1, int(both.max()))))
    low, high = _bounds(torch.cat([both, torch.zeros(1)]))
    return as_state(replace(spec, low=low, high=high, preprocess=None))


def _state_notes(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> list[str]:
    proposed = proposed_state(inputs, outputs)
    if not proposed:
        return []
    how = ", ".join(f"'{name}': '{source}'" for name, source in proposed.items())
    return [f"by their names these may be the next call's inputs: state={{{how}}}"]


def _output(
    name: str, tensor: torch.Tensor, tolerance: float | Mapping[str, float] | None
) -> TensorSpec:
    if not tensor.is_floating_point() and _dtype(tensor) not in DTYPES:
        do = f"return one of {', '.join(DTYPES)}"
        raise BadModule(f"output '{name}' is {tensor.dtype}", do=do)
    if not bool(torch.isfinite(tensor).all()):
        do = "return finite tensors"
        raise BadModule(f"output '{name}' is not finite on the example", do=do)
    if tensor.numel() == 0 or tensor.ndim == 0:
        raise BadModule(
            f"output '{name}' of shape {tuple(tensor.shape)} holds no numbers on the example",
            do="return tensors with at least 1 along each axis",
        )
    given = tolerance.get(name) if isinstance(tolerance, Mapping) else tolerance
    shape, whole = tuple(tensor.shape), not tensor.is_floating_point()
    first = SHARE if whole else first_tolerance(tensor)
    allowed = first if given is None else float(given)
    dtype = _dtype(tensor) if whole else "float32"
    if not _is_plane(shape):
        return TensorSpec(name, shape, "features", tolerance=allowed, dtype=dtype)
    rule = Postprocess(
        low=None,
        high=None,
        filter="nearest" if whole else "bilinear",
        colour="RGB" if shape[1] == 3 else "GRAY",
    )
    kind: Kind = "mask" if dtype == "bool" else "map"
    return TensorSpec(name, shape, kind, tolerance=allowed, postprocess=rule, dtype=dtype)


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


def _renamed_notes(result: Any, taken: frozenset[str]) -> list[str]:
    """What is called otherwise than forward calls it: by its key an input is known already."""
    (keys, _), (names, _) = _named_leaves(result, frozenset()), _named_leaves(result, taken)
    return [
        f"found by running the module: what forward returns as {key} is output {name}, "
        "as that name is taken"
        for key, name in zip(keys, names, strict=True)
        if key != name
    ]


def _notes(
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    tolerance: float | Mapping[str, float] | None,
) -> list[str]:
    """What was found out rather than said by the user, a sentence each."""
    notes = []
    for spec in inputs:
        what = "a picture whose pixels become" if spec.kind == "image" else "numbers of"
        what = what if spec.is_float else spec.dtype
        bounds = f" {spec.low:g} to {spec.high:g}" if spec.low is not None else ""
        notes.append(
            f"found by running the module: input {spec.name} {spec.shape} is {what}{bounds}"
        )
    for spec in outputs:
        own = tolerance.get(spec.name) if isinstance(tolerance, Mapping) else tolerance
        why = "as given" if own is not None else "1 % of its range on the example, a first guess"
        may = f"it may be off by {spec.tolerance:g}, {why}"
        if not spec.is_float:
            why = "as given" if own is not None else "a first guess"
            may = f"of its {spec.dtype} {spec.tolerance:.0%} may differ, {why}"
        notes.append(f"found by running the module: output {spec.name} {spec.shape}; {may}")
    return notes
