"""Portrait segmentation: overlap and contours, on held-out portraits and two photographs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

from converters.api import Tensors
from model_defs.pixels import label_tensor, to_tensor
from model_defs.procedures.arrays import Pixels
from model_defs.spec import TensorSpec
from toolchain.data import scenery
from toolchain.data.task import HELD_OUT
from toolchain.evaluation.dataset import Answer, Exam, Marks, Measure, Question, Set, grey, pixels
from toolchain.evaluation.photographs import PEOPLE, photograph
from toolchain.parity import metrics
from toolchain.parity.metrics import MetricInput

TRAINED_ON = 48
"""Training scenes whose mean mask is a trivial answer."""

MASK = TensorSpec("mask", (1, 1, 1, 1), "mask", low=0.0, high=1.0, tolerance=0.01)


def questions(inputs: tuple[TensorSpec, ...], scenes: int) -> Iterator[Question]:
    """Held-out portraits, then the photographs of people."""
    for number in range(scenes):
        view = scenery.view("portrait", HELD_OUT + number)
        yield _question("scenes", number, view.picture, view.people, inputs)
    for number, name in enumerate(PEOPLE):
        shown = photograph(name)
        yield _question("photographs", number, shown.picture, shown.subject, inputs)


def _question(
    where: Set, number: int, picture: Pixels, people: np.ndarray, inputs: tuple[TensorSpec, ...]
) -> Question:
    image, lies = to_tensor(picture, inputs[0])
    given = {inputs[0].name: image}
    for spec in inputs[1:]:
        given[spec.name] = np.zeros(spec.shape, np.float32)
    truth = label_tensor(people, inputs[0])[None]
    return Question(where, number, given, pixels(image, inputs[0]), truth, lies.target)


def marks(question: Question, answer: Answer) -> Marks:
    """IoU of the person, over both classes, and the F-measure of the contour."""
    return _marks(question, answer(question.inputs))


def _marks(question: Question, found: np.ndarray) -> dict[str, float]:
    want, got = question.cut(question.truth), question.cut(found)
    seen, other = (MetricInput(MASK, a, b, {}) for a, b in ((want, got), (1 - want, 1 - got)))
    person = metrics.iou(seen)
    mean = (person + metrics.iou(other)) / 2
    return {"IoU": person, "mean IoU": mean, "boundary F": metrics.boundary_f(seen)}


def marks_of_video(question: Question, answer: Answer) -> Marks:
    """The same for a first frame, and the IoU once the net has seen its own mask of it."""
    first = answer(question.inputs)
    (state,) = (name for name in question.inputs if name != "image")
    again = answer({**question.inputs, state: first})
    return _marks(question, first) | {"IoU, next frame": _marks(question, again)["IoU"]}


def shown(question: Question, answer: Answer) -> tuple[Pixels, Pixels, Pixels]:
    return question.picture, grey(question.truth), grey(answer(question.inputs))


def nobody(inputs: Tensors) -> np.ndarray:
    return np.zeros_like(inputs["image"][:, :1])


def usual_place(inputs: Tensors) -> np.ndarray:
    """Where people are in training scenes."""
    from PIL import Image

    height, width = inputs["image"].shape[2:]
    return np.asarray(Image.fromarray(_mean_mask()).resize((width, height)))[None, None]


@cache
def _mean_mask() -> np.ndarray:
    masks = [scenery.view("portrait", number).people for number in range(TRAINED_ON)]
    return np.mean(masks, axis=0, dtype=np.float32)


MEASURES = (Measure("IoU"), Measure("mean IoU"), Measure("boundary F"))
TRIVIAL = {"all background": nobody, "the usual place": usual_place}

PORTRAIT = Exam(questions, marks, MEASURES, TRIVIAL, shown)
PORTRAIT_VIDEO = Exam(
    questions, marks_of_video, (*MEASURES, Measure("IoU, next frame")), TRIVIAL, shown
)
