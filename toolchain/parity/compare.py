"""Is the file that ships the model that was trained? Each backend, case and output, judged."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from converters.api import RoundsNumbers, Runner, Tensors
from model_defs.errors import BackendUnavailable, MlshipError
from model_defs.spec import SHARE_OF_WIDTH, TensorSpec
from toolchain.bundle.parity_report import ParityRow, Question, Verdict
from toolchain.parity.metrics import shortfall
from toolchain.parity.reference import Reference
from toolchain.parity.steps import LaterStep, Past

ULPS = 32 * 2.0**-23
"""What float32 may differ by whatever a net does, as a share of an output's largest number."""
KERNELS = 32.0
"""How many times what rounding to float32 moves PyTorch's own answer a runtime may be off by: its
kernels sum in another order, and take polynomials for exp. Up to 8 were seen."""
HALVES = 4.0
"""The same of numbers that a file rounds to float16 again: by how much is known."""
COARSE = 1e-4
"""A net's own rounding from which on it is said, as a share of an output's largest number."""
LABELS = 1e-4
"""The share of labels that rounding moves anywhere."""

Seen = Callable[[ParityRow, Tensors, Tensors, Tensors], ParityRow]
"""Given a row, the inputs, PyTorch's outputs and the backend's, adds to the row."""


def check(
    runner: Runner,
    references: Sequence[Reference],
    *,
    seen: Seen = lambda row, inputs, want, got: row,
    again: bool = True,
) -> tuple[ParityRow, ...]:
    """Run every case and compare every output with each reference; a backend's errors are rows.

    Each case runs once for all references that have it; rows say which question they answer.
    `seen` is shown every comparison that was made, and may add metrics and hints. Where an output
    is off by too much, it is asked how far rounding moves PyTorch's own (`_beside_noise`,
    `_beside_rounding`). With a reference's `state`, each step of a sequence is fed with what the
    backend itself put out at the last; `again` lets it run once more where that fails, to say why.
    """
    rows: list[ParityRow] = []
    for group in _alike(references):
        rows += _check(runner, group, seen, again)
    return tuple(rows)


def _alike(references: Sequence[Reference]) -> list[list[Reference]]:
    """The references that are of the very same cases, and fed alike, together."""
    groups: dict[tuple[int, bool], list[Reference]] = {}
    for one in references:
        groups.setdefault((id(one.cases), bool(one.state)), []).append(one)
    return list(groups.values())


def _check(
    runner: Runner, references: Sequence[Reference], seen: Seen, again: bool
) -> list[ParityRow]:
    rows: list[ParityRow] = []
    first = references[0]
    past, told = Past(first.state), set[str]()
    failed: list[dict[str, OwnRounding]] = [{} for _ in references]

    def all_are(case: str, verdict: Verdict, note: str) -> None:
        past.keep(case, None)
        for one in references:
            asked = one.question
            rows.extend(
                _row(runner.backend, case, t, verdict, note=note, question=asked)
                for t in one.outputs
            )

    for case, right in first.cases.items():
        inputs = past.fed(case, right)
        if inputs is None:
            note = "the step before did not run, so that there is no state to go on from"
            all_are(case, "skipped", note)
            continue
        try:
            got: Tensors = runner.run(inputs)
        except MlshipError as error:
            verdict: Verdict = "skipped" if isinstance(error, BackendUnavailable) else "failed"
            note = f"{error.what} ({error.where})" if error.where else error.what
            all_are(case, verdict, note)
            continue
        past.keep(case, got)
        of_file = functools.cache(functools.partial(_moved, runner, inputs))
        for one, known in zip(references, failed, strict=True):
            for spec in one.outputs:
                row = judged(runner.backend, case, spec, one, got, of_file, known)
                later = again and inputs is not right and row.verdict == "failed"
                if later and spec.name not in told:
                    told.add(spec.name)
                    step = LaterStep(case, one.state, runner.run, inputs, right, got)
                    passes = functools.partial(_passes, spec, one.expected[case])
                    row = replace(row, hint=step.why(passes))
                rows.append(seen(row, inputs, one.expected[case], got))
        names = {spec.name for spec in first.outputs}
        rows += [
            ParityRow(runner.backend, case, name, "failed", None, None, note="not in the model")
            for name in sorted(got.keys() - names)
        ]
    return rows


