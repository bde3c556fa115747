"""What an examination is: questions with known answers, marks, and answers that need no net."""

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

Answer = Callable[[Tensors], np.ndarray]
"""Inputs by name -> (1, C, H, W): a model's first output, or what a trivial rule puts out."""

Marks = Mapping[str, float]
"""Metric -> value for one question; a metric that does not apply is left out."""

Mark = Callable[["Question", Answer], Marks]
"""Asks one question, maybe more than once: a user clicks again."""


@dataclass(frozen=True)
class Question:
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
class Measure:
    """A metric's name, its unit, whether more is better, and how many digits tell something."""

    name: str
    unit: str = ""
    higher: bool = True
    digits: int = 3


@dataclass(frozen=True)
class Exam:
    """How models of a kind are examined.

    `questions(inputs, scenes)` asks about that many held-out scenes and the photographs, for a
    model with these inputs. `trivial` are answers without a net. `shown(question, answer)` are
    pictures for a contact sheet: input, truth, output. `quick` marks one metric in less time than
    all. `steady` names the metric that compares builds of one net, where it is not the first:
    one that counts steps jumps where rounding moves a pixel.
    """

    questions: Callable[[tuple[TensorSpec, ...], int], Iterator[Question]]
    marks: Mark
    measures: tuple[Measure, ...]
    trivial: Mapping[str, Answer]
    shown: Callable[[Question, Answer], tuple[Pixels, Pixels, Pixels]]
    scenes: int = 48
    quick: Mapping[str, Mark] = field(default_factory=dict)
    steady: str = ""

    def only(self, metric: str) -> Exam:
        """The examination that marks one metric; UnknownName where it has no such one."""
        known = {measure.name: measure for measure in self.measures}
        if metric not in known:
            raise UnknownName.among("metric", metric, known)

        def mark(question: Question, answer: Answer) -> Marks:
            found = self.quick.get(metric, self.marks)(question, answer)
            return {metric: found[metric]} if metric in found else {}

        return replace(self, measures=(known[metric],), marks=mark)

    @property
    def comparing(self) -> Exam:
        """The examination by the one metric that compares builds of one net."""
        return self.only(self.steady or self.measures[0].name)


EXAMS: dict[str, str] = {
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


def find(name: str) -> Exam:
    """The examination of a model in EXAMS; UnknownName for any other."""
    if name not in EXAMS:
        raise UnknownName.among("examination", name, EXAMS)
    module, attribute = EXAMS[name].split(":")
    exam: Exam = getattr(import_module(module), attribute)
    return exam


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
