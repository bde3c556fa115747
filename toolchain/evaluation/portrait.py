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
from toolchain.evaluation.dataset import (
    EvalDataset,
    EvalMetric,
    EvalSample,
    MetricValues,
    Predict,
    Set,
    grey,
    pixels,
)
from toolchain.evaluation.photographs import PEOPLE, photograph
from toolchain.parity import metrics
from toolchain.parity.metrics import MetricInput

TRAINED_ON = 48
"""Training scenes whose mean mask is a trivial rule."""

MASK = TensorSpec("mask", (1, 1, 1, 1), "mask", low=0.0, high=1.0, tolerance=0.01)


def samples(inputs: tuple[TensorSpec, ...], scenes: int) -> Iterator[EvalSample]:
    """Held-out portraits, then the photographs of people."""
    for number in range(scenes):
        view = scenery.view("portrait", HELD_OUT + number)
        yield _sample("scenes", number, view.picture, view.people, inputs)
    for number, name in enumerate(PEOPLE):
        shown = photograph(name)
        yield _sample("photographs", number, shown.picture, shown.subject, inputs)


def _sample(
    where: Set, number: int, picture: Pixels, people: np.ndarray, inputs: tuple[TensorSpec, ...]
) -> EvalSample:
    image, lies = to_tensor(picture, inputs[0])
    given = {inputs[0].name: image}
    for spec in inputs[1:]:
        given[spec.name] = np.zeros(spec.shape, np.float32)
    truth = label_tensor(people, inputs[0])[None]
    return EvalSample(where, number, given, pixels(image, inputs[0]), truth, lies.target)


def compute_metrics(sample: EvalSample, predict: Predict) -> MetricValues:
    """IoU of the person, over both classes, and the F-measure of the contour."""
    return _metrics_of(sample, predict(sample.inputs))


def _metrics_of(sample: EvalSample, found: np.ndarray) -> dict[str, float]:
    want, got = sample.cut(sample.truth), sample.cut(found)
    seen, other = (MetricInput(MASK, a, b, {}) for a, b in ((want, got), (1 - want, 1 - got)))
    person = metrics.iou(seen)
    mean = (person + metrics.iou(other)) / 2
    return {"IoU": person, "mean IoU": mean, "boundary F": metrics.boundary_f(seen)}


def compute_video_metrics(sample: EvalSample, predict: Predict) -> MetricValues:
    """The same for a first frame, and the IoU once the net has seen its own mask of it."""
    first = predict(sample.inputs)
    (state,) = (name for name in sample.inputs if name != "image")
    again = predict({**sample.inputs, state: first})
    return _metrics_of(sample, first) | {"IoU, next frame": _metrics_of(sample, again)["IoU"]}


def shown(sample: EvalSample, predict: Predict) -> tuple[Pixels, Pixels, Pixels]:
    return sample.picture, grey(sample.truth), grey(predict(sample.inputs))


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


METRICS = (EvalMetric("IoU"), EvalMetric("mean IoU"), EvalMetric("boundary F"))
TRIVIAL = {"all background": nobody, "the usual place": usual_place}

PORTRAIT = EvalDataset(samples, compute_metrics, METRICS, TRIVIAL, shown)
PORTRAIT_VIDEO = EvalDataset(
    samples, compute_video_metrics, (*METRICS, EvalMetric("IoU, next frame")), TRIVIAL, shown
)
