"""What `mlship ci` checks of a bundle, and the verdict on each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.measure.budgets import TIME, Budget
from benchmarks.measure.significance import P
from toolchain.ci.differences import Difference, LayerChange, culprit
from toolchain.ci.latency import Latency
from toolchain.parity.harness import Outcome
from toolchain.parity.lines import lines

Verdict = Literal["passed", "warned", "failed", "skipped"]
GROWN = {"disk_growth": "disk", "wire_growth": "wire", "memory_growth": "memory"}
BY_BYTES = ("disk", "wire", "disk_growth", "wire_growth", "overhead", "duplicates")
BY_TIME = ("latency", "latency_ratio")


@dataclass(frozen=True)
class Check:
    """One thing that was checked. `before`, `after` and `allowed` are shown as they are.

    `why` says what is wrong, `layer` where: both empty for what passed. `required`: that it was
    skipped is no success.
    """

    bundle: str
    name: str
    verdict: Verdict
    before: str = ""
    after: str = ""
    allowed: str = ""
    why: str = ""
    layer: str = ""
    share: float | None = None
    required: bool = True

    @property
    def sentence(self) -> str:
        """Why it did not pass, and in which layer."""
        where = f"; {self.layer}" if self.layer else ""
        return f"{self.bundle}: {self.name}: {self.why}{where}"

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


def exit_code(checks: Sequence[Check]) -> int:
    """1 if one failed, 3 if nothing was checked or a required check could not be made."""
    verdicts = {check.verdict for check in checks}
    if "failed" in verdicts:
        return 1
    unmade = any(check.verdict == "skipped" and check.required for check in checks)
    return 3 if unmade or not verdicts & {"passed", "warned"} else 0


def of_parity(outcome: Outcome) -> Iterator[Check]:
    """A check for each output on each backend that ran, and one for each that should have."""
    name = outcome.subject.name
    for line in lines(outcome.report.rows):
        row = line.worst
        known = row.error is not None and row.tolerance is not None
        yield Check(
            name,
            f"parity of {line.output} on {line.backend}",
            "failed" if line.verdict == "failed" else "passed" if known else "skipped",
            after=f"{row.error:.1e}" if known else "",
            allowed=f"at most {row.tolerance:.1e}" if known else "",
            why="" if line.verdict == "passed" else _why(row),
            share=(row.error or 0) / (row.tolerance or 1) if known else None,
            required=False,
        )
    for problem in outcome.report.absences:
        yield Check(name, "parity", "failed", why=problem)


def _why(row: Any) -> str:
    where = f" {row.where}" if row.where else ""
    return f"case {row.case}: {row.note}{where}" + (f"; {row.hint}" if row.hint else "")


def of_budgets(
    budgets: Iterable[Budget], found: Difference, latency: Latency, accuracy_layer: str
) -> list[Check]:
    """A check for each budget; `accuracy_layer` is what to say of a loss of accuracy."""
    return [_check(budget, found, latency, accuracy_layer) for budget in budgets]


def _check(budget: Budget, found: Difference, latency: Latency, accuracy_layer: str) -> Check:
    if budget.key == "latency_ratio":
        return _ratio(budget, found, latency)
    key = GROWN.get(budget.key, budget.key)
    after = found.after.figures.get(key)
    before = found.before.figures.get(key) if found.before else None
    if after is None:
        why = latency.why if key in ("latency", "first_run", "memory") else _inapplicable(budget)
        return _skipped(budget, found, why)
    if budget.kind.before and not before:
        return _skipped(budget, found, "there is no baseline of it: mlship ci --update-baseline")
    value = after / before - 1 if budget.kind.before and before else after
    keeps = budget.keeps(value)
    shown = _figure(key, budget)
    return Check(
        found.after.bundle,
        budget.key,
        "passed" if keeps else _bad(budget),
        "" if before is None else shown(before),
        shown(after),
        _allowed(budget),
        "" if keeps else _excess(budget, value, shown, before, after),
        "" if keeps else _where(budget, found, accuracy_layer),
        _share(budget, value),
        budget.level == "error",
    )


def _figure(key: str, budget: Budget) -> Any:
    from benchmarks.measure.budgets import LIMITS

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
        return _skipped(budget, found, latency.why)
    after = found.after.figures["latency"]
    before = after / latency.ratio
    why = (
        f"{latency.ratio:.2f} times the baseline's, {budget.limit:.2f} is allowed "
        f"(p = {latency.p:.1g}, below {P}; {latency.why})"
    )
    return Check(
        found.after.bundle,
        budget.key,
        _bad(budget) if latency.worse else "passed",
        TIME.show(before),
        TIME.show(after),
        _allowed(budget),
        why if latency.worse else "",
        _where(budget, found, "") if latency.worse else "",
        latency.ratio / budget.limit,
        budget.level == "error",
    )


def _bad(budget: Budget) -> Verdict:
    return "failed" if budget.level == "error" else "warned"


def _skipped(budget: Budget, found: Difference, why: str) -> Check:
    return Check(
        found.after.bundle,
        budget.key,
        "skipped",
        allowed=_allowed(budget),
        why=why,
        required=budget.level == "error",
    )


def _share(budget: Budget, value: float) -> float | None:
    if not budget.limit:
        return None
    return budget.limit / value if budget.kind.least and value else value / budget.limit


def _where(budget: Budget, found: Difference, accuracy_layer: str) -> str:
    """The layer that explains it, as far as one does."""
    if budget.key in BY_BYTES:
        return _layer(culprit(found.bytes), budget, largest(found, "bytes"))
    if budget.key in BY_TIME:
        return _layer(culprit(found.milliseconds), budget, largest(found, "ms"))
    return accuracy_layer if budget.kind.metric or budget.key == "parity" else ""


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
    from benchmarks.measure.budgets import BYTES

    return BYTES.show(value) if what == "bytes" else f"{value:.3f} ms"
