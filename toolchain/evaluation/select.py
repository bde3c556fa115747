"""Interactive selection: how many clicks of the robot an object takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from converters.api import Tensors
from model_defs.pixels import label_tensor, to_tensor
from model_defs.procedures.arrays import Mask, Pixels
from model_defs.procedures.clicks import Clicks, click_maps, next_click
from model_defs.scenes import labels
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
from toolchain.evaluation.photographs import FILES, photograph
from toolchain.parity import metrics
from toolchain.parity.metrics import MetricInput

LIMIT = 20
"""Clicks after which the robot gives up; an object that it gave up counts as so many."""

LEAST = 0.01
"""The share of the picture below which an object is left out."""

SIDE = 512
ONE_CLICK = "IoU, 1 click"
KINDS: tuple[scenery.Kind, scenery.Kind] = ("portrait", "still")
MASK = TensorSpec("mask", (1, 1, 1, 1), "mask", low=0.0, high=1.0, tolerance=0.01)


def samples(inputs: tuple[TensorSpec, ...], scenes: int) -> Iterator[EvalSample]:
    """An object of each held-out scene, then the subjects of the photographs."""
    for number in range(scenes):
        view = scenery.view(KINDS[number % 2], HELD_OUT + number, SIDE)
        found = [mask for mask in labels.objects(view) if mask.mean() > LEAST]
        if found:
            target = found[int(np.random.default_rng(number).integers(len(found)))]
            yield _sample("scenes", number, view.picture, target, inputs)
    for number, name in enumerate(FILES):
        shown = photograph(name)
        yield _sample("photographs", number, shown.picture, shown.subject, inputs)


def _sample(
    where: Set, number: int, picture: Pixels, target: Mask, inputs: tuple[TensorSpec, ...]
) -> EvalSample:
    image, lies = to_tensor(picture, inputs[0])
    nothing = np.ones(inputs[1].shape, np.float32)
    given = {inputs[0].name: image, inputs[1].name: nothing}
    truth = label_tensor(target, inputs[0])[None]
    return EvalSample(where, number, given, pixels(image, inputs[0]), truth, lies.target)


@dataclass(frozen=True)
class ClickStep:
    """What came of the robot's clicks so far."""

    clicks: Clicks
    found: np.ndarray
    iou: float


def steps(
    sample: EvalSample, predict: Predict, enough: float, limit: int = LIMIT
) -> Iterator[ClickStep]:
    """Click after click, each in the middle of the largest mistake, until the IoU is enough."""
    target: Mask = sample.truth[0, 0] > 0.5
    clicks, predicted = Clicks(), np.zeros_like(target)
    for _ in range(limit):
        wrong = next_click(predicted, target)
        if wrong is None:
            return
        point, positive = wrong
        clicks = (
            Clicks((*clicks.positives, point), clicks.negatives)
            if positive
            else Clicks(clicks.positives, (*clicks.negatives, point))
        )
        maps = click_maps(clicks, (target.shape[0], target.shape[1]))[None]
        found = predict({**sample.inputs, "clicks": maps})
        iou = metrics.iou(MetricInput(MASK, sample.cut(sample.truth), sample.cut(found), {}))
        yield ClickStep(clicks, found, iou)
        if iou >= enough:
            return
        inside = np.zeros_like(target)
        left, top, right, bottom = sample.box
        inside[top:bottom, left:right] = True
        predicted = (found[0, 0] > 0.5) & inside


def compute_metrics(sample: EvalSample, predict: Predict) -> MetricValues:
    """Clicks to 85 and 90 % IoU; IoU after 1 click; IoU and contour after 5, or when done."""
    taken = list(steps(sample, predict, enough=0.9))
    fifth = taken[min(4, len(taken) - 1)]
    seen = MetricInput(MASK, sample.cut(sample.truth), sample.cut(fifth.found), {})
    return {
        "NoC@85": _needed(taken, 0.85),
        "NoC@90": _needed(taken, 0.9),
        ONE_CLICK: taken[0].iou,
        "IoU, 5 clicks": fifth.iou,
        "boundary F, 5 clicks": metrics.boundary_f(seen),
    }


def first_click(sample: EvalSample, predict: Predict) -> MetricValues:
    """IoU after the first click alone."""
    (step,) = steps(sample, predict, enough=0.9, limit=1)
    return {ONE_CLICK: step.iou}


def _needed(taken: list[ClickStep], iou: float) -> float:
    return next((float(n) for n, step in enumerate(taken, 1) if step.iou >= iou), float(LIMIT))


def shown(sample: EvalSample, predict: Predict) -> tuple[Pixels, Pixels, Pixels]:
    """After up to 5 clicks, which are drawn green and red."""
    picture = sample.picture.copy()
    *_, last = list(steps(sample, predict, enough=0.9))[:5]
    for points, colour in (
        (last.clicks.positives, (0, 255, 0)),
        (last.clicks.negatives, (255, 0, 0)),
    ):
        for x, y in points:
            picture[max(0, y - 7) : y + 8, max(0, x - 7) : x + 8] = colour
    return picture, grey(sample.truth), grey(last.found)


def nothing(inputs: Tensors) -> np.ndarray:
    return np.zeros_like(inputs["image"][:, :1])


def discs(inputs: Tensors) -> np.ndarray:
    """A disc of 50 pixels around each positive click, as far as a negative one is not nearer."""
    positive, negative = inputs["clicks"][:, :1], inputs["clicks"][:, 1:]
    return ((positive < 50 / 255) & (positive < negative)).astype(np.float32)


SELECT = EvalDataset(
    samples,
    compute_metrics,
    (
        EvalMetric("NoC@85", "clicks", higher=False, digits=1),
        EvalMetric("NoC@90", "clicks", higher=False, digits=1),
        EvalMetric(ONE_CLICK),
        EvalMetric("IoU, 5 clicks"),
        EvalMetric("boundary F, 5 clicks"),
    ),
    {"all background": nothing, "discs around the clicks": discs},
    shown,
    scenes=16,
    quick={ONE_CLICK: first_click},
    steady=ONE_CLICK,
)
