"""What PyTorch makes of a model's inputs: the truth that every backend is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from converters.api import Tensors
from model_defs.errors import RecipeMismatch, UnknownName
from model_defs.spec import ModelSpec, TensorSpec, size_name
from toolchain.bundle.parity_report import Question
from toolchain.data import sequences
from toolchain.data.trunks import Cases

if TYPE_CHECKING:
    from converters.api import Program
    from toolchain.recipes.recipes import Recipe


class Answers(Mapping[str, Tensors]):
    """What a program makes of each case, computed when it is asked for and kept."""

    def __init__(
        self, program: Program, cases: Cases, known: Mapping[str, Tensors] | None = None
    ) -> None:
        from converters.reference import ReferenceRunner

        self._program, self._cases = program, cases
        self._runner = ReferenceRunner(program)
        self._known: dict[str, Tensors] = dict(known or {})

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of the convolutions and matrix products for one case."""
        from model_defs.counting import counted

        first = next(iter(self._cases))
        self._known[first], macs = counted(lambda: self._runner.run(self._cases[first]))
        return macs

    def __getitem__(self, case: str) -> Tensors:
        if case not in self._known:
            self._known[case] = self._runner.run(self._cases[case])
        return self._known[case]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cases)

    def only(self, case: str) -> Answers:
        """Those to one case."""
        known = {case: self._known[case]} if case in self._known else {}
        return Answers(self._program, {case: self._cases[case]}, known)

    def __len__(self) -> int:
        return len(self._cases)


class _Rounding(NamedTuple):
    """What rounding moves, of a program and inputs, which are kept: they are known by address."""

    program: Program
    inputs: Tensors
    moved: Mapping[str, np.ndarray | float]


@dataclass(frozen=True)
class Reference:
    """A model's inputs by case, what PyTorch expects of each, and what outputs may differ by.

    `program` is what answers: the model, or what a lossy recipe made of it, which `name` says.
    It is None where only the answers are known. Of a model with `state` the cases are steps of
    sequences, with the state that the program itself has come to.

    `question` says what is held to it (`parity_report.Question`). The `faithful` one beside an
    accurate one is of the rounded program: what the passes left, which the file has to compute to
    rounding level. Its steps of sequences are each fed with its own state. `known_roundings` is
    what rounding was found to move by case and output, where the program itself is not known.
    `lost` are the numbers of the program that a file does not hold as they are: a converter made
    them a part of others, which it rounded again. `shipped` is what the passes left, of which the
    rounded `program` is a graph of one size where it holds more in float16.
    """

    cases: Cases
    expected: Mapping[str, Tensors]
    outputs: tuple[TensorSpec, ...]
    name: str = "PyTorch"
    program: Program | None = None
    state: Mapping[str, str] = field(default_factory=dict)
    question: Question = "accurate"
    faithful: Reference | None = None
    known_roundings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    shipped: Program | None = None
    _seen: dict[tuple[int, int, frozenset[str]], _Rounding] = field(
        default_factory=dict, repr=False, compare=False
    )
    """What rounding was seen to move, for all files that are held to a program."""

    @property
    def each(self) -> tuple[Reference, ...]:
        """The references of all questions."""
        return (self,) if self.faithful is None else (self, self.faithful)

    def of(self, *questions: Question) -> tuple[Reference, ...]:
        """Those of these questions."""
        return tuple(one for one in self.each if one.question in questions)

    @property
    def macs(self) -> int:
        """The program's multiply-adds for one case; 0 where they are not known."""
        return self.expected.macs if isinstance(self.expected, Answers) else 0

    def of_file(self, lost: frozenset[str]) -> Reference:
        """The same for a file whose constants do not hold these numbers as they are."""
        if self.faithful is None:
            return self
        return replace(self, faithful=replace(self.faithful, lost=lost))

    @property
    def on_grids(self) -> bool:
        """Whether the program computes in integers."""
        from toolchain.quantization.activations import OnGrids

        return self.program is not None and isinstance(self.program.module, OnGrids)

    @cached_property
    def largest(self) -> Mapping[str, float]:
        """The largest number of each output of floats, in the first two cases.

        The others are flat pictures, whose outputs may be small; rounding on the way is not.
        """
        answers = [self.expected[case] for case in islice(self.cases, 2)]
        return {
            one.name: max(float(np.abs(found[one.name]).max(initial=0.0)) for found in answers)
            for one in self.outputs
            if one.is_float
        }

    @property
    def emptied(self) -> Reference:
        """The same without its arrays and its program."""
        bare = replace(self, cases={}, expected={}, program=None, shipped=None, faithful=None)
        return replace(bare, _seen={})

    def only(self, case: str) -> Reference:
        """The same with one case: "" is the first, or of sequences the first that has a past.

        Raises UnknownName.
        """
        case = case or self.case_of_state()
        if case not in self.cases:
            raise UnknownName.among("case", case, [*self.cases])
        return self._only({case: self.cases[case]}, case)

    def case_of_state(self) -> str:
        """The first case, or of sequences the first that has a past."""
        names = [*self.cases]
        return next((n for n in names if sequences.parts_of(n)[1] == 2), names[0])

    def first(self, most: int) -> Reference:
        """The same with the first so many cases."""
        if most >= len(self.cases):
            return self
        return self._kept(dict(islice(self.cases.items(), most)))

    def _only(self, cases: Cases, case: str) -> Reference:
        expected = self.expected
        if isinstance(expected, Answers):
            expected = expected.only(case)
        return replace(self._kept(cases), expected=expected)

    def _kept(self, cases: Cases) -> Reference:
        """The same with some of the cases; the faithful one shares them where it did."""
        faithful = self.faithful
        if faithful is not None:
            own = faithful.cases
            if own is self.cases:
                faithful = faithful._kept(cases)
            else:  # golden vectors have the rounded program's answers to some alone
                left = {case: own[case] for case in cases if case in own}
                faithful = faithful._kept(left or dict(islice(own.items(), 1)))
        return replace(self, cases=cases, faithful=faithful)

    def answer(self, inputs: Tensors) -> Tensors:
        """What PyTorch makes of other inputs, here and now; only where the program is known."""
        from converters.reference import ReferenceRunner

        assert self.program is not None
        return ReferenceRunner(self.program).run(inputs)

    def roundings(self, case: str, *, as_stored: bool = False) -> Mapping[str, np.ndarray | float]:
        """How far rounding moves each number of a case's outputs; see `converters.doubles`.

        With `as_stored` what is `lost` is rounded to float16, and not to float32.

        Where the program computes in integers, it is what another
        rounding of what lies between two codes moves. Of none where there is no program, and where
        its code does not run in float64.
        """
        from converters.doubles import roundings
        from toolchain.quantization import tolerance

        if self.program is None:
            return self.known_roundings.get(case, {})
        inputs, own = self.cases[case], self.expected[case]
        half = as_stored and self.program.precision == "float16"
        lost = self.lost if half else frozenset()
        key = (id(self.program), id(inputs), lost)
        if key not in self._seen:
            if self.on_grids:
                other = replace(self, program=tolerance.jittered(self.program)).answer(inputs)
                moved = tolerance.moved_numbers(own, other)
            else:
                moved = roundings(self.program, inputs, own, lost)
            self._seen[key] = _Rounding(self.program, inputs, moved)
        return self._seen[key].moved


