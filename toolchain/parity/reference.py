"""What PyTorch makes of a model's inputs: the truth that every backend is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from converters.api import Tensors
from model_defs.errors import RecipeMismatch, UnknownName
from model_defs.spec import ModelSpec, TensorSpec, size_name
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


@dataclass(frozen=True)
class Reference:
    """A model's inputs by case, what PyTorch expects of each, and what outputs may differ by.

    `program` is what answers: the model, or what a lossy recipe made of it, which `name` says.
    It is None where only the answers are known. Of a model with `state` the cases are steps of
    sequences, with the state that the program itself has come to.
    """

    cases: Cases
    expected: Mapping[str, Tensors]
    outputs: tuple[TensorSpec, ...]
    name: str = "PyTorch"
    program: Program | None = None
    state: Mapping[str, str] = field(default_factory=dict)

    @property
    def macs(self) -> int:
        """The program's multiply-adds for one case; 0 where they are not known."""
        return self.expected.macs if isinstance(self.expected, Answers) else 0

    @property
    def emptied(self) -> Reference:
        """The same without its arrays and its program."""
        return replace(self, cases={}, expected={}, program=None)

    def only(self, case: str) -> Reference:
        """The same with one case: "" is the first, or of sequences the first that has a past.

        Raises UnknownName.
        """
        names = [*self.cases]
        case = case or next((n for n in names if sequences.parts_of(n)[1] == 2), names[0])
        if case not in self.cases:
            raise UnknownName.among("case", case, names)
        expected = self.expected
        if isinstance(expected, Answers):
            expected = expected.only(case)
        return replace(self, cases={case: self.cases[case]}, expected=expected)

    def answer(self, inputs: Tensors) -> Tensors:
        """What PyTorch makes of other inputs, here and now; only where the program is known."""
        from converters.reference import ReferenceRunner

        assert self.program is not None
        return ReferenceRunner(self.program).run(inputs)

    def roundings(self, inputs: Tensors, own: Tensors) -> Tensors:
        """How far rounding moves each number of the outputs; see `converters.doubles`.

        `own` is PyTorch's answer. Of none where there is no program, where it computes in integers,
        and where its code does not run in float64.
        """
        from converters.doubles import roundings
        from toolchain.quantization.activations import OnGrids

        if self.program is None or isinstance(self.program.module, OnGrids):
            return {}
        return roundings(self.program, inputs, own)


def of_build(recipe: Recipe, captured: Program, shipped: Program, cases: Cases) -> Reference:
    """The reference of what is being built, every answer made.

    `shipped` is the model after the recipe. Where a target computes in integers, its outputs may
    differ by more than the model says: by what rounding otherwise moves them.
    """
    from toolchain.quantization import tolerance

    made = _made(recipe, captured, shipped, cases, captured.spec.outputs)
    expected, outputs = dict(made.expected), made.outputs
    if recipe.integer:
        other = dict(_answered(tolerance.jittered(shipped), cases)[1])
        outputs = tolerance.widened(outputs, expected, other)
    return replace(made, expected=expected, outputs=outputs)


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
    expected, outputs = dict(made.expected), made.outputs
    if recipe.integer:
        _check_scales(recipe, default, replace(made, expected=expected), captured)
        jittered = tolerance.jittered(replace(shipped, spec=spec))
        other = dict(_answered(jittered, cases)[1])
        outputs = tolerance.widened(outputs, expected, other)
    return replace(made, expected=expected, outputs=outputs)


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
    return replace(default, cases=given, expected=answers, outputs=outputs, program=program)


def of_model(
    recipe: Recipe, captured: Program, cases: Cases, outputs: tuple[TensorSpec, ...]
) -> Reference:
    """The reference of what was built with a recipe, whose outputs say what they may differ by.

    Answers are made as they are asked for.
    """
    from toolchain.recipes import pipeline

    shipped = pipeline.run(captured, recipe.load()) if recipe.lossy else captured
    return _made(recipe, captured, shipped, cases, outputs)


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
