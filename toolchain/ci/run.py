"""The whole of `mlship ci`: build, prove, weigh, time, and hold against budgets and a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.measure import machine
from benchmarks.measure.budgets import Budget
from benchmarks.measure.timing.session import Mode
from converters import backends, formats
from converters.progress import Say, silent
from model_defs.errors import BadConfig, MlshipError
from toolchain.build.on_demand import Wanted, find
from toolchain.build.request import Built
from toolchain.ci import checks as judged
from toolchain.ci import latency, locked, snapshots
from toolchain.ci.blaming import layer_to_blame
from toolchain.ci.checks import Check
from toolchain.ci.config import Project, ProjectModel
from toolchain.ci.differences import Difference, difference
from toolchain.ci.latency import Latency
from toolchain.ci.measure import measured
from toolchain.ci.snapshots import Snapshot
from toolchain.ci.state import BundleFigures, Measurements
from toolchain.parity import harness
from toolchain.parity.harness import BackendChoice, Outcome
from toolchain.parity.subject import Subject


@dataclass(frozen=True)
class CiResult:
    """What came of one bundle that was built."""

    outcome: Outcome
    difference: Difference
    latency: Latency


@dataclass(frozen=True)
class CiRun:
    """All that came of a project. `baseline` is None where there was none."""

    state: Measurements
    baseline: Measurements | None
    checks: tuple[Check, ...]
    results: Mapping[str, CiResult] = field(default_factory=dict)
    snapshots: tuple[Snapshot, ...] = ()

    @property
    def exit_code(self) -> int:
        return judged.exit_code(self.checks)

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.exit_code == 0,
            "checks": [check.to_json() for check in self.checks],
            "differences": [r.difference.to_json() for r in self.results.values()],
            "state": self.state.to_json(),
        }


@dataclass(frozen=True)
class _Context:
    """What is the same for all models of a run."""

    project: Project
    baseline: Measurements | None
    machine: latency.MachinePair
    mode: Mode
    again: bool
    fresh: bool
    say: Say

    def before(self, bundle: str) -> BundleFigures | None:
        return self.baseline.bundles.get(bundle) if self.baseline else None

    def budgets(self, subject: Subject) -> tuple[Budget, ...]:
        return self.project.budgets[subject.bundle.name, subject.bundle.target]


def run(
    project: Project,
    baseline: Measurements | None,
    mode: Mode,
    *,
    again: bool = False,
    fresh: bool = False,
    say: Say = silent,
) -> CiRun:
    """Check every bundle of a project. `again`: time also those that have not changed.

    `fresh`: build and prove all anew, whatever the cache has.
    """
    here = machine.this()
    then = baseline.fingerprint if baseline else ""
    context = _Context(
        project, baseline, latency.MachinePair(here.fingerprint, then), mode, again, fresh, say
    )
    checks: list[Check] = []
    results: dict[str, CiResult] = {}
    pictures: list[Snapshot] = []
    for model in project.models:
        for found in _of_model(model, context):
            if isinstance(found, Check):
                checks.append(found)
            elif isinstance(found, Snapshot):
                pictures.append(found)
            else:
                results[found.difference.after.bundle] = found
    shipped = {name: one.outcome.subject.bundle for name, one in results.items()}
    checks += [
        *snapshots.checks(pictures),
        *_missing(project, baseline, results, checks),
        *locked.checks(project, shipped),
    ]
    bundles = {name: result.latency.measured for name, result in results.items()}
    state = Measurements(here.fingerprint, str(here), bundles)
    return CiRun(state, baseline, tuple(checks), results, tuple(pictures))


def _missing(
    project: Project,
    baseline: Measurements | None,
    results: Mapping[str, CiResult],
    checks: Sequence[Check],
) -> Iterator[Check]:
    """Bundles that the baseline has and the project does not build any more."""
    known = {*results, *(check.bundle for check in checks)}
    for name in baseline.bundles if baseline else ():
        if name not in known:
            why = "the baseline has it, and it is not built any more: mlship ci --update-baseline"
            yield Check(name, "bundle", "bundle", "failed", cause="removed", why=why)


def _of_model(model: ProjectModel, context: _Context) -> Iterator[Check | CiResult | Snapshot]:
    wanted = Wanted(
        model.targets,
        model.recipe,
        context.project.cases,
        weights=model.weights,
        fresh=context.fresh,
    )
    subjects: list[Subject] = []
    try:
        for found in find((model.spec,), wanted, context.project.out, context.say):
            if isinstance(found, Built):
                yield from _unbuilt(found, model, wanted, context)
            else:
                _check_name(model, found, context.project)
                yield Check(found.name, "bundle", "bundle", "passed")
                subjects.append(found)
    except BadConfig:
        raise
    except MlshipError as error:
        for target in model.targets:
            yield judged.not_built(f"{model.name}-{target.name}", error)
        return
    if subjects:
        yield from snapshots.of_model(subjects[0], context.project.snapshots)
    yield from _judged(subjects, context)


def _check_name(model: ProjectModel, found: Subject, project: Project) -> None:
    if found.bundle.name != model.name:
        raise BadConfig(
            f"the model is called '{found.bundle.name}'",
            where=f"{project.folder}: [models.{model.name}]",
            do=f"write [models.{found.bundle.name}], with its spec",
        )


def _unbuilt(
    built: Built, model: ProjectModel, wanted: Wanted, context: _Context
) -> Iterator[Check]:
    """Why there is no bundle, and the layer to blame where one was made and rejected."""
    name = f"{built.model}-{built.target}"
    if built.error is not None:
        yield judged.not_built(name, built.error)
        return
    why = "; ".join(built.report.problems if built.report else ()) or "not equal to PyTorch"
    layer = ""
    if built.rejected is not None:
        again = replace(wanted, model=model.spec)
        (subject,) = find((str(built.rejected.directory),), again, context.project.out, context.say)
        assert isinstance(subject, Subject)
        layer = layer_to_blame(subject, context.say)
    why = f"not built: {why}"
    yield Check(name, "parity", "parity", "failed", cause="differs", why=why, layer=layer)


def _judged(subjects: Sequence[Subject], context: _Context) -> Iterator[Check | CiResult]:
    """Parity of all of a model's bundles, then their latencies side by side, then budgets."""
    choice = BackendChoice(_mains(context.project), context.project.require, keep=True)
    outcomes = [harness.judge(subject, choice, say=context.say) for subject in subjects]
    timed = [
        latency.TimedBundle(
            subject.bundle,
            measured(subject.bundle, outcome.report),
            context.before(subject.name),
            _limit(context.budgets(subject)),
        )
        for subject, outcome in zip(subjects, outcomes, strict=True)
    ]
    found = latency.time_all(
        timed, context.machine, context.mode, again=context.again, say=context.say
    )
    for subject, outcome, one in zip(subjects, outcomes, found, strict=True):
        changed = difference(one.before, one.measured)
        yield CiResult(outcome, changed, one)
        yield from _checks(subject, outcome, changed, one, context)


