"""From a specification to a program that means exactly what its PyTorch module computes.

Capturing refuses what a tracer would get wrong in silence: branches on data, values read out
of tensors, randomness. It repairs, and says so, what can be repaired without changing the
result: train mode, non-contiguous tensors, parametrizations.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import traceback
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from converters.api import Export, Program
from converters.format import Source
from converters.signature import call, flat, is_flat, left_out, outputs_of
from converters.weights import load_weights
from model_defs.errors import BadModule, BadSpec, BadWeights, MlshipError, UnsupportedOperation
from model_defs.spec import DTYPES, ModelSpec, TensorSpec

OPSET = 17
SEED = 0
TORCH = os.path.dirname(torch.__file__)
MODES_MATTER = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)


def capture(spec: ModelSpec, weights: Path | None = None, *, trust_pickle: bool = False) -> Program:
    """Build the module under seed 0, load its weights and check that it can be traced.

    `weights` takes the place of the specification's own; they are unpickled only where that is
    trusted. Raises BadModule, BadSpec or BadWeights; what was repaired is in the program's `notes`.
    """
    torch.manual_seed(SEED)
    with user_code(f"{spec.name}: build() failed"):
        module = spec.build()
    if not isinstance(module, nn.Module):
        raise BadSpec(f"{spec.name}: build() returned {type(module).__name__}, not a nn.Module")
    notes = [*spec.notes, *_settle(module)]
    path = weights or spec.weights
    if path is not None:
        notes += load_weights(
            flat(spec, module), path, spec.part, example(spec), trust_pickle=trust_pickle
        )
    _check_numbers(module)
    result = _check_forward(spec, module)
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
def user_code(what: str) -> Iterator[None]:
    """Whatever a user's code raises, as a BadModule with the line that raised it."""
    try:
        yield
    except (BadModule, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:  # a user may raise anything, and exit
        # The first two frames are this one and the one of our `with`, which called the user's.
        where = _user_line(traceback.extract_tb(error.__traceback__)[2:])
        message = str(error).strip().split("\n")[0]
        raise BadModule(f"{what}: {type(error).__name__}: {message}", where=where) from error


def _user_line(stack: Sequence[traceback.FrameSummary]) -> str:
    """The innermost line that is neither PyTorch's nor ours, as `file.py:12: code`."""
    ours = (TORCH, os.path.dirname(__file__))
    frames = [f for f in stack if not f.filename.startswith(ours) and "<" not in f.filename]
    return f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""


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
    notes += cast_halves(module)
    for name, tensor in _tensors(module):
        if not tensor.is_contiguous():
            tensor.data = tensor.data.contiguous()
            notes.append(f"{name} was not contiguous: made contiguous")
    module.requires_grad_(False)
    return notes


HALVES = (torch.float16, torch.bfloat16)


def cast_halves(module: nn.Module) -> list[str]:
    """Float32 in place of half precision, which a recipe may choose again; a note where there was.

    A number of half precision is one of float32, so that nothing is lost.
    """
    halves = [tensor for _, tensor in _tensors(module) if tensor.dtype in HALVES]
    kinds = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in halves})
    for tensor in halves:
        tensor.data = tensor.data.float()
    return [f"the module's {' and '.join(kinds)} numbers were cast to float32"] if kinds else []


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


class _NoValuesRead(TorchFunctionMode):
    """Refuses to hand a tensor's value to Python, which a tracer would freeze in silence."""

    READS = frozenset(
        getattr(torch.Tensor, name)
        for name in (
            *("__bool__", "__int__", "__float__", "__index__", "__array__"),
            *("item", "tolist", "numpy", "is_nonzero", "equal", "allclose"),
        )
    ) | {torch.equal, torch.allclose, torch.is_nonzero}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self.READS:
            raise BadModule(
                "the module reads a tensor's value in forward: a branch or number that depends "
                "on data cannot be converted",
                where=_user_line(traceback.extract_stack()),
                do="use torch.where, clamp or a mask; decide what is fixed in __init__",
            )
        return func(*args, **(kwargs or {}))


def _check_forward(spec: ModelSpec, module: nn.Module) -> Any:
    """Run forward twice: no value read, the declared outputs, the same both times.

    Returns what forward returned.
    """
    inputs = example(spec)
    with torch.no_grad(), user_code(f"{spec.name}: forward failed"):
        with _NoValuesRead():
            first = call(spec, module, inputs)
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


def export(program: Program, directory: Path, *, onnx: bool = True) -> Export:
    """Write the program as TorchScript and, where asked, as simplified ONNX, from one trace.

    Raises UnsupportedOperation for an operation that ONNX cannot hold, with the line of the
    module that it came from.
    """
    sources: tuple[Source, ...] = ("torchscript", "onnx") if onnx else ("torchscript",)
    written = export_each(program, directory, sources)
    for refusal in written.refused.values():
        raise refusal
    return written