def _moved(runner: Runner, inputs: Tensors) -> Mapping[str, np.ndarray]:
    """What a file's own rounding of the program's code moves; nothing where it holds all."""
    return runner.moved(inputs) if isinstance(runner, RoundsNumbers) else {}


def judged(
    backend: str,
    case: str,
    spec: TensorSpec,
    reference: Reference,
    got: Tensors,
    of_file: Callable[[], Mapping[str, np.ndarray]] = dict,
    failed: dict[str, OwnRounding] | None = None,
) -> ParityRow:
    """The row of one output of a case, held to a reference.

    `of_file` is asked, where rounding has to explain it, what the file's own has moved. `failed`
    holds, by output, the rounding of a case that it did not explain: the output has failed, and
    its further cases are held to that rounding, for each of their own takes several runs.
    """
    expected, question = reference.expected[case], reference.question
    want = expected[spec.name]

    @functools.cache
    def moved() -> np.ndarray | float:
        return reference.roundings(case).get(spec.name, 0.0)

    tolerance = tolerance_of(spec, want, question)
    if question != "accurate" and spec.is_float:
        tolerance = max(tolerance, ULPS * reference.largest[spec.name])
    row = replace(compare(backend, case, spec, want, got, tolerance), question=question)
    if question == "accurate" and spec.measured is not None and row.error is not None:
        return by_measure(row, spec, reference.cases[case], want, got)
    if row.verdict != "failed" or row.error is None:
        return row
    if not spec.is_float:
        share = 0.0
        if question != "accurate" and reference.on_grids:
            from toolchain.quantization.tolerance import TWICE

            share = TWICE * float(np.mean(moved()))
        if share > tolerance:
            row = replace(compare(backend, case, spec, want, got, share), question=question)
        return _beside_choices(row, want, got, np.asarray(moved()))
    if question == "accurate":
        return _beside_noise(row, spec, got, moved)
    own = (failed or {}).get(spec.name) or _rounding_of(row, reference, of_file)
    found = _beside_rounding(row, spec, want, got, own)
    if found.verdict == "failed" and failed is not None:
        failed[spec.name] = own
    return found


def by_measure(
    row: ParityRow, spec: TensorSpec, inputs: Tensors, want: np.ndarray, got: Tensors
) -> ParityRow:
    """The row judged by the task's own measure, beside its tolerance where it has one."""
    error, allowed, words = shortfall(spec, inputs, want, got[spec.name])
    if spec.tolerance is not None and error <= allowed:
        share = (row.error or 0.0) / spec.tolerance
        if row.verdict == "failed" or share > error / allowed:
            return row  # the tolerance is nearer, or missed
    row = replace(row, error=error, tolerance=allowed)
    if not error <= allowed:
        return replace(row, verdict="failed", note=words)
    return row if row.verdict == "skipped" else replace(row, verdict="passed", note=words)


def _rounding_of(
    row: ParityRow, reference: Reference, of_file: Callable[[], Mapping[str, np.ndarray]]
) -> OwnRounding:
    """What rounding explains of a row: as little as does, for each next thing takes time."""
    case, found = row.case, OwnRounding(0.0, 0.0)
    for times, ask in (
        (KERNELS, lambda: reference.roundings(case)),
        (HALVES, lambda: reference.roundings(case, as_stored=True) if reference.lost else {}),
        (HALVES, of_file),
    ):
        own = float(np.nan_to_num(np.max(ask().get(row.output, 0.0))))
        found = max(found, OwnRounding(times * own, own))
        if (row.error or 0.0) <= found.allowed:
            break
    return found


class OwnRounding(NamedTuple):
    """What an output may be off by, and what rounding was seen to move it by."""

    allowed: float
    own: float


def compare(
    backend: str, case: str, spec: TensorSpec, want: np.ndarray, outputs: Tensors, tolerance: float
) -> ParityRow:
    """Judge the output of this spec's name against PyTorch's.

    Missing, mis-shaped, NaN, infinite and constant come first, each with its own message.
    Integers and booleans are labels: their error is the share of them that differ, and each label
    has to be where PyTorch's is (`_lost`).
    """
    fault = _fault(spec, want, outputs)
    if fault:
        return _row(backend, case, spec, "failed", tolerance=tolerance, note=fault)
    got = outputs[spec.name]
    if not spec.is_float:
        return _compare_labels(backend, case, spec, want, got, tolerance)
    difference = np.abs(got.astype(np.float64) - want)
    at = tuple(int(i) for i in np.unravel_index(np.argmax(difference), difference.shape))
    error = float(difference[at])
    where = f"at {list(at)}: expected {want[at]:.6g}, got {got[at]:.6g}"
    verdict, note = _judge(error, tolerance, want, got)
    return _row(backend, case, spec, verdict, error, tolerance, where, note)


