"""From a specification to a program that means exactly what its PyTorch module computes.

Capturing refuses what a tracer would get wrong in silence: branches on data, values read out
of tensors, randomness. It repairs, and says so, what can be repaired without changing the
result: train mode, non-contiguous tensors, parametrizations.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm, remove_spectral_norm
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

from converters.api import Program
from converters.graph.reads import watched
from converters.graph.sources import line_of_stack
from converters.signature import call, flat, is_flat, left_out, outputs_of
from converters.weights import cast_note, load_weights
from model_defs.errors import BadModule, BadSpec, BadWeights, MlshipError
from model_defs.spec import DTYPES, ModelSpec, TensorSpec

SEED = 0
MODES_MATTER = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)


def capture(spec: ModelSpec, weights: Path | None = None, *, trust_pickle: bool = False) -> Program:
    """Build the module under seed 0, load its weights and check that it can be traced.

    `weights` takes the place of the specification's own; they are unpickled only where that is
    trusted. Raises BadModule, BadSpec or BadWeights; what was repaired is in the program's `notes`.
    """
    torch.manual_seed(SEED)
    with user_code(f"{spec.name}: build() failed"):
        module = uncompiled(spec.build())
    if not isinstance(module, nn.Module):
        raise BadSpec(f"{spec.name}: build() returned {type(module).__name__}, not a nn.Module")
    notes, cast = [*spec.notes, *_settle(module)], cast_floats(module)
    path = weights or spec.weights
    if path is not None:
        notes += load_weights(
            flat(spec, module), path, spec.part, example(spec), trust_pickle=trust_pickle
        )
    _check_numbers(module)
    result = _check_forward(spec, module, cast)
    notes += cast
    unused = left_out(spec, result)
    if unused:
        notes.append(
            f"forward also returns {', '.join(unused)}, which the specification leaves out"
        )
    ours = module if is_flat(spec, module, result) else flat(spec, module)
    return Program(spec, ours, notes=tuple(notes))


def example(spec: ModelSpec, seed: int = SEED) -> tuple[torch.Tensor, ...]:
    """Uniform noise within each input's bounds (0..1 where it has none), in the spec's order.

    Whole numbers are drawn from the bounds themselves as well.
    """
    return example_of(spec.inputs, seed)


def example_of(inputs: Sequence[TensorSpec], seed: int = SEED) -> tuple[torch.Tensor, ...]:
    """The same of inputs alone."""
    generator = torch.Generator().manual_seed(seed)
    tensors = []
    for tensor in inputs:
        low = 0.0 if tensor.low is None else tensor.low
        high = low + 1.0 if tensor.high is None else tensor.high
        noise = torch.rand(tensor.shape, generator=generator)
        if tensor.is_float:
            tensors.append(noise * (high - low) + low)
        else:
            whole = (noise * (high - low + 1) + low).floor().clamp(low, high)
            tensors.append(whole.to(getattr(torch, tensor.dtype)))
    return tuple(tensors)


@contextlib.contextmanager
def user_code(what: str, cast: Sequence[str] = ()) -> Iterator[None]:
    """Whatever a user's code raises, as a BadModule with the line that raised it.

    `cast` are `cast_floats`'s notes of the module: a forward may ask for the types that it had.
    """
    try:
        yield
    except (MlshipError, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:  # a user may raise anything, and exit
        # The first two frames are this one and the one of our `with`, which called the user's.
        where = line_of_stack(traceback.extract_tb(error.__traceback__)[2:])
        message = str(error).strip().split("\n")[0]
        what = f"{what} ({cast[0]})" if cast else what
        raise BadModule(f"{what}: {type(error).__name__}: {message}", where=where) from error


def _settle(module: nn.Module) -> list[str]:
    """Eval mode, no parametrizations, contiguous tensors; returns what had to be changed."""
    notes = []
    trained = {type(m).__name__ for m in module.modules() if m.training}
    if trained & {type(m).__name__ for m in module.modules() if isinstance(m, MODES_MATTER)}:
        notes.append("the module was in train mode: switched to eval")
    module.eval()
    for name, part in module.named_modules():
        if parametrize.is_parametrized(part):
            for tensor in list(part.parametrizations):
                parametrize.remove_parametrizations(part, tensor, leave_parametrized=True)
                notes.append(f"parametrization of {name}.{tensor} was folded into the tensor")
        for tensor in _unhooked(part):
            notes.append(f"parametrization of {name}.{tensor} was folded into the tensor")
    for name, tensor in _tensors(module):
        if not tensor.is_contiguous():
            tensor.data = tensor.data.contiguous()
            notes.append(f"{name} was not contiguous: made contiguous")
    module.requires_grad_(False)
    return notes


def _unhooked(part: nn.Module) -> Iterator[str]:
    """Takes the old norms of weights off a module, which are hooks; yields which weights."""
    for kind, remove in OLD_NORMS.items():
        hooks: list[Any] = [*part._forward_pre_hooks.values()]
        for hook in hooks:
            if isinstance(hook, kind):
                remove(part, hook.name)
                yield hook.name


def uncompiled(module: Any) -> Any:
    """The module without what torch.compile put around it, or around any of its children."""
    module = getattr(module, "_orig_mod", module)
    if isinstance(module, nn.Module):
        for part in module.modules():
            part._compiled_call_impl = None  # what module.compile() leaves
            for name, child in part._modules.items():
                part._modules[name] = getattr(child, "_orig_mod", child)
    return module


OLD_NORMS: Mapping[Any, Callable[[nn.Module, str], nn.Module]] = {
    WeightNorm: remove_weight_norm,
    SpectralNorm: remove_spectral_norm,
}
CAST = (torch.float16, torch.bfloat16, torch.float64)


def cast_floats(module: nn.Module) -> list[str]:
    """Float32 in place of half and double precision; a note where there was any.

    A number of half precision is one of float32, and a recipe may choose it again; one of double
    precision loses digits (`cast_note`).
    """
    others = [tensor for _, tensor in _tensors(module) if tensor.dtype in CAST]
    note = cast_note("the module's {} numbers", others)
    for tensor in others:
        tensor.data = tensor.data.float()
    return note


def _tensors(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def _check_numbers(module: nn.Module) -> None:
    """Float32 parameters and buffers (counters may be integers), all of them finite."""
    for name, parameter in module.named_parameters():
        if parameter.dtype != torch.float32:
            raise BadModule(
                f"parameter {name} is {str(parameter.dtype).removeprefix('torch.')}, not float32",
                do="call .float() on the module in build(); recipes choose the stored type",
            )
    for name, buffer in module.named_buffers():
        if buffer.is_floating_point() and buffer.dtype != torch.float32:
            raise BadModule(
                f"buffer {name} is {str(buffer.dtype).removeprefix('torch.')}, not float32",
                do="register it as float32",
            )
    for name, tensor in _tensors(module):
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise BadWeights(f"{name} holds NaN or Inf", do="train again, or load other weights")


def _check_forward(spec: ModelSpec, module: nn.Module, cast: Sequence[str]) -> Any:
    """Run forward twice: no value of an input read, the declared outputs, the same both times.

    Returns what forward returned.
    """
    inputs = example(spec)
    with torch.no_grad(), user_code(f"{spec.name}: forward failed", cast):
        with watched(inputs) as (fed, _):
            first = call(spec, module, fed)
        second = call(spec, module, inputs)
    for tensor, a, b in zip(
        spec.outputs, outputs_of(spec, first), outputs_of(spec, second), strict=True
    ):
        if tuple(a.shape) != tensor.shape:
            raise BadSpec(
                f"output '{tensor.name}' has shape {tuple(a.shape)}, not {tensor.shape}",
                where=f"model '{spec.name}'",
                do="correct the specification or the module",
            )
        if (kind := str(a.dtype).removeprefix("torch.")) != tensor.dtype:
            raise BadSpec(
                f"output '{tensor.name}' is {kind}, not {tensor.dtype}",
                where=f"model '{spec.name}'",
                do=f"say so: dtype='{kind}'"
                if kind in DTYPES
                else f"return one of these types: {', '.join(DTYPES)}",
            )
        if not torch.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True):
            raise BadModule(
                f"output '{tensor.name}' differs between two runs on the same input",
                do="remove randomness from forward (functional dropout, noise)",
            )
    return first
