"""`mlship parity`: every backend of every bundle, on every case, against PyTorch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from converters import backends
from converters.api import Runner, Tensors
from converters.format import Backend
from converters.progress import Say, silent
from model_defs.errors import BackendUnavailable, MlshipError
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.parity_report import (
    GOLDEN,
    ParityReport,
    ParityRow,
    Question,
    Verdict,
    case_at,
)
from toolchain.data.trunks import Cases
from toolchain.parity import compare, constants, hints, metrics
from toolchain.parity.constants import ComparedConstants
from toolchain.parity.hints import Evidence
from toolchain.parity.proved import as_proved
from toolchain.parity.reference import Reference, held_to_rounding
from toolchain.parity.subject import Subject, golden, of_golden

PATIENCE, LIMIT = 2.0, 30.0
"""Seconds that a backend, at its pace, may take for the cases of one bundle; a slow one's only
case may take up to the limit."""


@dataclass(frozen=True)
class Example:
    """The worst comparison of one output on one backend, to be looked at."""

    row: ParityRow
    inputs: Tensors
    want: np.ndarray
    got: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What came of one bundle: its report, its worst cases, and what each backend answered."""

    subject: Subject
    report: ParityReport
    examples: Mapping[tuple[str, str], Example] = field(default_factory=dict)
    answers: Mapping[str, Cases] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "bundle": str(self.subject.bundle.directory),
            "name": self.subject.name,
            "digest": self.subject.bundle.manifest.digest,
            "reference": self.subject.reference.name,
            **self.report.to_json(),
            "problems": list(self.report.problems),
            "seconds": {name: round(s, 3) for name, s in self.seconds.items()},
        }


@dataclass(frozen=True)
class BackendChoice:
    """Which backends run and which must pass; `everything` spares them no case.

    `keep` holds on to inputs and answers, for a record.
    """

    chosen: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    everything: bool = False
    keep: bool = False

    def __post_init__(self) -> None:
        for name in self.chosen + self.required:
            if name != "all":
                backends.find(name)

    def backends(self, kind: str) -> tuple[Backend, ...]:
        """Those of this format that were asked for; all where none was."""
        wanted = {*self.chosen, *self.required} if self.chosen else set()
        every = "all" in wanted or not wanted
        return tuple(b for b in backends.of_format(kind) if every or b.name in wanted)

    def must_pass(self, kind: str) -> tuple[str, ...]:
        """The required ones of a format: those named, else those chosen, else the main one."""
        every = [b.name for b in backends.of_format(kind)]
        named = self.required or self.chosen
        if "all" in named:
            return tuple(every)
        return tuple(n for n in every if n in named) if named else tuple(every[:1])


def judge(
    subject: Subject,
    choice: BackendChoice,
    recorded: Sequence[tuple[Runner, Cases, Cases]] = (),
    say: Say = silent,
) -> Outcome:
    """Run a subject's bundle on its backends, one after the other, each loaded once.

    `recorded` are results of another machine: a runner that repeats them, the inputs that they
    were recorded on, and PyTorch's outputs for these.
    """
    numbers = _constants(subject)  # of all sizes: a file stores them once
    outcome = _judge(subject, choice, recorded, numbers, say)
    for size, at in subject.further.items():
        outcome = _with(outcome, size, _judge(at, choice, (), numbers, say))
    return outcome


def judge_golden(bundle: Bundle, say: Say = silent) -> Outcome:
    """A bundle held to what it carries itself, on the first backend that computes in float32.

    Its golden vectors say whether the file still computes what it was built to compute, and is
    as far off as when it was proved.
    """
    subject, kind = of_golden(bundle), bundle.artifact.format
    here = [b for b in backends.of_format(kind) if b.system in ("", sys.platform)]
    precise = (b.name for b in here if b.in_float32(bundle.artifact.precision))
    outcome = judge(subject, BackendChoice((next(precise),)), say=say)
    return replace(outcome, report=as_proved(outcome.report, bundle.report))


def _judge(
    subject: Subject,
    choice: BackendChoice,
    recorded: Sequence[tuple[Runner, Cases, Cases]],
    numbers: ComparedConstants | None,
    say: Say,
) -> Outcome:
    """The same of one size, beside the numbers that the file has."""
    if numbers is not None:
        subject = replace(subject, reference=subject.reference.of_file(numbers.lost))
    log = _Log(subject, choice.keep)
    rows: list[ParityRow] = [*_check_golden(subject)]
    if any(row.verdict == "failed" for row in rows):
        return Outcome(_shown(subject, choice), ParityReport(tuple(rows), ()))
    for backend in choice.backends(subject.artifact.format):
        say(subject.name, backend.name)
        most = len(subject.inputs) if choice.everything else affordable(backend, subject.macs)
        if most == 1 and subject.reference.state:
            most = 2  # one step alone would say nothing of state
        rows += _run(subject, backend, most, log)
    for runner, inputs, expected in recorded:
        known = replace(subject.reference, cases=inputs, expected=expected, state={})
        rows += log.check(runner, (known,))
    required = choice.must_pass(subject.artifact.format)
    named = required + tuple(r.backend for r, _, _ in recorded)
    about = numbers.report if numbers is not None else None
    if numbers is not None and not numbers.report.faults:
        rows = _with_zeroed(rows, numbers.zeroed)
    report = ParityReport(tuple(rows), named, _questions(subject, choice), about)
    shown = _shown(subject, choice)
    return Outcome(shown, report, log.examples, log.answers, log.seconds)


