"""A bundle's golden vectors beside its own proof: what it was off by then, it is off by today."""

from __future__ import annotations

from dataclasses import replace

from toolchain.bundle.parity_report import ParityReport, ParityRow

TIMES, PART = 2.0, 0.1
"""A machine may be off by so many times what another was, and by this part of the tolerance."""


def as_proved(found: ParityReport, proof: ParityReport) -> ParityReport:
    """The report with what passed and is much farther off than when the bundle was built failed.

    The tolerance is of the product: it hides a file or an answer that somebody changed by less. A
    backend that did not run then is held to those that did.
    """
    then: dict[tuple[str, ...], float] = {}
    for row in proof.rows:
        if row.error is not None:
            then[_of(row)] = max(row.error, then.get(_of(row), 0.0))
    return replace(found, rows=tuple(_held(row, then.get(_of(row))) for row in found.rows))


def _of(row: ParityRow) -> tuple[str, ...]:
    return row.case, row.output, row.question


def _held(row: ParityRow, then: float | None) -> ParityRow:
    judged = row.verdict == "passed" and row.question == "accurate"
    if not judged or then is None or row.error is None or row.tolerance is None:
        return row
    if row.error <= TIMES * then + PART * row.tolerance:
        return row
    note = f"off by {row.error:.2g}, and by {then:.2g} when it was proved"
    hint = "the file or the golden vectors were changed since"
    return replace(row, verdict="failed", note=note, hint=hint)