def _passes(spec: TensorSpec, want: Tensors, outputs: Tensors) -> bool:
    tolerance = tolerance_of(spec, want[spec.name], "accurate")
    return compare("", "", spec, want[spec.name], outputs, tolerance).verdict == "passed"


FEW = 10
"""Labels on fewer places may get lost on the edges of others."""
OVERLAP = 0.5
"""What a label's places and PyTorch's have in common at least, as intersection over union."""


def _compare_labels(
    backend: str, case: str, spec: TensorSpec, want: np.ndarray, got: np.ndarray, tolerance: float
) -> ParityRow:
    want, got = want.astype(np.int64), got.astype(np.int64)
    differ = want != got
    error = float(differ.mean())
    at = tuple(int(i) for i in np.unravel_index(np.argmax(differ), differ.shape))
    where = f"first at {list(at)}: expected {want[at]}, got {got[at]}" if error else ""
    lost = _lost(want, got)
    if error > tolerance or lost:
        count = f"{int(differ.sum())} of {differ.size} differ ({error:.3g}; {tolerance:.3g} may)"
        note = "; ".join(filter(None, (count, lost, _constancy(want, got))))
        return _row(backend, case, spec, "failed", error, tolerance, where, note)
    verdict, note = _judge(error, tolerance, want, got)
    return _row(backend, case, spec, verdict, error, tolerance, where, note)


def _lost(want: np.ndarray, got: np.ndarray) -> str:
    """The label that is elsewhere, or nowhere, where the share of all that differs is small.

    Of two labels that nearly tie, rounding picks either, on the edges of what they cover; no
    rounding moves a label off most of the places that it covers.
    """
    labels, counts = np.unique(np.concatenate([want.ravel(), got.ravel()]), return_counts=True)
    for label in labels[counts >= FEW]:
        ours, theirs = want == label, got == label
        if max(ours.sum(), theirs.sum()) < FEW:
            continue
        overlap = float((ours & theirs).sum() / (ours | theirs).sum())
        if overlap < OVERLAP:
            return (
                f"label {label} is on {ours.sum()} places in PyTorch, {overlap:.2g} of them shared"
            )
    return ""


def _judge(
    error: float, tolerance: float, want: np.ndarray, got: np.ndarray
) -> tuple[Verdict, str]:
    if error > tolerance:
        times = f"{error / tolerance:.3g} times the tolerance {tolerance:.3g}"
        enough = f"{passing(error):.3g} would have passed"
        return "failed", f"off by {error:.3g} ({times}; {enough}); {_constancy(want, got)}".rstrip(
            "; "
        )
    if _constant(want):
        return "skipped", "constant in PyTorch, too: this case proves nothing"
    constancy = _constancy(want, got)
    return ("failed", constancy) if constancy else ("passed", "")


def _is_off(row: ParityRow, got: np.ndarray) -> bool:
    """Whether a row failed of its numbers alone; a constant is no rounding."""
    known = row.error is not None and row.tolerance is not None
    return known and row.error > row.tolerance and not _constant(got)  # type: ignore[operator]


def _beside_noise(
    row: ParityRow, spec: TensorSpec, got: Tensors, moved: Callable[[], np.ndarray | float]
) -> ParityRow:
    """A failed row again, where rounding moves PyTorch's own answer as far as the file is from it.

    A norm of a flat picture divides rounding by rounding: such a case proves nothing.
    """
    from converters.doubles import NOISE

    if not _is_off(row, got[spec.name]):
        return row
    own, error = float(np.max(moved())), row.error or 0.0
    if not error <= NOISE * own < math.inf:
        return row
    note = f"rounding to float32 moves PyTorch's own answer by {own:.3g}"
    return replace(row, verdict="skipped", note=f"{note}: this case proves nothing")