def _with(whole: Outcome, size: str, other: Outcome) -> Outcome:
    """An outcome with that of a further size, whose cases say which it is."""
    rows = tuple(replace(row, case=case_at(row.case, size)) for row in other.report.rows)
    examples = dict(whole.examples)
    for key, found in other.examples.items():
        if key not in examples or _rank(found.row) > _rank(examples[key].row):
            examples[key] = replace(
                found, row=replace(found.row, case=case_at(found.row.case, size))
            )
    answers = {name: dict(cases) for name, cases in whole.answers.items()}
    for name, cases in other.answers.items():
        answers.setdefault(name, {}).update({case_at(c, size): one for c, one in cases.items()})
    seconds = {
        name: whole.seconds.get(name, 0.0) + other.seconds.get(name, 0.0)
        for name in {**whole.seconds, **other.seconds}
    }
    report = replace(whole.report, rows=whole.report.rows + rows)
    return Outcome(whole.subject, report, examples, answers, seconds)


def _shown(subject: Subject, choice: BackendChoice) -> Subject:
    """The subject without its arrays, unless they are to be recorded."""
    if choice.keep:
        return subject
    return replace(subject, reference=subject.reference.emptied, program=None, further={})


def affordable(backend: Backend, macs: int) -> int:
    """How many cases of a net with so many multiply-adds a backend is given.

    As many as PATIENCE allows and at least one; but a slow backend at most one, and none where
    that would take it longer than LIMIT.
    """
    seconds = max(macs / 1e9 / backend.pace, 1e-9)
    return int(seconds <= LIMIT) if backend.slow else max(1, int(PATIENCE / seconds))


def _questions(subject: Subject, choice: BackendChoice) -> tuple[Question, ...]:
    """What the chosen backends can answer; some round by themselves, and say nothing of a file."""
    precision, found = subject.artifact.precision, choice.backends(subject.artifact.format)
    precise = any(backend.in_float32(precision) and not backend.slow for backend in found)
    asked = (one.question for one in subject.reference.each)
    return tuple(question for question in asked if question == "accurate" or precise)


def _constants(subject: Subject) -> ComparedConstants | None:
    """The numbers in the file beside the rounded program's; None where that is not known."""
    faithful = subject.reference.faithful
    if faithful is None or faithful.program is None:
        return None
    return constants.compare(subject.artifact, faithful.program)


def _with_zeroed(rows: Sequence[ParityRow], names: Sequence[str]) -> list[ParityRow]:
    """The rows, the first of which that is not faithful says which numbers may be zeros instead."""
    failed = [n for n, r in enumerate(rows) if r.question == "faithful" and r.verdict == "failed"]
    found = list(rows)
    if failed and names:
        said = f"the file has zeros, and nowhere the numbers of {', '.join(names)}"
        found[failed[0]] = replace(found[failed[0]], hint=said)
    return found


def _run(subject: Subject, backend: Backend, most: int, log: _Log) -> tuple[ParityRow, ...]:
    """The first `most` cases on a backend; a skipped row for each output where none is run."""
    start = time.perf_counter()
    if most == 0:
        minutes = subject.macs / 1e9 / backend.pace / 60
        note = f"{subject.macs / 1e9:.0f} GMAC would take it {minutes:.0f} min (--all-cases)"
        return _unrun(subject, backend, "skipped", note)
    try:
        runner = backend.open(subject.artifact)
    except MlshipError as error:
        absent = isinstance(error, BackendUnavailable)
        note = f"{error.what} ({error.do})" if error.do else error.what
        return _unrun(subject, backend, "skipped" if absent else "failed", note)
    reference = subject.reference.first(most)
    precise = backend.in_float32(subject.artifact.precision)
    try:
        asked = reference.each if precise else (reference,)
        return log.check(runner, asked, again=not backend.slow)
    finally:
        runner.close()
        log.seconds[backend.name] = time.perf_counter() - start


