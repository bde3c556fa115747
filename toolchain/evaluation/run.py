"""`mlship eval`: metrics of a model, and of trivial rules, over the same samples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from converters.progress import Say, silent
from toolchain.evaluation import dataset as datasets
from toolchain.evaluation.dataset import EvalDataset, EvalSample, Predict
from toolchain.evaluation.subject import opened


@dataclass(frozen=True)
class EvalRow:
    """The means of a model's, or a trivial rule's, metrics over one set of samples."""

    who: str
    set: str
    samples: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class EvalResult:
    """What came of one evaluation: the model's rows first, then the trivial ones."""

    model: str
    backend: str
    weights: str
    rows: tuple[EvalRow, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EvalResult:
        return cls(**{**data, "rows": tuple(EvalRow(**row) for row in data["rows"])})


def evaluate(
    what: str,
    *,
    backend: str | None = None,
    weights: Path | None = None,
    file: Path | None = None,
    scenes: int | None = None,
    only: str = "",
    say: Say = silent,
) -> EvalResult:
    """Evaluates a model or a bundle's folder, a `file` in the place of the bundle's own.

    `scenes` asks about fewer, for a quick look; `only` names the one metric that is wanted.
    Raises UnknownName for one that its dataset does not have.
    """
    with opened(what, backend, weights, file) as subject:
        dataset = datasets.find(subject.name)
        dataset = dataset.only(only) if only else dataset
        samples = list(dataset.samples(subject.inputs, scenes or dataset.scenes))
        rows: list[EvalRow] = []
        for who, predict in {subject.name: subject.predict, **dataset.trivial}.items():
            say(subject.name, f"evaluating {who}")
            rows += _rows(who, dataset, samples, predict)
        say(subject.name, "")
    return EvalResult(subject.name, subject.backend, subject.weights, tuple(rows))


def _rows(
    who: str, dataset: EvalDataset, samples: Iterable[EvalSample], predict: Predict
) -> list[EvalRow]:
    """One row a set of samples that have metrics."""
    found: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for sample in samples:
        if values := dataset.compute(sample, predict):
            found[sample.set].append(values)
    return [EvalRow(who, where, len(each), _means(each)) for where, each in found.items()]


def _means(samples: list[Mapping[str, float]]) -> dict[str, float]:
    """Of each metric over the samples to which it applies, to 4 digits."""
    names = dict.fromkeys(name for one in samples for name in one)
    values = {name: [one[name] for one in samples if name in one] for name in names}
    return {name: round(sum(v) / len(v), 4) for name, v in values.items()}


def cell(row: EvalRow, metric: datasets.EvalMetric) -> str:
    """A value as it is printed; - where the metric does not apply."""
    value = row.metrics.get(metric.name)
    return "-" if value is None else f"{value:.{metric.digits}f}"
