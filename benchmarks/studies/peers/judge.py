"""How far a file is from PyTorch: outputs are paired as its tool declares, without a search."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measure.timing.process import Process, TimedFile
from benchmarks.studies.peers.subjects import JUDGED, given
from benchmarks.studies.peers.tools import Tool
from converters.api import Port, Tensors
from model_defs.errors import BadArtifact
from model_defs.spec import ModelSpec, TensorSpec


@dataclass(frozen=True)
class DoubleReference:
    """Inputs in float32, and what the model makes of them in float64, both by the spec's names."""

    spec: ModelSpec
    inputs: Tensors
    outputs: Tensors


def truth(name: str) -> DoubleReference:
    """PyTorch in double precision, on inputs that no tool has traced with."""
    import torch

    from converters.capture import example
    from converters.signature import returned

    spec, module, _ = given(name)
    inputs = example(spec, JUDGED)
    with torch.inference_mode():
        found = returned(spec, module.double()(*(x.double() for x in inputs)))
    return DoubleReference(
        spec,
        {t.name: x.numpy() for t, x in zip(spec.inputs, inputs, strict=True)},
        {t.name: y.numpy() for t, y in zip(spec.outputs, found, strict=True)},
    )


def judge(tool: Tool, file: Path, known: DoubleReference) -> tuple[float, dict[str, np.ndarray]]:
    """The largest error as a share of its output's range, and the inputs as the file takes them.

    Raises BadArtifact for a file that does not run, or holds other tensors than the tool says.
    """
    process = Process(TimedFile(tool.runtime, file))
    try:
        ports = _ports(tool, "input", known.spec.inputs, process.started["inputs"])
        stored = {p.stored_as: p.to_stored(known.inputs[p.name]) for p in ports}
        found = process.feed(stored)
    finally:
        process.close()
    outputs = _ports(tool, "output", known.spec.outputs, process.started["outputs"])
    logical = {p.name: p.to_logical(found[p.stored_as]) for p in outputs}
    return worst(logical, known.outputs), stored


def _ports(tool: Tool, side: str, specs: Sequence[TensorSpec], names: Sequence[str]) -> list[Port]:
    """Where the specification's tensors are in a file; BadArtifact where that is not declared."""
    wanted = [t.name for t in specs]
    if tool.numbered and side == "output" and set(names) != set(wanted):
        stored = _by_number(tool.numbered, names)
    else:
        stored = wanted if tool.named else list(names)
    if sorted(stored) != sorted(names) or len(stored) != len(wanted):
        raise BadArtifact(f"{side}s are {', '.join(names)}, not {', '.join(wanted)}")
    return [
        Port.of(spec, channels_last=tool.channels_last, stored_as=name)
        for spec, name in zip(specs, stored, strict=True)
    ]


def _by_number(word: str, names: Sequence[str]) -> list[str]:
    """Names such as Identity, Identity_1 in the order of their numbers; others are left out."""
    found = {name: re.fullmatch(rf"{word}(?:_(\d+))?", name) for name in names}
    numbers = {name: int(match[1] or 0) for name, match in found.items() if match}
    return sorted(numbers, key=numbers.__getitem__)


def worst(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> float:
    """The largest difference of an output as a share of its own range; BadArtifact for NaN, Inf."""
    shares = []
    for name, want in wanted.items():
        got = found[name].astype(np.float64)
        if not np.isfinite(got).all():
            raise BadArtifact(f"output '{name}' has numbers that are not finite")
        spread = float(want.max() - want.min())
        assert spread > 0, f"{name} is constant: no error can be told"
        shares.append(float(np.abs(got - want).max()) / spread)
    return max(shares)
