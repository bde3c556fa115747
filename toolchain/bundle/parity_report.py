"""How a bundle was proved: each backend, case and output with its verdict."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["passed", "failed", "skipped"]


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


def case_at(case: str, size: str) -> str:
    """What a case is called at a further size; the inverse of `case_and_size`."""
    return f"{case} at {size}"


def case_and_size(name: str) -> tuple[str, str]:
    """A case, and the further size that it is at; "" is the default."""
    found = re.fullmatch(r"(.+) at (\d+x\d+)", name)
    return (found[1], found[2]) if found else (name, "")


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
        for size in dict.fromkeys(case_and_size(row.case)[1] for row in self.rows):
            of_size = [row for row in self.rows if case_and_size(row.case)[1] == size]
            found += self._absent(of_size, outputs, f" at {size}" if size else "")
        return tuple(found)

    def _absent(self, of_size: Sequence[ParityRow], outputs: Sequence[str], at: str) -> list[str]:
        """The same of one size: what one is proved of says nothing of another."""
        found: list[str] = []
        for backend in self.required:
            rows = [row for row in of_size if row.backend == backend]
            if not rows:
                found.append(f"{backend} did not run{at}")
            for output in outputs:
                verdicts = {row.verdict for row in rows if row.output == output}
                if rows and not verdicts:
                    found.append(f"{backend}: '{output}' was not compared{at}")
                elif verdicts == {"skipped"}:
                    found.append(f"{backend}: '{output}' was skipped in every case{at}")
        return found

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def failed_cases(self) -> list[str]:
        """The cases of which an output failed, each once."""
        return list(dict.fromkeys(row.case for row in self.rows if row.verdict == "failed"))

    @property
    def worst(self) -> ParityRow | None:
        """The row that is nearest to its tolerance, or farthest beyond; none that was skipped."""
        compared = (row for row in self.rows if row.verdict != "skipped")
        judged = [row for row in compared if row.error is not None and row.tolerance]
        return max(judged, key=_share, default=None)

    def to_json(self) -> dict[str, Any]:
        rows = [asdict(row) for row in self.rows]
        return {"ok": self.ok, "required": list(self.required), "rows": rows}


def _share(row: ParityRow) -> float:
    share = (row.error or 0.0) / (row.tolerance or 1.0)
    return share if math.isfinite(share) else float("inf")


def _sentence(row: ParityRow) -> str:
    where = f" {row.where}" if row.where else ""
    hint = f"; {row.hint}" if row.hint else ""
    return f"{row.backend}: '{row.output}' on case '{row.case}': {row.note}{where}{hint}"
