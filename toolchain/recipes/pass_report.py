"""What each pass did: bytes, multiply-adds, how far the outputs moved, what the metric lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from converters.encodings import Encoding
from toolchain.bundle.pass_record import PassRecord

if TYPE_CHECKING:
    import torch

    from converters.api import Program
    from model_defs.spec import TensorSpec

MODEL = "as trained"
"""The first entry: the model before any pass."""

Evaluate = Callable[[str, "Program"], Mapping[str, float]]
"""(after what, a program) -> its metrics by name."""

MakeEvaluator = Callable[["Program", Callable[[str], None]], Evaluate]
"""(the model, who is told what is done) -> what gives programs after its passes metrics."""


def evaluate_nothing(after: str, program: Program) -> Mapping[str, float]:
    """For builds that were not asked for metrics: an evaluation takes longer than all passes."""
    return {}


def record_of(
    after: str,
    program: Program,
    macs: int,
    outputs: Sequence[torch.Tensor],
    model: Sequence[torch.Tensor],
    metrics: Mapping[str, float],
) -> PassRecord:
    """What a program is after a pass; `outputs` are its own, `model` those before any pass."""
    moved = [
        _moved(spec, new, old)
        for spec, new, old in zip(program.spec.outputs, outputs, model, strict=True)
    ]
    parameters = sum(p.numel() for p in program.module.parameters())
    return PassRecord(after, stored_bytes(program), parameters, macs, max(moved), metrics)


def _moved(spec: TensorSpec, new: torch.Tensor, old: torch.Tensor) -> float:
    """How far, in tolerances; of labels, how many differ."""
    if not spec.is_float:
        return float((new != old).float().mean()) / (spec.tolerance or 1.0)
    return float((new - old).abs().max()) / (spec.noticeable or 1.0)


def stored_bytes(program: Program) -> int:
    """The bytes of all parameters and float buffers, each tensor once."""
    named = [*program.module.named_parameters(), *program.module.named_buffers()]
    floats = {name: tensor for name, tensor in named if tensor.is_floating_point()}
    return sum(_bytes(program.encodings, name, t) for name, t in floats.items())


def _bytes(encodings: Mapping[str, Encoding], name: str, tensor: torch.Tensor) -> int:
    return encodings.get(name, Encoding("float32")).bytes(tensor.numel())
