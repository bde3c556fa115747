"""What `mlship ci` checks of a bundle, and the verdict on each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.measure.budgets import LIMITS, Budget
from benchmarks.measure.significance import P
from benchmarks.measure.units import TIME, bytes_text
from model_defs.errors import MlshipError, worst_code
from toolchain.ci.differences import Difference, LayerChange, culprit
from toolchain.ci.latency import Latency
from toolchain.ci.verdicts import Cause, CheckKind, Verdict
from toolchain.parity.harness import Outcome
from toolchain.parity.lines import lines

GROWN = {"disk_growth": "disk", "wire_growth": "wire", "memory_growth": "memory"}
BY_BYTES = ("disk", "wire", "disk_growth", "wire_growth", "overhead", "duplicates")
BY_TIME = ("latency", "latency_ratio")
CAUSES: dict[str, Cause] = {"passed": "", "failed": "differs", "skipped": "not-run"}
"""By the verdict of parity."""
PARITY = {"accurate": "parity", "faithful": "faithfulness", "unrounded": "conversion"}
"""What the check of a question is called."""


@dataclass(frozen=True)
class Check:
    """One thing that was checked. `before`, `after` and `allowed` are shown as they are.

    `cause` is what is wrong, `why` says it in words, `layer` where: all empty for what passed.
    A budget's `name` is its key. `required`: that it was skipped is no success.
    """

    bundle: str
    name: str
    kind: CheckKind
    verdict: Verdict
    before: str = ""
    after: str = ""
    allowed: str = ""
    cause: Cause = ""
    why: str = ""
    layer: str = ""
    share: float | None = None
    required: bool = True

    @property
    def failed(self) -> bool:
        return self.verdict == "failed"

    @property
    def sentence(self) -> str:
        """Why it did not pass, and in which layer."""
        where = f"; {self.layer}" if self.layer else ""
        return f"{self.bundle}: {self.name}: {self.why}{where}"

    @property
    def limits_growth(self) -> bool:
        """Whether it is a budget that compares with the baseline."""
        return self.kind == "budget" and LIMITS[self.name].before

    @property
    def judges_accuracy(self) -> bool:
        """Whether it says how near a bundle is to PyTorch."""
        if self.kind == "budget":
            return self.name == "parity" or bool(LIMITS[self.name].metric)
        return self.kind == "parity"

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


def exit_code(checks: Sequence[Check]) -> int:
    """4 if a tool failed, 1 if a check did, 3 if nothing, or not all that must, was checked."""
    verdicts = {check.verdict for check in checks}
    codes = {4 if check.cause == "tool-failed" else 1 for check in checks if check.failed}
    unmade = any(check.verdict == "skipped" and check.required for check in checks)
    if unmade or not verdicts & {"passed", "warned"}:
        codes.add(3)
    return worst_code(codes)


def not_built(bundle: str, error: MlshipError) -> Check:
    """That a bundle could not be built, and whether a tool is to blame or the input."""
    where = f" ({error.where})" if error.where else ""
    cause: Cause = "tool-failed" if error.exit_code == 4 else "not-built"
    return Check(bundle, "bundle", "bundle", "failed", cause=cause, why=error.what + where)


def of_parity(outcome: Outcome) -> Iterator[Check]:
    """A check for each output on each backend that ran, and one for each that should have."""
    name = outcome.subject.name
    for line in lines(outcome.report.rows):
        row = line.worst
        known = row.error is not None and row.tolerance is not None
        yield Check(
            name,
            f"{PARITY[line.question]} of {line.output} on {line.backend}",
            "parity",
            "failed" if line.verdict == "failed" else "passed" if known else "skipped",
            after=f"{row.error:.1e}" if known else "",
            allowed=f"at most {row.tolerance:.1e}" if known else "",
            cause=CAUSES[line.verdict],
            why="" if line.verdict == "passed" else _why(row),
            share=(row.error or 0) / (row.tolerance or 1) if known else None,
            required=False,
        )
    for fault in outcome.report.constants.faults if outcome.report.constants else ():
        what, where = fault.sentence, f"layer {fault.layer}"
        yield Check(name, "constants", "parity", "failed", cause="differs", why=what, layer=where)
    for problem in outcome.report.absences:
        yield Check(name, "parity", "parity", "failed", cause="not-run", why=problem)


def _why(row: Any) -> str:
    where = f" {row.where}" if row.where else ""
    return f"case {row.case}: {row.note}{where}" + (f"; {row.hint}" if row.hint else "")


def of_budgets(budgets: Iterable[Budget], found: Difference, latency: Latency) -> list[Check]:
    """A check for each budget."""
    return [_check(budget, found, latency) for budget in budgets]


def _check(budget: Budget, found: Difference, latency: Latency) -> Check:
    if budget.key == "latency_ratio":
        return _ratio(budget, found, latency)
    key = GROWN.get(budget.key, budget.key)
    after = found.after.figures.get(key)
    before = found.before.figures.get(key) if found.before else None
    if after is None:
        why = latency.why if key in ("latency", "first_run", "memory") else _inapplicable(budget)
        return _skipped(budget, found, "not-measured", why)
    if budget.kind.before and not before:
        why = "there is no baseline of it: mlship ci --update-baseline"
        return _skipped(budget, found, "no-baseline", why)
    value = after / before - 1 if budget.kind.before and before else after
    keeps = budget.keeps(value)
    shown = _figure(key, budget)
    return Check(
        found.after.bundle,
        budget.key,
        "budget",
        "passed" if keeps else _bad(budget),
        "" if before is None else shown(before),
        shown(after),
        _allowed(budget),
        "" if keeps else "over-limit",
        "" if keeps else _excess(budget, value, shown, before, after),
        "" if keeps else _where(budget, found),
        _share(budget, value),
        budget.level == "error",
    )


def _figure(key: str, budget: Budget) -> Any:
    return LIMITS[key].unit.show if key in LIMITS else budget.show


def _inapplicable(budget: Budget) -> str:
    if budget.kind.metric:
        return f"no output has {budget.kind.metric}: set it for models that have"
    return "it was not measured"


def _allowed(budget: Budget) -> str:
    return f"{'at least' if budget.kind.least else 'at most'} {budget.show(budget.limit)}"


def _excess(budget: Budget, value: float, shown: Any, before: float | None, after: float) -> str:
    if budget.kind.before and before is not None:
        return (
            f"grew by {value:.1%}, from {shown(before)} to {shown(after)}; "
            f"{budget.show(budget.limit)} is allowed"
        )
    was = f" (it was {shown(before)})" if before is not None and before != after else ""
    return f"{budget.show(value)}{was}, and {_allowed(budget)} is allowed"


def _ratio(budget: Budget, found: Difference, latency: Latency) -> Check:
    if latency.ratio is None:
        return _skipped(budget, found, latency.cause, latency.why)
    after = found.after.figures["latency"]
    before = after / latency.ratio
    why = (
        f"{latency.ratio:.2f} times the baseline's, {budget.limit:.2f} is allowed "
        f"(p = {latency.p:.1g}, below {P}; {latency.why})"
    )
    return Check(
        found.after.bundle,
        budget.key,
        "budget",
        _bad(budget) if latency.worse else "passed",
        TIME.show(before),
        TIME.show(after),
        _allowed(budget),
        "over-limit" if latency.worse else "",
        why if latency.worse else "",
        _where(budget, found) if latency.worse else "",
        latency.ratio / budget.limit,
        budget.level == "error",
    )


def _bad(budget: Budget) -> Verdict:
    return "failed" if budget.level == "error" else "warned"


def _skipped(budget: Budget, found: Difference, cause: Cause, why: str) -> Check:
    return Check(
        found.after.bundle,
        budget.key,
        "budget",
        "skipped",
        allowed=_allowed(budget),
        cause=cause,
        why=why,
        required=budget.level == "error",
    )


def _share(budget: Budget, value: float) -> float | None:
    if not budget.limit:
        return None
    return budget.limit / value if budget.kind.least and value else value / budget.limit


def _where(budget: Budget, found: Difference) -> str:
    """The layer that explains it, as far as sizes and times do; of accuracy, blame knows."""
    if budget.key in BY_BYTES:
        return _layer(culprit(found.bytes), budget, largest(found, "bytes"))
    if budget.key in BY_TIME:
        return _layer(culprit(found.milliseconds), budget, largest(found, "ms"))
    return ""


def largest(found: Difference, what: str) -> str:
    """The largest layer, for a figure that has nothing to be compared with."""
    layers = found.after.layer_bytes if what == "bytes" else found.after.layer_ms
    if not layers:
        return ""
    name = max(layers, key=lambda n: layers[n])
    return f"the largest layer is {name}: {amount(layers[name], what)}"


def _layer(change: LayerChange | None, budget: Budget, otherwise: str) -> str:
    if change is None:
        return otherwise
    what = "bytes" if budget.key in BY_BYTES else "ms"
    before = "nothing" if change.before is None else amount(change.before, what)
    kind = change.name.strip("()")
    name = f"layer {kind}" if kind == change.name else f"the {kind}"
    return f"most of it is {name}: {before} to {amount(change.after or 0, what)}"


def amount(value: float, what: str) -> str:
    """Bytes or milliseconds of a layer."""
    return bytes_text(value) if what == "bytes" else f"{value:.3f} ms"
