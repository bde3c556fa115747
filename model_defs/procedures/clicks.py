"""Clicks of interactive selection: as maps for the net, simulated for training and evaluation.

A click is (x, y), masks are (H, W) bool. The simulator follows Xu 2016, section 3.2, with the
distances of Li 2018; the robot is the usual one of the literature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label

from model_defs.procedures.arrays import Mask, Point

LIMIT = 255.0
Strategy = Literal["background", "objects", "outline"]


@dataclass(frozen=True)
class Clicks:
    """Pixels that belong to the object, and pixels that do not."""

    positives: tuple[Point, ...] = ()
    negatives: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Sampling:
    """How clicks are simulated: distances in pixels, counts as inclusive ranges.

    `margin` lies between a click and the object's boundary, `step` between two clicks, and
    negative clicks keep to the `band` around the object.
    """

    margin: float = 5
    step: float = 10
    band: float = 40
    positives: tuple[int, int] = (1, 5)
    background: tuple[int, int] = (0, 10)
    others: tuple[int, int] = (0, 5)
    outline: int = 10


def click_maps(clicks: Clicks, size: tuple[int, int]) -> NDArray[np.float32]:
    """(2, H, W) in 0..1, positives then negatives: 255ths of the distance to the nearest click.

    `size` is (H, W). Distances are exact, in pixels, cut off at 255; a map without a click is 1
    everywhere.
    """
    return np.stack([_click_map(points, size) for points in (clicks.positives, clicks.negatives)])


def _click_map(points: Sequence[Point], size: tuple[int, int]) -> NDArray[np.float32]:
    if not points:
        return np.ones(size, np.float32)
    free = np.ones(size, bool)
    x, y = np.transpose(points)
    free[y, x] = False
    return (np.minimum(_distance_to(~free), LIMIT) / LIMIT).astype(np.float32)


def simulate(
    target: Mask,
    others: Sequence[Mask],
    strategy: Strategy,
    random: np.random.Generator,
    sampling: Sampling | None = None,
) -> Clicks:
    """Clicks that a user might give for `target`, a mask (H, W), among `others`.

    Negatives by strategy: `background`, anywhere in the band; `objects`, on each of the
    others; `outline`, spread evenly over the band. Fewer clicks than drawn where there is no
    room for more.
    """
    rules = sampling or Sampling()
    inside = _distance_to(~target) > rules.margin
    positives = _scatter(inside, _draw(random, rules.positives), rules.step, random)
    outside = _distance_to(target)
    band = (outside > rules.margin) & (outside <= rules.band)
    if strategy == "outline":
        negatives = _spread(band, rules.outline, rules.step, random)
    elif strategy == "background":
        negatives = _scatter(band, _draw(random, rules.background), rules.step, random)
    else:
        negatives = []
        for other in others:
            region = (_distance_to(~other) > rules.margin) & ~target
            negatives += _scatter(region, _draw(random, rules.others), rules.step, random)
    return Clicks(tuple(positives), tuple(negatives))


def _draw(random: np.random.Generator, bounds: tuple[int, int]) -> int:
    return int(random.integers(bounds[0], bounds[1], endpoint=True))


def _distance_to(mask: Mask) -> NDArray[np.float64]:
    """Pixels to the nearest true pixel; infinite where there is none."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    distances: NDArray[np.float64] = distance_transform_edt(~mask)
    return distances


def _distance_from(point: Point, size: tuple[int, ...]) -> NDArray[np.float64]:
    rows, columns = np.ogrid[: size[0], : size[1]]
    return np.hypot(columns - point[0], rows - point[1])


def _scatter(region: Mask, count: int, step: float, random: np.random.Generator) -> list[Point]:
    """Random pixels of a region, each farther than `step` from those before it."""
    region = region.copy()
    points: list[Point] = []
    while len(points) < count and region.any():
        rows, columns = np.nonzero(region)
        index = random.integers(len(rows))
        point = int(columns[index]), int(rows[index])
        region &= _distance_from(point, region.shape) > step
        points.append(point)
    return points


def _spread(region: Mask, count: int, step: float, random: np.random.Generator) -> list[Point]:
    """A random pixel of a region, then each time the one farthest from all and from its border."""
    points = _scatter(region, min(count, 1), step, random)
    free = _distance_to(~region)
    while points and len(points) < count:
        to_last = _distance_from(points[-1], region.shape)
        region = region & (to_last > step)
        free = np.minimum(free, to_last)
        if not region.any():
            break
        points.append(_argmax(np.where(region, free, -1)))
    return points


def next_click(predicted: Mask, target: Mask) -> tuple[Point, bool] | None:
    """The robot's click and whether it is positive; None where nothing is wrong.

    The pixel farthest from the border of the largest component (8-connected) that is missing
    or too much; the picture's edge is a border.
    """
    missing, too_much = (_largest(m) for m in (target & ~predicted, predicted & ~target))
    wrong, positive = (missing, True) if missing.sum() >= too_much.sum() else (too_much, False)
    if not wrong.any():
        return None
    depth = distance_transform_edt(np.pad(wrong, 1))[1:-1, 1:-1]
    return _argmax(depth), positive


def _argmax(values: NDArray) -> Point:
    row, column = np.unravel_index(np.argmax(values), values.shape)
    return int(column), int(row)


def _largest(mask: Mask) -> Mask:
    labels, count = label(mask, structure=np.ones((3, 3)))
    if count == 0:
        return mask
    largest: Mask = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    return largest


def clicks_needed(
    predict: Callable[[Clicks], Mask], target: Mask, iou: float = 0.85, limit: int = 20
) -> int:
    """How many clicks of the robot `predict` needs to reach `iou`; `limit` where it does not."""
    clicks, predicted = Clicks(), np.zeros_like(target)
    for count in range(1, limit + 1):
        step = next_click(predicted, target)
        if step is None:
            return count - 1
        point, positive = step
        if positive:
            clicks = Clicks((*clicks.positives, point), clicks.negatives)
        else:
            clicks = Clicks(clicks.positives, (*clicks.negatives, point))
        predicted = predict(clicks)
        if (predicted & target).sum() >= iou * (predicted | target).sum():
            return count
    return limit
