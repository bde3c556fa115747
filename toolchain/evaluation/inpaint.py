"""Inpainting: errors inside the hole, where the truth was covered."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import distance_transform_edt

from converters.api import Tensors
from model_defs.pixels import to_tensor
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
    Set,
    pixels,
)
from toolchain.evaluation.photographs import FILES, photograph
from toolchain.parity import metrics
from toolchain.parity.metrics import MetricInput

KINDS: tuple[scenery.Kind, scenery.Kind] = ("portrait", "still")


def samples(inputs: tuple[TensorSpec, ...], scenes: int) -> Iterator[EvalSample]:
    """Held-out scenes of both kinds and photographs, each with a hole."""
    for number in range(scenes):
        view = scenery.view(KINDS[number % 2], HELD_OUT + number, 512)
        yield _sample("scenes", number, view.picture, inputs)
    for number, name in enumerate(FILES):
        yield _sample("photographs", number, photograph(name).picture, inputs)


def _sample(where: Set, number: int, picture: Pixels, inputs: tuple[TensorSpec, ...]) -> EvalSample:
    image, lies = to_tensor(picture, inputs[0])
    hole = holes(number, *inputs[1].shape[2:])
    given = {inputs[0].name: image, inputs[1].name: hole}
    return EvalSample(where, number, given, pixels(image, inputs[0]), image, lies.target)


def holes(number: int, height: int, width: int) -> np.ndarray:
    """Rectangles and strokes in turn, (1, 1, H, W); rectangles are an eighth to a quarter of the
    sides here, as what people remove is."""
    random = np.random.default_rng((number, 8))
    if number % 2:
        hole = labels.strokes(random, height, width)
    else:
        hole = np.zeros((height, width), bool)
        h, w = (round(side * random.uniform(0.125, 0.25)) for side in (height, width))
        top, left = int(random.integers(height - h)), int(random.integers(width - w))
        hole[top : top + h, left : left + w] = True
    return hole[None, None].astype(np.float32)


def compute_metrics(sample: EvalSample, predict: Predict) -> MetricValues:
    """Mean absolute error (of 255), PSNR and SSIM, inside the hole only."""
    found = predict(sample.inputs)
    spec = TensorSpec("result", (1, 3, 1, 1), "image", low=-1.0, high=1.0, tolerance=0.02)
    seen = MetricInput(
        spec, sample.truth.astype(np.float64), found.astype(np.float64), sample.inputs
    )
    values = {
        "L1": metrics.hole_l1(seen),
        "PSNR": metrics.hole_psnr(seen),
        "SSIM": metrics.hole_ssim(seen),
    }
    return {name: value for name, value in values.items() if value is not None}


def shown(sample: EvalSample, predict: Predict) -> tuple[Pixels, Pixels, Pixels]:
    hole = sample.inputs["mask"]
    covered = sample.truth * (1 - hole) + hole
    planes = (covered, sample.truth, predict(sample.inputs))
    pictures = [np.rint((plane[0].transpose(1, 2, 0) + 1) * 127.5) for plane in planes]
    first, second, third = (shown.clip(0, 255).astype(np.uint8) for shown in pictures)
    return first, second, third


def mean_colour(inputs: Tensors) -> np.ndarray:
    """The hole in the mean colour of what is known."""
    image, hole = inputs["image"], inputs["mask"]
    known = 1 - hole
    mean = (image * known).sum((2, 3), keepdims=True) / max(float(known.sum()), 1)
    return np.asarray(image * known + mean * hole)


def nearest_pixel(inputs: Tensors) -> np.ndarray:
    """Each pixel of the hole as the nearest one outside of it."""
    image, hole = inputs["image"], inputs["mask"][0, 0] > 0.5
    at = distance_transform_edt(hole, return_distances=False, return_indices=True)
    return np.asarray(image[:, :, at[0], at[1]])


INPAINT = EvalDataset(
    samples,
    compute_metrics,
    (
        EvalMetric("L1", "of 255", higher=False, digits=2),
        EvalMetric("PSNR", "dB", digits=2),
        EvalMetric("SSIM"),
    ),
    {"mean colour": mean_colour, "nearest pixel": nearest_pixel},
    shown,
    scenes=12,
)
