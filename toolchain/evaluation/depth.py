"""Relative depth: errors in metres once the scale is known, and whether the order is right."""

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
    grey,
    pixels,
)
from toolchain.evaluation.photographs import photographs_without_truth
from toolchain.parity import metrics
from toolchain.parity.metrics import MetricInput

TRAINED_ON = 48
"""Training scenes whose mean nearness is a trivial rule."""

LEAST = 0.02
"""The least inverse depth that is turned into a depth: 50 times as far as the nearest."""

MAP = TensorSpec("depth", (1, 1, 1, 1), "map", unit="m", tolerance=0.01)
KINDS: tuple[scenery.Kind, scenery.Kind] = ("portrait", "still")


def samples(inputs: tuple[TensorSpec, ...], scenes: int) -> Iterator[EvalSample]:
    """Held-out scenes of both kinds, their truth in metres; photographs have none and are shown."""
    for number in range(scenes):
        view = scenery.view(KINDS[number % 2], HELD_OUT + number)
        image, lies = to_tensor(view.picture, inputs[0])
        truth = label_tensor(view.depth, inputs[0])[None]
        shown = pixels(image, inputs[0])
        yield EvalSample("scenes", number, {inputs[0].name: image}, shown, truth, lies.target)
    yield from photographs_without_truth(inputs)


def compute_metrics(sample: EvalSample, predict: Predict) -> MetricValues:
    """On depth in metres, after scaling by the ratio of the medians (Eigen 2014's metrics)."""
    if not sample.truth.any():
        return {}
    metres = sample.cut(sample.truth).astype(np.float64)
    nearness = np.maximum(sample.cut(predict(sample.inputs)).astype(np.float64), LEAST)
    found = 1 / nearness
    found *= np.median(metres) / np.median(found)
    seen = MetricInput(MAP, metres, found, {})
    inverse = MetricInput(MAP, metres.min() / metres, nearness, {})
    values = {
        "AbsRel": metrics.abs_rel(seen),
        "RMSE": float(np.sqrt(np.mean((found - metres) ** 2))),
        "delta1": metrics.delta1(seen),
        "ordinal": metrics.ordinal(inverse),
    }
    return {name: value for name, value in values.items() if value is not None}


def shown(sample: EvalSample, predict: Predict) -> tuple[Pixels, Pixels, Pixels]:
    truth = sample.truth
    nearness = truth[truth > 0].min() / np.maximum(truth, 1e-6) if truth.any() else truth
    found = predict(sample.inputs)
    return sample.picture, grey(nearness), grey(found / max(float(found.max()), 1e-6))


def one_distance(inputs: Tensors) -> np.ndarray:
    return np.ones_like(inputs["image"][:, :1])


def usual_depth(inputs: Tensors) -> np.ndarray:
    """The mean over training scenes: near at the bottom and in the middle."""
    from PIL import Image

    height, width = inputs["image"].shape[2:]
    return np.asarray(Image.fromarray(_mean_nearness()).resize((width, height)))[None, None]


@cache
def _mean_nearness() -> np.ndarray:
    views = [scenery.view(KINDS[number % 2], number) for number in range(TRAINED_ON)]
    return np.mean([view.depth.min() / view.depth for view in views], axis=0, dtype=np.float32)


DEPTH = EvalDataset(
    samples,
    compute_metrics,
    (
        EvalMetric("AbsRel", higher=False),
        EvalMetric("RMSE", "m", higher=False),
        EvalMetric("delta1"),
        EvalMetric("ordinal"),
    ),
    {"one distance": one_distance, "mean depth of each place": usual_depth},
    shown,
)
