"""Which layer is to blame: the error that each one adds, on every backend that shows its values.

A backend's values are put into PyTorch's own graph as it runs: each layer then computes with
what the backend had, so that what it differs by is its own error and not one handed on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converters import backends, formats
from converters.backends import WATCHES
from converters.export import export
from converters.format import resolve
from converters.intermediates.guide import Guide, Observed
from converters.processes import scratch
from converters.progress import Say, silent
from model_defs.errors import BackendUnavailable, BadBundle, MlshipError, UnknownName
from toolchain.bundle.parity_report import ConstantFault, ParityRow
from toolchain.debug import stages
from toolchain.debug.stages import Stage
from toolchain.parity import compare, constants
from toolchain.parity.subject import Subject
from toolchain.recipes import pipeline, recipes

if TYPE_CHECKING:
    from torch import Tensor

    from converters.api import Program, Tensors
    from converters.graph.captured import GraphLayer
    from converters.intermediates.traced import Traced
    from toolchain.passes.base import Pass

LIMITS = {"float32": 2e-3, "float16": 2e-2}
"""The largest error of one layer that rounding explains, as a share of its largest value."""
HANDED = {"float32": 1e-5, "float16": 2e-3}
"""The same as a share of what the layer reads, which matters where it cancels."""


@dataclass(frozen=True)
class LayerError:
    """What one observed value differs by from what PyTorch computes of the same inputs.

    `layers` are those that the runtime fused into it, in their order. `added` is the error of
    these layers alone, with what quantisation did to their weights, and `total` what has come
    together until here, both as shares of the value's largest number. `off` says that the file
    does not compute what it was made from: more than rounding explains.
    """

    stored_as: str
    layers: tuple[GraphLayer, ...]
    added: float
    total: float
    off: bool
    note: str = ""

    @property
    def name(self) -> str:
        return " + ".join(layer.label for layer in self.layers)

    @property
    def source(self) -> str:
        """The line of the layer with weights, or of the last."""
        return next((x.source for x in self.layers if x.weights), self.layers[-1].source)

    def to_json(self) -> dict[str, Any]:
        return {
            "stored_as": self.stored_as,
            "layers": [asdict(layer) for layer in self.layers],
            "source": self.source,
            "added": _number(self.added),
            "total": _number(self.total),
            "off": self.off,
            "note": self.note,
        }


@dataclass(frozen=True)
class BackendBlame:
    """The layers of one backend in their order; `skipped` says why there are none."""

    backend: str
    layers: tuple[LayerError, ...]
    skipped: str = ""

    @property
    def first(self) -> LayerError | None:
        """The layer to blame: the first whose own error rounding cannot explain."""
        return next((layer for layer in self.layers if layer.off), None)

    @property
    def ranked(self) -> tuple[LayerError, ...]:
        """The layers by the error that they add, the largest first."""
        return tuple(sorted(self.layers, key=lambda layer: -layer.added))

    def to_json(self) -> dict[str, Any]:
        layers = [layer.to_json() for layer in self.layers]
        first = self.first.to_json() if self.first else None
        return {"backend": self.backend, "first": first, "layers": layers, "skipped": self.skipped}


@dataclass(frozen=True)
class Blame:
    """All backends of one bundle, PyTorch's stages on the way to its file, and its constants.

    `case` is the one that was looked at: the worst of all, unless one was chosen.
    """

    subject: Subject
    case: str
    stages: tuple[Stage, ...]
    backends: tuple[BackendBlame, ...]
    constants: tuple[ConstantFault, ...] = ()

    @property
    def stage(self) -> Stage | None:
        """The first pass, or other stage, whose output parts from PyTorch's."""
        return next((stage for stage in self.stages if stage.parted), None)

    @property
    def exit_code(self) -> int:
        """1 if a constant, a layer or a stage is to blame, 3 if no backend showed its values."""
        if self.constants or self.stage is not None or any(b.first for b in self.backends):
            return 1
        return 0 if any(b.layers for b in self.backends) else 3

    def to_json(self) -> dict[str, Any]:
        stages = [
            {**asdict(stage), "error": _number(stage.error), "parted": stage.parted}
            for stage in self.stages
        ]
        return {
            "bundle": str(self.subject.bundle.directory),
            "case": self.case,
            "constants": [asdict(fault) for fault in self.constants],
            "stage": self.stage.name if self.stage else None,
            "stages": stages,
            "backends": [backend.to_json() for backend in self.backends],
        }