def _unrun(
    subject: Subject, backend: Backend, verdict: Verdict, note: str
) -> tuple[ParityRow, ...]:
    first = next(iter(subject.inputs))
    return tuple(
        ParityRow(backend.name, first, spec.name, verdict, None, None, note=note)
        for spec in subject.bundle.outputs
    )


class _Log:
    """Adds metrics and hints to comparisons, and keeps what is shown of them."""

    def __init__(self, subject: Subject, keep: bool) -> None:
        self.subject, self.keep = subject, keep
        self.examples: dict[tuple[str, str], Example] = {}
        self.answers: dict[str, Cases] = {}
        self.seconds: dict[str, float] = {}
        self._explained: set[tuple[str, str]] = set()

    def check(
        self,
        runner: Runner,
        references: Sequence[Reference],
        *,
        again: bool = True,
    ) -> tuple[ParityRow, ...]:
        """compare.check, with every comparison seen; `again`: hints may run the backend again."""

        def seen(row: ParityRow, given: Tensors, want: Tensors, got: Tensors) -> ParityRow:
            if self.keep:
                self.answers.setdefault(row.backend, {})[row.case] = dict(got)
            row = self._measured(row, given, want, got)
            if row.verdict == "failed" and not row.hint:
                row = self._hinted(row, runner.run if again else None, given, want, got)
            self._keep(row, given, want, got)
            return row

        return compare.check(runner, references, seen=seen, again=again)

    def _measured(self, row: ParityRow, given: Tensors, want: Tensors, got: Tensors) -> ParityRow:
        if row.error is None or row.question != "accurate":
            return row
        spec = self._spec(row.output)
        return replace(row, metrics=metrics.measure(spec, given, want[spec.name], got[spec.name]))

    def _hinted(
        self,
        row: ParityRow,
        run: Callable[[Tensors], Tensors] | None,
        given: Tensors,
        want: Tensors,
        got: Tensors,
    ) -> ParityRow:
        """With a hint at the first failure of this output on this backend only."""
        if (row.backend, row.output) in self._explained:
            return row
        self._explained.add((row.backend, row.output))
        spec = self._spec(row.output)
        (program,) = (one.program for one in self.subject.reference.of(row.question))
        tolerance = row.tolerance or float(spec.tolerance or 0.0)
        evidence = Evidence(spec, given, want, got, tolerance, run, program)
        return replace(row, hint=hints.explain(evidence))

    def _keep(self, row: ParityRow, given: Tensors, want: Tensors, got: Tensors) -> None:
        key = (row.backend, row.output)
        old = self.examples.get(key)
        if row.output not in got or got[row.output].shape != want[row.output].shape:
            return
        if old is None or _rank(row) > _rank(old.row):
            self.examples[key] = Example(row, given, want[row.output], got[row.output])

    def _spec(self, name: str) -> Any:
        return next(spec for spec in self.subject.bundle.outputs if spec.name == name)


def _rank(row: ParityRow) -> tuple[int, float]:
    error = float("inf") if row.error is None else row.error
    return {"skipped": 0, "passed": 1, "failed": 2}[row.verdict], error


class _GoldenRunner:
    """Answers with a bundle's golden outputs."""

    backend = GOLDEN

    def __init__(self, inputs: Cases, outputs: Cases) -> None:
        self._pairs = [(inputs[case], outputs[case]) for case in inputs]

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        return next(dict(out) for given, out in self._pairs if given is inputs)

    def close(self) -> None:
        """Nothing to free."""


def _check_golden(subject: Subject) -> tuple[ParityRow, ...]:
    """Whether the golden vectors are what PyTorch computes today."""
    if subject.reference.program is None:
        return ()
    inputs, stored = golden(subject.bundle)
    answer = subject.reference.answer
    expected = {
        case: subject.expected[case] if _is_case(subject, case, given) else answer(given)
        for case, given in inputs.items()
    }
    runner = _GoldenRunner(inputs, stored)
    rows = compare.check(runner, (held_to_rounding(subject.reference, inputs, expected),))
    stale = "the golden vectors are stale: the model has changed since; build the bundle again"
    return tuple(replace(r, hint=stale) if r.verdict == "failed" else r for r in rows)


def _is_case(subject: Subject, case: str, given: Tensors) -> bool:
    """Whether these inputs are the subject's own of that name, which PyTorch answers once."""
    own = subject.inputs.get(case, {})
    return all(name in own and np.array_equal(own[name], array) for name, array in given.items())


def exit_code(reports: Iterable[ParityReport]) -> int:
    """0 if all passed, 3 if nothing could be compared, else 1."""
    found = list(reports)
    if found and all(report.ok for report in found):
        return 0
    rows = [row for report in found for row in report.rows]
    if any(row.verdict == "failed" for row in rows):
        return 1
    return 3 if all(row.verdict == "skipped" for row in rows if row.backend != GOLDEN) else 1