def of_build(recipe: Recipe, captured: Program, shipped: Program, cases: Cases) -> Reference:
    """The reference of what is being built, every answer made; BadModule for one that is NaN.

    `shipped` is the model after the recipe. Where a target computes in integers, its outputs may
    differ by more than the model says: by what rounding otherwise moves them.
    """
    from toolchain.quantization import tolerance

    made = _made(recipe, captured, shipped, cases, captured.spec.outputs)
    expected, outputs = _finite(made), made.outputs
    if recipe.integer:
        other = dict(_answered(tolerance.jittered(shipped), cases)[1])
        outputs = tolerance.widened(outputs, expected, other)
    return _with_faithful(replace(made, expected=expected, outputs=outputs), shipped, cases)


def of_build_at(
    recipe: Recipe,
    default: Reference,
    captured: Program,
    shipped: Program,
    spec: ModelSpec,
    cases: Cases,
) -> Reference:
    """The same at another size, whose specification this is; the passes ran at the default.

    Raises RecipeMismatch where the scales that a pass found there are wrong at this size.
    """
    from toolchain.quantization import tolerance

    made = at(default, spec.outputs, spec, cases)
    expected, outputs = _finite(made), made.outputs
    if recipe.integer:
        _check_scales(recipe, default, replace(made, expected=expected), captured)
        jittered = tolerance.jittered(replace(shipped, spec=spec))
        other = dict(_answered(jittered, cases)[1])
        outputs = tolerance.widened(outputs, expected, other)
    made = replace(made, expected=expected, outputs=outputs)
    return _with_faithful(made, replace(shipped, spec=spec), cases)


def _finite(made: Reference) -> dict[str, Tensors]:
    """All answers; BadModule with the layer where one of them is no number."""
    from toolchain.recipes.finite import check_finite

    assert made.program is not None
    for case, inputs in made.cases.items():
        check_finite(made.program, case, inputs, made.expected[case])
    return dict(made.expected)


WORSE = 2.0
"""How much more than at the default size integers may move an output in the mean."""


