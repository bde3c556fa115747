"""Is the file that ships the model that was trained? Each backend, case and output, judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from converters.api import Runner, Tensors
from model_defs.errors import BackendUnavailable, MlshipError
from model_defs.spec import TensorSpec

Verdict = Literal["passed", "failed", "skipped"]
EXACT = 1e-4
"""What float32 may differ by between two runtimes, as a share of the output's range."""


@dataclass(frozen=True)
class ParityRow:
    """One output of one case on one backend.

    `error` is the largest absolute one, in the output's unit, and `where` its index and values.
    `metrics` are what fits this kind of output (metrics.py), `hint` what a failure looks like
    (hints.py); neither decides the verdict.
    """

    backend: str
    case: str
    output: str
    verdict: Verdict
    error: float | None
    tolerance: float | None
    where: str = ""
    note: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    hint: str = ""


Seen = Callable[[ParityRow, Tensors, Tensors, Tensors], ParityRow]
"""Given a row, the inputs, PyTorch's outputs and the backend's, adds to the row."""


@dataclass(frozen=True)
class ParityReport:
    """All rows, and the backends that had to run."""

    rows: tuple[ParityRow, ...]
    required: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the report does not pass; nothing if it does.

        Each required backend must have passed on every output in at least one case, and
        nothing may have failed.
        """
        failed = tuple(_sentence(row) for row in self.rows if row.verdict == "failed")
        return failed + self.absences

    @property
    def absences(self) -> tuple[str, ...]:
        """Problems that are no comparison's: what should have been compared and was not."""
        outputs = sorted({row.output for row in self.rows})
        if not outputs:
            return ("nothing was compared",)
        found: list[str] = []
        for backend in self.required:
            rows = [row for row in self.rows if row.backend == backend]
            if not rows:
                found.append(f"{backend} did not run")
            for output in outputs:
                verdicts = {row.verdict for row in rows if row.output == output}
                if rows and not verdicts:
                    found.append(f"{backend}: '{output}' was not compared")
                elif verdicts == {"skipped"}:
                    found.append(f"{backend}: '{output}' was skipped in every case")
        return tuple(found)

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def failed_cases(self) -> list[str]:
        """The cases of which an output failed, each once."""
        return list(dict.fromkeys(row.case for row in self.rows if row.verdict == "failed"))

    @property
    def worst(self) -> ParityRow | None:
        """The row that is nearest to its tolerance, or farthest beyond."""
        judged = [row for row in self.rows if row.error is not None and row.tolerance]
        return max(judged, key=_share, default=None)

    def to_json(self) -> dict[str, Any]:
        rows = [asdict(row) for row in self.rows]
        return {"ok": self.ok, "required": list(self.required), "rows": rows}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ParityReport:
        return cls(tuple(ParityRow(**row) for row in data["rows"]), tuple(data["required"]))


def _share(row: ParityRow) -> float:
    share = (row.error or 0.0) / (row.tolerance or 1.0)
    return share if np.isfinite(share) else float("inf")


def _sentence(row: ParityRow) -> str:
    where = f" {row.where}" if row.where else ""
    hint = f"; {row.hint}" if row.hint else ""
    return f"{row.backend}: '{row.output}' on case '{row.case}': {row.note}{where}{hint}"


def check(
    runner: Runner,
    outputs: Sequence[TensorSpec],
    cases: Mapping[str, Tensors],
    expected: Mapping[str, Tensors],
    *,
    exact: bool,
    seen: Seen = lambda row, inputs, want, got: row,
) -> tuple[ParityRow, ...]:
    """Run every case and compare every output; errors of the backend are failed rows.

    `exact` holds outputs to float32 rounding (`EXACT`) instead of to their tolerance. `seen`
    is shown every comparison that was made, and may add metrics and hints.
    """
    rows: list[ParityRow] = []
    for case, inputs in cases.items():
        try:
            got: Tensors = runner.run(inputs)
        except MlshipError as error:
            verdict: Verdict = "skipped" if isinstance(error, BackendUnavailable) else "failed"
            note = f"{error.what} ({error.where})" if error.where else error.what
            rows += [_row(runner.backend, case, t, verdict, note=note) for t in outputs]
            continue
        for spec in outputs:
            want = expected[case]
            row = compare(runner.backend, case, spec, want[spec.name], got, exact=exact)
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
    """
    tolerance = tolerance_of(spec, want, exact=exact)
    fault = _fault(spec, want, outputs)
    if fault:
        return _row(backend, case, spec, "failed", tolerance=tolerance, note=fault)
    got = outputs[spec.name]
    difference = np.abs(got.astype(np.float64) - want)
    at = tuple(int(i) for i in np.unravel_index(np.argmax(difference), difference.shape))
    error = float(difference[at])
    where = f"at {list(at)}: expected {want[at]:.6g}, got {got[at]:.6g}"
    verdict, note = _judge(error, tolerance, want, got)
    return _row(backend, case, spec, verdict, error, tolerance, where, note)


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
    return ("failed", _constancy(want, got)) if _constant(got) else ("passed", "")


def passing(error: float) -> float:
    """The least tolerance of two digits that an error keeps."""
    if error == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(error)) - 1)
    return math.ceil(error / unit) * unit


def _constancy(want: np.ndarray, got: np.ndarray) -> str:
    if _constant(got) and not _constant(want):
        return f"the output is constant ({got.flat[0]:.6g}), PyTorch's is not"
    return ""


def _constant(values: np.ndarray) -> bool:
    return bool(np.ptp(values) == 0)


def _fault(spec: TensorSpec, want: np.ndarray, outputs: Tensors) -> str:
    """What makes the output incomparable, or ''."""
    if not np.isfinite(want).all():
        return "PyTorch's own output is not finite"
    if spec.name not in outputs:
        return f"the output is missing; there are: {', '.join(sorted(outputs)) or 'none'}"
    got = outputs[spec.name]
    if got.size == 0:
        return "the output is empty"
    if got.shape != want.shape:
        return f"the output has shape {got.shape}, not {want.shape}"
    if not np.issubdtype(got.dtype, np.floating):
        return f"the output is {got.dtype}, not a float type"
    bad = ~np.isfinite(got)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        return f"{int(bad.sum())} of {got.size} values are NaN or infinite, first at {list(first)}"
    return ""


def tolerance_of(spec: TensorSpec, want: np.ndarray, *, exact: bool) -> float:
    """The product's tolerance, or float32 rounding over the output's range if that is less."""
    product = float(spec.tolerance or 0.0)
    if not exact:
        return product
    bounded = spec.low is not None and spec.high is not None
    span = spec.high - spec.low if bounded else float(np.ptp(want))  # type: ignore[operator]
    return min(product, EXACT * span) if span > 0 else product


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
