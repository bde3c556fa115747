"""From PyTorch to a file in stages, and the first at which the outputs part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from converters import backends
from converters.reference import ReferenceRunner
from model_defs.errors import MlshipError
from model_defs.spec import TensorSpec
from toolchain.bundle.parity_report import Question
from toolchain.parity import compare

if TYPE_CHECKING:
    from converters.api import Program, Tensors
    from converters.graph.captured import GraphCall
    from converters.intermediates.guide import Guide
    from toolchain.parity.subject import Subject
    from toolchain.passes.base import Pass


@dataclass(frozen=True)
class Stage:
    """One step on the way; `error` is what it adds to the worst output, in that output's unit.

    `layer` names the first module whose output a pass changed more than rounding explains.
    """

    name: str
    output: str
    error: float
    tolerance: float
    note: str = ""
    layer: str = ""

    @property
    def parted(self) -> bool:
        return bool(self.note) or not self.error <= self.tolerance


def of_passes(
    program: Program, passes: Sequence[Pass], inputs: Tensors
) -> tuple[list[Stage], Program]:
    """A stage for each pass, and the program after all of them."""
    found = []
    outputs = ReferenceRunner(program).run(inputs)
    for step in passes:
        after = step(program)
        results = ReferenceRunner(after).run(inputs)
        asked: Question = "faithful" if step.exact else "accurate"
        stage = _stage(f"pass {step.name}", program.spec.outputs, inputs, outputs, results, asked)
        if stage.parted:
            stage = replace(stage, layer=first_module(program, after, inputs))
        found.append(stage)
        program, outputs = after, results
    return found, program


def of_export(guide: Guide, program: Program) -> list[Stage]:
    """The ONNX graph, as ONNX Runtime computes it."""
    want = ReferenceRunner(program).run(guide.inputs)
    got = {spec.name: guide.onnx_values[spec.name] for spec in program.spec.outputs}
    return [_stage("export to ONNX", program.spec.outputs, guide.inputs, want, got, "faithful")]


def of_backends(
    subject: Subject, program: Program, names: Sequence[str], inputs: Tensors
) -> list[Stage]:
    """The file on each backend."""
    want = ReferenceRunner(program).run(inputs)
    found = []
    for name in names:
        try:
            runner = backends.find(name).open(subject.artifact)
        except MlshipError as error:
            found.append(Stage(f"file on {name}", "", np.nan, 0.0, error.what))
            continue
        try:
            got = runner.run(inputs)
        finally:
            runner.close()
        precise = backends.find(name).in_float32(subject.artifact.precision)
        asked: Question = "faithful" if precise else "accurate"
        found.append(_stage(f"file on {name}", subject.bundle.outputs, inputs, want, got, asked))
    return found


def _stage(
    name: str,
    outputs: Sequence[TensorSpec],
    inputs: Tensors,
    want: Tensors,
    got: Tensors,
    asked: Question,
) -> Stage:
    """The output that is nearest to its tolerance, or farthest beyond."""
    found = []
    for spec in outputs:
        tolerance = compare.tolerance_of(spec, want[spec.name], asked)
        row = compare.compare(name, "", spec, want[spec.name], got, tolerance)
        if asked == "accurate" and spec.measured is not None and row.error is not None:
            row = compare.by_measure(row, spec, inputs, want[spec.name], got)
        note = row.note if row.error is None else ""
        error = np.nan if row.error is None else row.error
        found.append(Stage(name, spec.name, error, row.tolerance or 0.0, note))
    return max(found, key=lambda s: np.inf if s.parted else s.error / (s.tolerance or 1.0))


SHARE = 0.02
"""What a pass may change of a module's output, as a share of its largest number."""


def first_module(before: Program, after: Program, inputs: Tensors) -> str:
    """The first module whose output differs, and stays different where the next one reads it."""
    old, new = _module_outputs(before, inputs), _module_outputs(after, inputs)
    bad = set()
    for name, found in old.items():
        # What a pass took out gives what it is given: a BatchNorm that was folded.
        new.setdefault(name, next((new[read] for read in found.reads), found))
        if _differs(found.values, new[name].values):
            bad.add(name)
    for name in old:
        readers = {other for other, call in old.items() if name in call.reads}
        if name in bad and not (readers and readers.isdisjoint(bad)):
            return name
    return ""


@dataclass(frozen=True)
class _Call:
    """What the last operation of a module gives, and the modules whose outputs it reads."""

    values: np.ndarray
    reads: tuple[str, ...]


def _module_outputs(program: Program, inputs: Tensors) -> dict[str, _Call]:
    import torch

    from converters.graph.sources import module_of
    from converters.program_graph import watch

    found: dict[str, _Call] = {}

    def seen(call: GraphCall) -> Any:
        name = module_of(call.node)
        if name and isinstance(call.result, torch.Tensor):
            before = found[name].reads if name in found else ()
            sources = (module_of(n) for n in call.node.all_input_nodes if n.op == "call_function")
            reads = dict.fromkeys([*before, *(s for s in sources if s not in ("", name))])
            found[name] = _Call(call.result.numpy().copy(), tuple(reads))
        return call.result

    watch(program, inputs, seen)
    return found


def _differs(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape != b.shape:
        return True
    largest = float(np.abs(a).max(initial=0.0))
    return float(np.abs(a - b).max(initial=0.0)) > SHARE * largest
