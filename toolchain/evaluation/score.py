"""One number for how good a program is, so that what a recipe costs can be said."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from converters.reference import ReferenceRunner
from model_defs.errors import BadSpec
from toolchain.data import calibration
from toolchain.evaluation import dataset as datasets
from toolchain.evaluation.dataset import DATASETS, EvalDataset, EvalMetric, EvalSample
from toolchain.evaluation.subject import of_program
from toolchain.parity import metrics
from toolchain.recipes.pass_report import MODEL, Evaluate

if TYPE_CHECKING:
    from converters.api import Program
    from model_defs.spec import TensorSpec


@dataclass(frozen=True)
class Score:
    """A value of the metric that compares builds of a model, over held-out scenes."""

    metric: EvalMetric
    value: float

    def drop(self, other: Score) -> float:
        """What the other one lost, as a share of this one; below zero where it is better."""
        lost = self.value - other.value if self.metric.higher else other.value - self.value
        return lost / abs(self.value) if self.value else 0.0


@dataclass(frozen=True)
class DatasetScorer:
    """Scores programs of one model on the same samples: `scenes` at most, no photographs."""

    model: str
    inputs: tuple[TensorSpec, ...]
    scenes: int

    @cached_property
    def dataset(self) -> EvalDataset:
        return datasets.find(self.model).comparing

    @cached_property
    def samples(self) -> Sequence[EvalSample]:
        found = self.dataset.samples(self.inputs, min(self.scenes, self.dataset.scenes))
        return [sample for sample in found if sample.set == "scenes"]

    @property
    def metric(self) -> EvalMetric:
        return self.dataset.metrics[0]

    def score(self, program: Program) -> Score:
        predict, name = of_program(program, "").predict, self.metric.name
        found = [self.dataset.compute(sample, predict) for sample in self.samples]
        values = [each[name] for each in found if name in each]
        return Score(self.metric, sum(values) / len(values))


LIKENESS = EvalMetric("PSNR to the model", "dB", digits=1)
CEILING = 99.0
"""The PSNR that is said of equal outputs, in dB."""


@dataclass(frozen=True)
class SimilarityScorer:
    """Scores programs by how near their outputs are to a model's, where it has no dataset."""

    model: Program
    metric: EvalMetric = LIKENESS

    @cached_property
    def inputs(self) -> Sequence[Mapping[str, np.ndarray]]:
        return calibration.inputs_for(self.model)[::2]

    @cached_property
    def expected(self) -> Sequence[Mapping[str, np.ndarray]]:
        return [ReferenceRunner(self.model).run(given) for given in self.inputs]

    def score(self, program: Program) -> Score:
        """The least PSNR of an output, of its range over all inputs."""
        got = [ReferenceRunner(program).run(given) for given in self.inputs]
        values = []
        for spec in program.spec.outputs:
            want, have = (np.stack([one[spec.name] for one in o]) for o in (self.expected, got))
            noise = float(np.mean(np.square(want - have, dtype=np.float64)))
            peak = float(np.ptp(want)) or 1.0
            values.append(min(CEILING, 10 * math.log10(peak**2 / max(noise, 1e-30))))
        return Score(self.metric, min(values))


@dataclass(frozen=True)
class MeasureScorer:
    """The same by the measure that all of a model's outputs name, beside the model."""

    model: Program

    @property
    def metric(self) -> EvalMetric:
        spec = self.model.spec.outputs[0]
        assert spec.measured is not None
        found = metrics.named(spec.metric)
        return EvalMetric(f"{found.name} to the model", found.unit, spec.measured.more, digits=4)

    @cached_property
    def likeness(self) -> SimilarityScorer:
        """With the model's answers."""
        return SimilarityScorer(self.model)

    def score(self, program: Program) -> Score:
        """Of the outputs the worst, each in the mean of all inputs; BadSpec where none applies."""
        known = self.likeness
        got = [ReferenceRunner(program).run(given) for given in known.inputs]
        means = [self._mean(spec, got) for spec in program.spec.outputs]
        return Score(self.metric, min(means) if self.metric.higher else max(means))

    def _mean(self, spec: TensorSpec, got: Sequence[Mapping[str, np.ndarray]]) -> float:
        known = self.likeness
        each = [
            metrics.measure(spec, given, want[spec.name], have[spec.name]).get(spec.metric)
            for given, want, have in zip(known.inputs, known.expected, got, strict=True)
        ]
        values = [value for value in each if value is not None]
        if not values:
            raise BadSpec(
                f"{spec.metric} does not apply to what the model says of any calibration picture",
                where=f"output '{spec.name}'",
                do="name another metric",
            )
        return sum(values) / len(values)


class Scorer(Protocol):
    """Gives programs of one model their scores."""

    @property
    def metric(self) -> EvalMetric: ...

    def score(self, program: Program) -> Score: ...


def find_scorer(program: Program, scenes: int) -> Scorer:
    """By its dataset for a model of the zoo; for any other, likeness to the program itself.

    That is the measure which all of its outputs name, or PSNR.
    """
    name = program.spec.name
    if name not in DATASETS:
        measures = {one.metric for one in program.spec.outputs if one.measured is not None}
        same = len(measures) == 1 and all(one.measured for one in program.spec.outputs)
        return MeasureScorer(program) if same else SimilarityScorer(program)
    return DatasetScorer(name, of_program(program, "").inputs, scenes)


SCENES = 12
"""How many held-out scenes a model is evaluated on after each pass."""


def make_evaluator(model: Program, say: Callable[[str], None]) -> Evaluate:
    """The first metric of the model's dataset, else the outputs' likeness to the model's."""
    scorer = find_scorer(model, SCENES)

    def evaluate(after: str, program: Program) -> Mapping[str, float]:
        say(f"evaluating it {after}" if after == MODEL else f"evaluating it after {after}")
        return {scorer.metric.name: round(scorer.score(program).value, 4)}

    return evaluate