def export_each(program: Program, directory: Path, sources: Collection[Source]) -> Export:
    """The same of these sources, each for itself: what one refuses leaves the others alone.

    Raises what concerns all of them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    spec = program.spec
    traced = trace(program)
    how = (program.precision, _digest(traced), program.grids, program.mixed)
    result = Export(directory, spec.inputs, spec.outputs, *how)
    traced.save(str(result.torchscript))
    if "onnx" not in sources:
        return result
    try:
        _write_onnx(traced, result)
    except MlshipError as error:
        if set(sources) == {"onnx"}:
            raise
        return replace(result, refused={"onnx": error})
    return result


def trace(program: Program) -> torch.jit.ScriptModule:
    """The program's module as TorchScript; BadModule where it cannot be traced."""
    with warnings.catch_warnings(), torch.no_grad(), user_code("the module cannot be traced"):
        warnings.simplefilter("ignore")
        inputs = example(program.spec)
        return torch.jit.trace(program.module, inputs, check_trace=False)


def _digest(traced: torch.jit.ScriptModule) -> str:
    """The SHA-256 of the graph, every parameter, every buffer and every constant."""
    graph: Any = traced.inlined_graph
    text = re.sub(r"___torch_mangle_\d+\.", "", graph.str(False))
    digest = hashlib.sha256(text.encode())
    for name, tensor in [*traced.named_parameters(), *traced.named_buffers()]:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    for node in graph.findAllNodes("prim::Constant"):
        if node.hasAttribute("value") and node.kindOf("value") == "t":
            digest.update(node.t("value").detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _write_onnx(traced: torch.jit.ScriptModule, target: Export) -> None:
    import onnx
    import onnxsim

    inputs = tuple(torch.zeros(t.shape, dtype=getattr(torch, t.dtype)) for t in target.inputs)
    exported = target.directory / "exported.onnx"
    with warnings.catch_warnings(), torch.no_grad(), _quiet_exporter():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                traced,
                inputs,
                str(exported),
                dynamo=False,
                opset_version=OPSET,
                input_names=[t.name for t in target.inputs],
                output_names=[t.name for t in target.outputs],
            )
        except Exception as error:  # an exporter's function of an operation may raise anything
            raise _unsupported(traced, error) from error
    simplified, _ = onnxsim.simplify(onnx.load(exported))
    onnx.save(simplified, target.onnx)


def _quiet_exporter() -> Any:
    """The exporter tests this function instead of calling it, so it always logs its graph."""
    return mock.patch.object(torch._C, "_jit_is_onnx_log_enabled", None)


def _unsupported(traced: torch.jit.ScriptModule, error: Exception) -> UnsupportedOperation:
    graph = traced.inlined_graph
    for node in graph.nodes():
        if f"'{node.kind()}'" in str(error):
            return UnsupportedOperation(
                f"operation {node.kind().removeprefix('aten::')} cannot be exported",
                where=user_frame(node.sourceRange()),
                do="write it with operations that phones have: convolutions, resizing, "
                "elementwise arithmetic, reductions",
            )
    said = re.split(r"\. Please feel free|  \[Caused by", (str(error).splitlines() or [""])[0])[0]
    kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
    return UnsupportedOperation(f"the module cannot be exported as ONNX: {kind}{said}")


TOOLCHAIN = str(Path(__file__).parents[1] / "toolchain")
"""Where forward goes through when its activations are put onto grids."""


def user_frame(source_range: object) -> str:
    """The innermost frame of a TorchScript source range that is a user's, as `file.py:12`."""
    lines = str(source_range).splitlines()
    frames = [re.sub(r"\((\d+)\): .*", r":\1", line.strip()) for line in lines]
    return next((f for f in frames if f and not f.startswith((TORCH, TOOLCHAIN))), "")


def source_of(export: Export, scope: str, operation: str) -> str:
    """The line of the user's code behind an ONNX node named `/scope/Operation`, or ''.

    The file keeps each module's own graph, but not the scopes of an inlined one.
    """
    parts = dict(torch.jit.load(str(export.torchscript)).named_modules())
    part = parts.get(scope.strip("/").replace("/", "."))
    lines = []
    for node in part.graph.nodes() if part is not None else ():
        if node.kind().startswith("aten::"):
            kind = node.kind().removeprefix("aten::").strip("_").replace("_", "")
            lines.append((operation.lower() in kind or kind in operation.lower(), node))
    lines.sort(key=lambda found: not found[0])
    return user_frame(lines[0][1].sourceRange()) if lines else ""
