"""Is the file that ships the model that was trained? Each backend, case and output, judged."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from converters.api import Runner, Tensors
from model_defs.errors import BackendUnavailable, MlshipError
from model_defs.spec import TensorSpec
from toolchain.bundle.parity_report import ParityRow, Verdict
from toolchain.parity.steps import LaterStep, Past

EXACT = 1e-4
"""What float32 may differ by between two runtimes, as a share of the output's range."""
ROUNDING = 16 * 2.0**-23
"""... and as a share of its largest number: steps of float32, which a nearly flat output is off by
whatever its range."""


Roundings = Callable[[Tensors, Tensors], Mapping[str, np.ndarray]]
"""How far rounding moves each number of outputs on inputs; given PyTorch's answer, too."""

Seen = Callable[[ParityRow, Tensors, Tensors, Tensors], ParityRow]
"""Given a row, the inputs, PyTorch's outputs and the backend's, adds to the row."""


def check(
    runner: Runner,
    outputs: Sequence[TensorSpec],
    cases: Mapping[str, Tensors],
    expected: Mapping[str, Tensors],
    *,
    exact: bool,
    roundings: Roundings = lambda inputs, own: {},
    seen: Seen = lambda row, inputs, want, got: row,
    state: Mapping[str, str] | None = None,
    again: bool = True,
) -> tuple[ParityRow, ...]:
    """Run every case and compare every output; errors of the backend are failed rows.

    `exact` holds outputs to float32 rounding (`EXACT`) instead of to their tolerance. `seen`
    is shown every comparison that was made, and may add metrics and hints. Where an output is off
    by too much, `roundings` says whether PyTorch's own is (`_beside_noise`). With `state`, each
    step of a sequence is fed with what the backend itself put out at the last; `again` lets it run
    once more where that fails, to say why.
    """
    rows: list[ParityRow] = []
    past, told = Past(state or {}), set[str]()
    for case, right in cases.items():
        inputs = past.fed(case, right)
        if inputs is None:
            past.keep(case, None)
            note = "the step before did not run, so that there is no state to go on from"
            rows += [_row(runner.backend, case, t, "skipped", note=note) for t in outputs]
            continue
        try:
            got: Tensors = runner.run(inputs)
        except MlshipError as error:
            past.keep(case, None)
            verdict: Verdict = "skipped" if isinstance(error, BackendUnavailable) else "failed"
            note = f"{error.what} ({error.where})" if error.where else error.what
            rows += [_row(runner.backend, case, t, verdict, note=note) for t in outputs]
            continue
        past.keep(case, got)
        moved = functools.cache(functools.partial(roundings, right, expected[case]))
        for spec in outputs:
            want = expected[case]
            row = compare(runner.backend, case, spec, want[spec.name], got, exact=exact)
            if spec.is_float:
                row = _beside_noise(row, spec, got, moved)
            else:
                row = _beside_choices(row, want[spec.name], got, moved)
            if again and inputs is not right and row.verdict == "failed" and spec.name not in told:
                told.add(spec.name)
                step = LaterStep(case, state or {}, runner.run, inputs, right, got)
                passes = functools.partial(_passes, spec, want, exact=exact)
                row = replace(row, hint=step.why(passes))
            rows.append(seen(row, inputs, want, got))
        rows += [
            ParityRow(runner.backend, case, name, "failed", None, None, note="not in the model")
            for name in sorted(got.keys() - {spec.name for spec in outputs})
        ]
    return tuple(rows)


def compare(
    backend: str, case: str, spec: TensorSpec, want: np.ndarray, outputs: Tensors, *, exact: bool
) -> ParityRow:
    """Judge the output of this spec's name against PyTorch's.

    Missing, mis-shaped, NaN, infinite and constant come first, each with its own message.
    Integers and booleans are labels: their error is the share of them that differ, and each label
    has to be where PyTorch's is (`_lost`).
    """
    tolerance = tolerance_of(spec, want, exact=exact)
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


def _passes(spec: TensorSpec, want: Tensors, outputs: Tensors, *, exact: bool) -> bool:
    return compare("", "", spec, want[spec.name], outputs, exact=exact).verdict == "passed"


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


def _beside_noise(
    row: ParityRow,
    spec: TensorSpec,
    got: Tensors,
    moved: Callable[[], Tensors],
) -> ParityRow:
    """A failed row again, where rounding moves PyTorch's own answer as far as the file is from it.

    A norm of a flat picture divides rounding by rounding. What stays within the product's
    tolerance passes; beyond it, the case proves nothing. A constant is no rounding.
    """
    is_off = row.error is not None and row.tolerance is not None and row.error > row.tolerance
    if row.verdict != "failed" or not is_off or _constant(got[spec.name]):
        return row
    from converters.doubles import NOISE

    own = float(np.max(moved().get(spec.name, 0.0)))
    product, error = float(spec.tolerance or 0.0), row.error or 0.0
    if not error <= NOISE * own < math.inf:
        return row
    note = f"rounding to float32 moves PyTorch's own answer by {own:.3g}"
    if error > product:
        return replace(row, verdict="skipped", note=f"{note}: this case proves nothing")
    return replace(row, verdict="passed", tolerance=min(product, NOISE * own), note=note)


def _beside_choices(
    row: ParityRow, want: np.ndarray, got: Tensors, moved: Callable[[], Tensors]
) -> ParityRow:
    """A failed row of integers or booleans again, where PyTorch's own are others after rounding.

    Which of two equal scores is the first of `topk` is anybody's choice. One number that is off
    where none of PyTorch's moves is a fault.
    """
    if row.verdict != "failed" or row.error is None:
        return row
    differ = got[row.output].astype(np.int64) != want.astype(np.int64)
    if (differ > moved().get(row.output, np.zeros_like(differ))).any():
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


def tolerance_of(spec: TensorSpec, want: np.ndarray, *, exact: bool) -> float:
    """The product's tolerance, or float32 rounding over the output's range if that is less.

    Of an output that is flat but for rounding, it is the rounding of its largest number.

    Of labels, it is a share: float32 rounding moves one in ten thousand.
    """
    product = float(spec.tolerance or 0.0)
    if not exact:
        return product
    if not spec.is_float:
        return min(product, EXACT)
    bounded = spec.low is not None and spec.high is not None
    span = spec.high - spec.low if bounded else float(np.ptp(want))  # type: ignore[operator]
    return min(product, max(EXACT * span, _rounding(want))) if span > 0 else product


def _rounding(want: np.ndarray) -> float:
    return ROUNDING * float(np.abs(want).max())


def _row(
    backend: str,
    case: str,
    spec: TensorSpec,
    verdict: Verdict,
    error: float | None = None,
    tolerance: float | None = None,
    where: str = "",
    note: str = "",
) -> ParityRow:
    return ParityRow(backend, case, spec.name, verdict, error, tolerance, where, note)