def _check_scales(recipe: Recipe, default: Reference, made: Reference, captured: Program) -> None:
    """RecipeMismatch where integers move an output much more than at the default size.

    A file is held to its own numbers, so that parity would not see it. What is within the model's
    tolerance nobody sees.
    """
    from toolchain.quantization.tolerance import moved

    assert made.program is not None
    spec = made.program.spec
    before = Answers(captured, default.cases), Answers(replace(captured, spec=spec), made.cases)
    for output in captured.spec.outputs:
        near = moved(output, before[0], default.expected)
        far = moved(output, before[1], made.expected)
        if far > max(WORSE * near, output.tolerance or 0.0):
            pairs = zip(spec.inputs, captured.spec.inputs, strict=True)
            size = next(size_name(one.shape[2:]) for one, first in pairs if first.sizes)
            raise RecipeMismatch(
                f"at {size}: {recipe.name} moves '{output.name}' by {far:.3g} in the mean, and by "
                f"{near:.3g} at the default size, where its scales were found",
                do="make that size the default, leave it out, or take a recipe without integers",
            )


def at(
    default: Reference, outputs: tuple[TensorSpec, ...], spec: ModelSpec, cases: Cases
) -> Reference:
    """A reference at another size: what the same program makes of cases of that size.

    `outputs` are those of the size; each may differ by what it may at the default.
    """
    assert default.program is not None
    tolerances = {output.name: output.tolerance for output in default.outputs}
    outputs = tuple(replace(one, tolerance=tolerances[one.name]) for one in outputs)
    program = replace(default.program, spec=spec)
    given, answers = _answered(program, cases)
    made = replace(default, cases=given, expected=answers, outputs=outputs, program=program)
    made = replace(made, faithful=None)
    if default.faithful is None or default.faithful.shipped is None:
        return made
    return _with_faithful(made, replace(default.faithful.shipped, spec=spec), cases)


def of_model(recipe: Recipe, captured: Program, cases: Cases) -> Reference:
    """The reference of what was built with a recipe, from the model alone.

    Answers are made as they are asked for, but of what computes in integers: what its outputs may
    differ by is found of all of them.
    """
    from toolchain.recipes import pipeline

    shipped = pipeline.run(captured, recipe.load())
    if recipe.integer:
        return of_build(recipe, captured, shipped, cases)
    made = _made(recipe, captured, shipped, cases, captured.spec.outputs)
    return _with_faithful(made, shipped, cases)


def of_unrounded(made: Reference, captured: Program) -> Reference:
    """What the conversion of a model before any pass has to compute: the model, to rounding level.

    On the cases of a reference that was made of it; of a model with state, on its steps.
    """
    known = made.expected if made.program is captured else Answers(captured, made.cases)
    outputs = _as_specified(made.outputs, captured)
    found = replace(made, expected=known, outputs=outputs, program=captured, state={})
    return replace(found, name="PyTorch", question="unrounded", faithful=None)


def held_to_rounding(made: Reference, cases: Cases, expected: Mapping[str, Tensors]) -> Reference:
    """The reference of answers that were once its own: they may differ by rounding alone."""
    found = replace(made, cases=cases, expected=expected, state={})
    return replace(found, question="faithful", faithful=None)


def _with_faithful(made: Reference, shipped: Program, cases: Cases) -> Reference:
    """The same with the reference of the rounded program, which answers on the same cases."""
    from converters.program_graph import stored

    program = stored(shipped)
    if made.program is program:
        given, answers = made.cases, made.expected
    else:
        given, answers = _answered(program, cases)
        if isinstance(made.expected, dict):
            answers = dict(answers)  # made now, for who waits for it
    own = replace(made, cases=given, expected=answers, program=program, state={})
    faithful = replace(own, shipped=shipped, name="the rounded program", question="faithful")
    return replace(made, faithful=faithful)


def _as_specified(outputs: tuple[TensorSpec, ...], captured: Program) -> tuple[TensorSpec, ...]:
    """The outputs as the model specifies them, without what integers widened."""
    own = {one.name: one.tolerance for one in captured.spec.outputs}
    return tuple(replace(one, tolerance=own[one.name]) for one in outputs)


def _made(
    recipe: Recipe,
    captured: Program,
    shipped: Program,
    cases: Cases,
    outputs: tuple[TensorSpec, ...],
) -> Reference:
    # What a lossy recipe changes is judged by the metric: its files are held to its own numbers.
    program = shipped if recipe.lossy else captured
    name = f"PyTorch after {recipe.name}" if recipe.lossy else "PyTorch"
    given, expected = _answered(program, cases)
    return Reference(given, expected, outputs, name, program, program.spec.state)


def _answered(program: Program, cases: Cases) -> tuple[Cases, Answers]:
    """The cases, with a program's own state where it has one, and its answers to them."""
    if not program.spec.state:
        return cases, Answers(program, cases)
    given, made = sequences.unrolled(program, cases)
    return given, Answers(program, given, made)
