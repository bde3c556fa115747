"""What each layer loses to a recipe, and which layers to keep from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.encodings import HALF

if TYPE_CHECKING:
    from converters.api import Program, Tensors
    from model_defs.spec import TensorSpec
    from toolchain.passes.base import Pass
    from toolchain.recipes.recipes import Recipe

Share = Callable[["TensorSpec", "Tensors", np.ndarray, np.ndarray], float]
"""Of an output's specification, the inputs, what was computed, and what PyTorch answers."""

LayerListener = Callable[[int, int], None]
"""Called with (layers measured, layers in all)."""


@dataclass(frozen=True)
class LayerSensitivity:
    """What the outputs lose where a recipe rounds this layer alone.

    `share` is the worst error in tolerances of its output, `where` that output and case.
    `bytes` is what the layer takes with the recipe, `plain` what it takes in float16. `drop` is
    the share of the model's metric that is lost, where that was asked for.
    """

    layer: str
    share: float
    where: str
    bytes: int
    plain: int
    drop: float | None = None

    @property
    def saved(self) -> int:
        return self.plain - self.bytes

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def of_tolerance(spec: TensorSpec, inputs: Tensors, got: np.ndarray, want: np.ndarray) -> float:
    """The largest error in tolerances; of labels, how many differ."""
    if not spec.is_float:
        differ = float((got != want).mean())
        return differ / spec.tolerance if spec.tolerance else np.inf if differ else 0.0
    share = float(np.abs(got - want).max()) / (spec.tolerance or 1.0)
    return share if np.isfinite(share) else np.inf


@dataclass(frozen=True)
class Judge:
    """PyTorch's answers, against which programs with other numbers are held.

    `share` says how much of what an output may lose is used up (`parity.metrics.used`).
    """

    cases: Mapping[str, Tensors]
    expected: Mapping[str, Tensors]
    share: Share = of_tolerance

    def worst(self, program: Program) -> tuple[float, str]:
        """The largest error in tolerances, infinite if it is no number, and where it is."""
        from converters.reference import ReferenceRunner

        runner, outputs = ReferenceRunner(program), program.spec.outputs
        each = (self.of_case(case, outputs, runner.run(i)) for case, i in self.cases.items())
        return max(each, default=(0.0, ""))

    def of_case(self, case: str, outputs: Sequence[TensorSpec], got: Tensors) -> tuple[float, str]:
        """The same of one case, and of what was computed of it."""
        inputs, want = self.cases[case], self.expected[case]
        return max(
            (
                self.share(spec, inputs, got[spec.name], want[spec.name]),
                f"'{spec.name}', case {case}",
            )
            for spec in outputs
        )

    def moved(self, case: str, outputs: Sequence[TensorSpec], got: Tensors) -> float:
        """The largest error in tolerances, or in widths of an output that has none."""
        inputs, want = self.cases[case], self.expected[case]

        def own(spec: TensorSpec) -> float:
            width = float(np.ptp(want[spec.name])) or 1.0
            known = spec if not spec.is_float or spec.tolerance else replace(spec, tolerance=width)
            return of_tolerance(known, inputs, got[spec.name], want[spec.name])

        return max(map(own, outputs))

    def held_to(self, program: Program) -> Judge:
        """The same cases, held to what this program makes of them."""
        from converters.reference import ReferenceRunner

        runner = ReferenceRunner(program)
        return replace(self, expected={c: runner.run(i) for c, i in self.cases.items()})


def list_layers(program: Program) -> tuple[str, ...]:
    """The modules that have parameters of their own, in the order of the model."""
    named = (name.rpartition(".")[0] for name, _ in program.module.named_parameters())
    return tuple(dict.fromkeys(named))


def measure(
    program: Program,
    recipe: Recipe,
    judge: Judge,
    report: LayerListener = lambda done, total: None,
    dropped: Callable[[Program], float] | None = None,
    only: slice = slice(None),
) -> list[LayerSensitivity]:
    """What each layer that the recipe rounds loses alone, in their order; `only` some of them."""
    ready = _after(program, [step for step in recipe.load() if step.exact])
    whole = _rounded(ready, recipe)
    every = list_layers(whole)
    found = []
    asked = every[only]
    for number, layer in enumerate(asked):
        report(number, len(asked))
        others = {other: "" for other in every if other != layer}
        rounded = _rounded(ready, replace(recipe, keep=others))
        share, where = judge.worst(rounded)
        drop = None if dropped is None else dropped(rounded)
        found.append(LayerSensitivity(layer, share, where, *_bytes(whole, layer), drop))
    return found


def _rounded(ready: Program, recipe: Recipe) -> Program:
    """A program that the exact passes of a recipe have been over, after the others."""
    return _after(ready, [step for step in recipe.load() if not step.exact])


def _after(program: Program, steps: Iterable[Pass]) -> Program:
    for step in steps:
        program = step(program)
    return program


def _bytes(program: Program, layer: str) -> tuple[int, int]:
    """What the parameters of a layer take: as they are to be stored, and in float16."""
    own = dict(program.module.get_submodule(layer).named_parameters(recurse=False))
    stored = 0
    for name, parameter in own.items():
        path = f"{layer}.{name}" if layer else name
        stored += program.encodings.get(path, HALF).bytes(parameter.numel())
    return stored, sum(HALF.bytes(p.numel()) for p in own.values())


def find_first(holds: Callable[[int], bool], most: int) -> int:
    """The smallest number up to `most` of which it holds, if it holds of all beyond; or `most`."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def explain(one: LayerSensitivity) -> str:
    if not np.isfinite(one.share):
        return f"alone it leaves no numbers in {one.where}"
    return f"alone it moves {one.where}, by {one.share:.2g} of the tolerance"


def select_cases(judge: Judge, names: Iterable[str]) -> Judge:
    """The same with these cases alone."""
    kept = tuple(names)
    cases = {n: judge.cases[n] for n in kept}
    return replace(judge, cases=cases, expected={n: judge.expected[n] for n in kept})
