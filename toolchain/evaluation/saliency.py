"""Saliency: how the maps agree with the rule's (no person's looks were recorded)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from converters.api import Tensors
from model_defs.pixels import label_tensor, to_tensor
from model_defs.procedures.arrays import Pixels
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
    grey,
    pixels,
)
from toolchain.evaluation.photographs import photographs_without_truth
from toolchain.parity import metrics
from toolchain.parity.metrics import MetricInput
from toolchain.training.augment import resized

LOOKS = 100
"""Fixations drawn from a map."""

MAP = TensorSpec("saliency", (1, 1, 1, 1), "map", low=0.0, tolerance=0.01)
KINDS: tuple[scenery.Kind, scenery.Kind] = ("portrait", "still")


def samples(inputs: tuple[TensorSpec, ...], scenes: int) -> Iterator[EvalSample]:
    """Held-out scenes of both kinds, of the input's shape; photographs are only shown."""
    _, _, height, width = inputs[0].shape
    for number in range(scenes):
        whole = scenery.view(KINDS[number % 2], HELD_OUT + number)
        top = 64 * (number % 2)  # portraits from their upper edge, things from the lower one
        view = resized(whole, (0, top, 256, top + 192), height, width)
        image, lies = to_tensor(view.picture, inputs[0])
        truth = label_tensor(labels.saliency(view), inputs[0])[None]
        shown = pixels(image, inputs[0])
        yield EvalSample("scenes", number, {inputs[0].name: image}, shown, truth, lies.target)
    yield from photographs_without_truth(inputs)


def compute_metrics(sample: EvalSample, predict: Predict) -> MetricValues:
    """CC, KL, NSS, and the overlap of the crops that hold the most (Bylinskii 2019)."""
    if not sample.truth.any():
        return {}
    want = sample.cut(sample.truth).astype(np.float64)
    got = sample.cut(_at(predict(sample.inputs), sample.truth)).astype(np.float64)
    seen = MetricInput(MAP, want, got, {})
    looks = metrics.fixations(want, LOOKS, np.random.default_rng(sample.number))
    values = {
        "CC": metrics.correlation(seen),
        "KL": metrics.kl(seen),
        "NSS": metrics.scanpath(seen, looks),
        "crop IoU": metrics.crop_agreement(seen),
    }
    return {name: value for name, value in values.items() if value is not None}


def _at(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """A map, twice as large as the input, at the truth's size: the mean of each 2 x 2."""
    rows, columns = (a // b for a, b in zip(found.shape[2:], truth.shape[2:], strict=True))
    if rows == columns == 1:
        return found
    _, _, height, width = truth.shape
    return found.reshape(1, 1, height, rows, width, columns).mean((3, 5))


def shown(sample: EvalSample, predict: Predict) -> tuple[Pixels, Pixels, Pixels]:
    found = _at(predict(sample.inputs), sample.truth)
    return sample.picture, grey(sample.truth), grey(found / max(float(found.max()), 1e-6))


def everywhere(inputs: Tensors) -> np.ndarray:
    """The same everywhere, but for a corner: a constant has no correlation."""
    plane = np.ones_like(inputs["image"][:, :1])
    plane[..., 0, 0] = 0.99
    return plane


def centre(inputs: Tensors) -> np.ndarray:
    """A Gaussian in the middle, a quarter of the picture wide."""
    height, width = inputs["image"].shape[2:]
    rows, columns = np.indices((height, width))
    squared = ((rows + 0.5) / height - 0.5) ** 2 + ((columns + 0.5) / width - 0.5) ** 2
    return np.exp(-squared / (2 * 0.25**2)).astype(np.float32)[None, None]


SALIENCY = EvalDataset(
    samples,
    compute_metrics,
    (EvalMetric("CC"), EvalMetric("KL", higher=False), EvalMetric("NSS"), EvalMetric("crop IoU")),
    {"everywhere the same": everywhere, "centre prior": centre},
    shown,
    scenes=32,
)