def _beside_rounding(
    row: ParityRow, spec: TensorSpec, want: np.ndarray, got: Tensors, rounding: OwnRounding
) -> ParityRow:
    """A failed row again, held to what rounding moves the program's own answer by.

    Where that is much, it is said; where it is more than the product may be off by, the case
    proves nothing.
    """
    tolerance, own = rounding
    if not (row.tolerance or 0.0) < tolerance < math.inf:
        return row
    again = compare(row.backend, row.case, spec, want, got, tolerance)
    said = f"this net's own rounding is {own:.2g}: smaller errors cannot be seen"
    coarse = own > COARSE * float(np.abs(want).max())
    if again.verdict == "passed" and own > _visible(spec, want):
        again = replace(again, verdict="skipped", note=f"{said}, so that this case proves nothing")
    elif again.verdict == "passed" and coarse:
        again = replace(again, note=said)
    return replace(again, question=row.question)


def _visible(spec: TensorSpec, want: np.ndarray) -> float:
    """What the product may be off by; a share of its width where a measure alone judges it."""
    known = spec.noticeable
    return SHARE_OF_WIDTH * float(np.ptp(want)) if known is None else known


def _beside_choices(row: ParityRow, want: np.ndarray, got: Tensors, moved: np.ndarray) -> ParityRow:
    """A failed row of integers or booleans again, where PyTorch's own are others after rounding.

    Which of two equal scores is the first of `topk` is anybody's choice. One number that is off
    where none of PyTorch's moves is a fault.
    """
    if row.verdict != "failed":
        return row
    differ = got[row.output].astype(np.int64) != want.astype(np.int64)
    if (differ > moved).any():
        return row
    note = (
        "rounding, or a choice among equals, changes PyTorch's own answer wherever this is off "
        f"({int(differ.sum())} of {differ.size}): this case proves nothing"
    )
    return replace(row, verdict="skipped", note=note)


def passing(error: float) -> float:
    """The least tolerance of two digits that an error keeps."""
    if error == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(error)) - 1)
    return math.ceil(error / unit) * unit


def _constancy(want: np.ndarray, got: np.ndarray) -> str:
    flat = np.issubdtype(want.dtype, np.floating) and float(np.ptp(want)) <= _rounding(want)
    if _constant(got) and not _constant(want) and not flat:
        return f"the output is constant ({got.flat[0]:.6g}), PyTorch's is not"
    return ""


def _constant(values: np.ndarray) -> bool:
    return bool(np.ptp(values) == 0)


def _fault(spec: TensorSpec, want: np.ndarray, outputs: Tensors) -> str:
    """What makes the output incomparable, or ''."""
    if spec.is_float and not np.isfinite(want).all():
        return "PyTorch's own output is not finite"
    if spec.name not in outputs:
        return f"the output is missing; there are: {', '.join(sorted(outputs)) or 'none'}"
    got = outputs[spec.name]
    if got.size == 0:
        return "the output is empty"
    if got.shape != want.shape:
        return f"the output has shape {got.shape}, not {want.shape}"
    if not spec.is_float:
        whole = got.dtype.kind in "iub" and (spec.dtype != "bool" or np.isin(got, (0, 1)).all())
        return "" if whole else f"the output is {got.dtype}, and holds what no {spec.dtype} does"
    if not np.issubdtype(got.dtype, np.floating):
        return f"the output is {got.dtype}, not a float type"
    bad = ~np.isfinite(got)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        return f"{int(bad.sum())} of {got.size} values are NaN or infinite, first at {list(first)}"
    return ""


def tolerance_of(spec: TensorSpec, want: np.ndarray, question: Question) -> float:
    """What an output may be off by: as the product says, or else by rounding alone.

    The latter is a few steps of float32 at the output's largest number; `_beside_rounding` says
    what it is where a net itself rounds by more. Of labels, it is a share.
    """
    if question == "accurate":
        measured = spec.tolerance is None and spec.limit is not None
        return math.inf if measured else float(spec.tolerance or 0.0)
    return _rounding(want) if spec.is_float else LABELS


def _rounding(want: np.ndarray) -> float:
    return ULPS * float(np.abs(want).max())


def _row(
    backend: str,
    case: str,
    spec: TensorSpec,
    verdict: Verdict,
    error: float | None = None,
    tolerance: float | None = None,
    where: str = "",
    note: str = "",
    question: Question = "accurate",
) -> ParityRow:
    how = (error, tolerance, where, note)
    return ParityRow(backend, case, spec.name, verdict, *how, question=question)
