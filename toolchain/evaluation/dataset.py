"""What models are evaluated on: samples with their truth, metrics, and rules that need no net."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Literal

import numpy as np

from converters.api import Tensors
from model_defs.errors import UnknownName
from model_defs.procedures.arrays import Pixels
from model_defs.spec import TensorSpec

Set = Literal["scenes", "photographs"]

Predict = Callable[[Tensors], np.ndarray]
"""Inputs by name -> (1, C, H, W): a model's first output, or what a trivial rule puts out."""

MetricValues = Mapping[str, float]
"""Metric -> value for one sample; a metric that does not apply is left out."""

ComputeMetrics = Callable[["EvalSample", Predict], MetricValues]
"""Of one sample; it may ask for more than one prediction: a user clicks again."""


@dataclass(frozen=True)
class EvalSample:
    """Inputs, the picture among them as pixels, and the truth (1, C, H, W) in the output's plane.

    Only the `box` (left, top, right, bottom) counts: the rest is padding. `number` is the
    held-out scene's or photograph's.
    """

    set: Set
    number: int
    inputs: Tensors
    picture: Pixels
    truth: np.ndarray
    box: tuple[int, int, int, int]

    def cut(self, plane: np.ndarray) -> np.ndarray:
        """The part of an output's or the truth's plane that counts."""
        left, top, right, bottom = self.box
        return plane[:, :, top:bottom, left:right]


@dataclass(frozen=True)
class EvalMetric:
    """A metric's name, its unit, whether more is better, and how many digits tell something."""

    name: str
    unit: str = ""
    higher: bool = True
    digits: int = 3


@dataclass(frozen=True)
class EvalDataset:
    """What models of a kind are evaluated on, and by which metrics.

    `samples(inputs, scenes)` are that many held-out scenes and the photographs, for a model with
    these inputs. `compute` gives the `metrics` of a sample. `trivial` are rules without a net.
    `shown(sample, predict)` are pictures for a contact sheet: input, truth, output. `quick`
    computes one metric in less time than all. `steady` names the metric that compares builds of
    one net, where it is not the first: one that counts steps jumps where rounding moves a pixel.
    """

    samples: Callable[[tuple[TensorSpec, ...], int], Iterator[EvalSample]]
    compute: ComputeMetrics
    metrics: tuple[EvalMetric, ...]
    trivial: Mapping[str, Predict]
    shown: Callable[[EvalSample, Predict], tuple[Pixels, Pixels, Pixels]]
    scenes: int = 48
    quick: Mapping[str, ComputeMetrics] = field(default_factory=dict)
    steady: str = ""

    def only(self, metric: str) -> EvalDataset:
        """The same with one metric; UnknownName where it has no such one."""
        known = {metric.name: metric for metric in self.metrics}
        if metric not in known:
            raise UnknownName.among("metric", metric, known)

        def compute(sample: EvalSample, predict: Predict) -> MetricValues:
            found = self.quick.get(metric, self.compute)(sample, predict)
            return {metric: found[metric]} if metric in found else {}

        return replace(self, metrics=(known[metric],), compute=compute)

    @property
    def comparing(self) -> EvalDataset:
        """The same with the one metric that compares builds of one net."""
        return self.only(self.steady or self.metrics[0].name)


DATASETS: dict[str, str] = {
    "select": "toolchain.evaluation.select:SELECT",
    "select-coarse": "toolchain.evaluation.select:SELECT",
    "portrait": "toolchain.evaluation.portrait:PORTRAIT",
    "portrait-video": "toolchain.evaluation.portrait:PORTRAIT_VIDEO",
    "portrait-head": "toolchain.evaluation.portrait:PORTRAIT",
    "depth": "toolchain.evaluation.depth:DEPTH",
    "depth-head": "toolchain.evaluation.depth:DEPTH",
    "saliency": "toolchain.evaluation.saliency:SALIENCY",
    "saliency-resnet": "toolchain.evaluation.saliency:SALIENCY",
    "inpaint": "toolchain.evaluation.inpaint:INPAINT",
    "inpaint-lite": "toolchain.evaluation.inpaint:INPAINT",
    "inpaint-reflect": "toolchain.evaluation.inpaint:INPAINT",
}


def find(name: str) -> EvalDataset:
    """The dataset of a model in DATASETS; UnknownName for any other."""
    if name not in DATASETS:
        raise UnknownName.among("evaluation dataset", name, DATASETS)
    module, attribute = DATASETS[name].split(":")
    dataset: EvalDataset = getattr(import_module(module), attribute)
    return dataset


def pixels(tensor: np.ndarray, spec: TensorSpec) -> Pixels:
    """The picture that an input (1, 3, H, W) was made of, as far as the input shows it."""
    rule = spec.preprocess
    assert rule is not None
    mean, std = np.array(rule.mean, np.float32), np.array(rule.std, np.float32)
    plane = np.rint(tensor[0].transpose(1, 2, 0) * std + mean).clip(0, 255).astype(np.uint8)
    return plane[..., ::-1] if rule.colour == "BGR" else plane


def grey(plane: np.ndarray) -> Pixels:
    """(1, 1, H, W) in 0..1 as a grey picture."""
    shown = np.rint(plane[0, 0].clip(0, 1) * 255).astype(np.uint8)
    return np.repeat(shown[..., None], 3, axis=2)