def _number(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if np.isfinite(value) else None


def blame(
    subject: Subject,
    chosen: Sequence[str] = (),
    *,
    say: Say = silent,
) -> Blame:
    """Compare a bundle layer by layer on its worst case, and first of all its constants.

    Raises BadBundle where the model behind the bundle is not known, UnknownName for a backend
    that does not show its layers.
    """
    program, names = _program(subject), _watched(subject, chosen)
    say(subject.name, "looking for the worst case")
    case = worst_case(subject)
    inputs = subject.inputs[case]
    found: list[BackendBlame] = []
    with scratch.temporary() as work:
        say(subject.name, "passes")
        passes = recipes.of_manifest(subject.bundle.manifest.recipe).load()
        steps, converted = stages.of_passes(program, passes, inputs)
        numbers = constants.compare(subject.artifact, converted)
        say(subject.name, "exporting")
        by_onnx = formats.find(subject.artifact.format).source == "onnx"
        guide = Guide(export(converted, work / "converted", onnx=by_onnx), inputs)
        before = _before(program, passes, work / "before", inputs)
        if by_onnx:
            steps += stages.of_export(guide, converted)
        for name in names:
            say(subject.name, name)
            found.append(layers_of(subject, name, guide, before))
        steps += stages.of_backends(subject, converted, [b.backend for b in found], inputs)
    say(subject.name, "")
    return Blame(subject, case, tuple(steps), tuple(found), numbers.report.faults)


def worst_case(subject: Subject) -> str:
    """The case in which the file is farthest from its rounded program; the first where it fails."""
    names = [*subject.inputs]
    if len(names) == 1 or subject.reference.faithful is None or subject.reference.state:
        return subject.reference.case_of_state()
    try:
        runner = formats.open_in_float32(subject.artifact)
    except MlshipError:
        return names[0]
    try:
        rows = compare.check(runner, subject.reference.of("faithful"), again=False)
    finally:
        runner.close()
    return max(rows, key=_distance).case


def _distance(row: ParityRow) -> float:
    """An error in tolerances; infinite where there is no number."""
    if row.verdict == "skipped":
        return 0.0
    share = np.inf if row.error is None else row.error / (row.tolerance or 1.0)
    return float(np.inf if np.isnan(share) else share)


def _program(subject: Subject) -> Program:
    if subject.program is None:
        raise BadBundle(
            "the layers of this bundle are not known",
            where=str(subject.bundle.directory),
            do="name its model with --model path/to/file.py:spec, its weights with --weights FILE",
        )
    return subject.program


def _watched(subject: Subject, chosen: Sequence[str]) -> list[str]:
    for name in chosen:
        if name not in WATCHES:
            raise UnknownName.among("backend that shows its layers", name, WATCHES)
    every = [b.name for b in backends.of_format(subject.artifact.format) if b.name in WATCHES]
    return [name for name in every if not chosen or name in chosen]


def _before(
    program: Program, passes: Sequence[Pass], folder: Path, inputs: Tensors
) -> Guide | None:
    """The program before the first pass that rounds its numbers; None where none does."""
    first: list[Pass] = []
    for step in passes:
        if not step.exact and not step.prunes:
            return Guide(export(pipeline.run(program, first), folder, onnx=False), inputs)
        first.append(step)
    return None


def layers_of(subject: Subject, name: str, guide: Guide, before: Guide | None) -> BackendBlame:
    backend = backends.find(name)
    try:
        backend.look()
        seen = list(resolve(WATCHES[name])(subject.artifact, guide))
    except MlshipError as error:
        if isinstance(error, BackendUnavailable):
            return BackendBlame(name, (), error.what)
        raise
    if not seen:
        return BackendBlame(name, (), "none of its values has a name that we gave")
    half = backend.as_declared and subject.artifact.precision == "float16"
    kind = "float16" if half else "float32"
    return BackendBlame(name, tuple(added_errors(guide, seen, kind, before)))


def added_errors(
    guide: Guide, seen: Iterable[Observed], kind: str, before: Guide | None = None
) -> list[LayerError]:
    """The error that each observed value adds; `before` is what it is ranked against, if given."""
    observed = {one.value: one for one in seen}
    if before is None or not _same_layers(before.traced, guide.traced):
        before = guide
    computed = _replayed(guide, observed)
    ranked = computed if before is guide else _replayed(before, observed)
    groups = _fused(guide.traced, observed)
    found = []
    for layer in guide.traced.layers:
        if layer.value not in observed:
            continue
        one = observed[layer.value]
        own = computed[layer.value]
        note = _note(one.array, own, guide, groups[layer.value], kind)
        off = bool(note) or _is_off(one.array, own, kind)
        added = _share(one.array, ranked[layer.value].made)
        total = _share(one.array, before.truth[layer.value])
        found.append(LayerError(one.stored_as, groups[layer.value], added, total, off, note))
    return found


@dataclass(frozen=True)
class _Own:
    """What PyTorch makes of a backend's values, and the largest number that it read."""

    made: np.ndarray
    read: float


def _replayed(guide: Guide, observed: Mapping[str, Observed]) -> dict[str, _Own]:
    """PyTorch's layers, each given what the backend computed before it."""
    import torch

    inputs = {layer.value: layer.inputs for layer in guide.traced.layers}
    largest: dict[str, float] = {}
    made: dict[str, _Own] = {}

    def seen(name: str, value: Tensor) -> Tensor:
        numbers = value.numpy()
        if name in observed:
            read = max((largest.get(i, 0.0) for i in inputs[name]), default=0.0)
            made[name] = _Own(numbers.copy(), read)
            theirs = observed[name].array
            if theirs.shape == numbers.shape:
                value = torch.from_numpy(theirs.copy())
        if value.is_floating_point() and value.numel():
            largest[name] = float(value.abs().max())
        return value

    guide.traced.run(guide.given, seen)
    return made


def _same_layers(a: Traced, b: Traced) -> bool:
    return [x.value for x in a.layers] == [x.value for x in b.layers]


def _is_off(theirs: np.ndarray, own: _Own, kind: str) -> bool:
    largest = _largest(own.made)
    read = own.read if np.isfinite(own.read) else 0.0
    return _error(theirs, own.made) > LIMITS[kind] * largest + HANDED[kind] * read


def _share(theirs: np.ndarray, ours: np.ndarray) -> float:
    """The largest difference as a share of the largest value."""
    if theirs.shape != ours.shape:
        return float("inf")
    error, largest = _error(theirs, ours), _largest(ours)
    if largest == 0:
        return 0.0 if error == 0 else float("inf")
    return error / largest


def _error(theirs: np.ndarray, ours: np.ndarray) -> float:
    """The largest difference; infinite where only theirs is not finite, else 0 where ours is."""
    difference = np.abs(theirs.astype(np.float64) - ours)
    difference[~np.isfinite(theirs)] = np.inf
    difference[~np.isfinite(ours)] = 0.0
    return float(difference.max(initial=0.0))


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def _note(
    theirs: np.ndarray, own: _Own, guide: Guide, layers: Sequence[GraphLayer], kind: str
) -> str:
    """What can be said of a value that is off at first sight; '' if nothing."""
    if theirs.shape != own.made.shape:
        return f"has shape {theirs.shape}, not {own.made.shape}"
    if not _is_off(theirs, own, kind):
        return ""
    if not np.isfinite(theirs).all():
        return f"{int((~np.isfinite(theirs)).sum())} values are NaN or infinite"
    inner = [layer for layer in layers if layer.value != layers[-1].value]
    for layer in inner:
        if guide.truth[layer.value].shape == theirs.shape and not _is_off(
            theirs, _Own(guide.truth[layer.value], own.read), kind
        ):
            return f"holds what {layer.label} gives: what follows it is missing"
    return ""


def _fused(traced: Traced, observed: Mapping[str, Observed]) -> dict[str, tuple[GraphLayer, ...]]:
    """For each observed value its own layer and those before it that were not observed."""
    layers = {layer.value: layer for layer in traced.layers}
    order = {value: index for index, value in enumerate(layers)}
    found = {}
    for value in observed:
        group, waiting = {value}, list(layers[value].inputs)
        while waiting:
            name = waiting.pop()
            if name in layers and name not in observed and name not in group:
                group.add(name)
                waiting += layers[name].inputs
        members = [layers[name] for name in sorted(group, key=order.__getitem__)]
        found[value] = tuple(members)
    return found