def _mains(project: Project) -> tuple[str, ...]:
    """Each format's main backend, and those that the project requires."""
    mains = [backends.of_format(kind)[0].name for kind in formats.FORMATS]
    return tuple(dict.fromkeys([*mains, *project.require]))


def _limit(budgets: Sequence[Budget]) -> float:
    limits = [budget.limit for budget in budgets if budget.key == "latency_ratio"]
    return limits[0] if limits else float("inf")


def _checks(
    subject: Subject, outcome: Outcome, changed: Difference, one: Latency, context: _Context
) -> list[Check]:
    budgets = context.budgets(subject)
    made = [*judged.of_parity(outcome), *judged.of_budgets(budgets, changed, one)]
    lost = [c for c in made if c.verdict in ("failed", "warned") and c.judges_accuracy]
    if not lost:
        return made
    layer = layer_to_blame(subject, context.say)
    return [replace(check, layer=layer) if check in lost else check for check in made]


def baseline_of(given: str | None, project: Project) -> Measurements | None:
    """The baseline: a file, a git revision whose baseline file is meant, or the project's own."""
    from toolchain.ci import state

    if given is None:
        return state.read(project.baseline) if project.baseline.is_file() else None
    if Path(given).is_file():
        return state.read(Path(given))
    return state.of_revision(given, project.baseline)
