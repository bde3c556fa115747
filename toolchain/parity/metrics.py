"""Measures that fit what an output means: masks, depth, saliency, pictures.

They say how much a difference matters; the verdict is the tolerance's, or the one's that the
specification names (`shortfall`). All take `want` (PyTorch's) and `got` as (1, C, H, W) float
arrays of one shape, and are finite for finite ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from converters.api import Tensors
from model_defs.spec import TensorSpec
from toolchain.recipes.sensitivity import of_tolerance

EPSILON = 2.2204e-16
"""MATLAB's eps, which the saliency benchmarks add to avoid dividing by 0."""

PAIRS = 4096
CEILING = 200.0
"""What PSNR is for equal arrays, in dB, instead of infinity."""


@dataclass(frozen=True)
class MetricInput:
    """What a metric sees: one output, as expected and as computed, and the model's inputs."""

    spec: TensorSpec
    want: np.ndarray
    got: np.ndarray
    inputs: Tensors

    @property
    def range(self) -> float:
        """The width of the output's range; of PyTorch's values where none is declared."""
        low, high = self.spec.low, self.spec.high
        if low is not None and high is not None:
            return high - low
        return float(np.ptp(self.want)) or 1.0


@dataclass(frozen=True)
class Metric:
    """A named measure; `worst` picks the worst of several values: min or max."""

    name: str
    measure: Callable[[MetricInput], float | None]
    worst: Callable[[list[float]], float]
    unit: str = ""


def measure(
    spec: TensorSpec, inputs: Tensors, want: np.ndarray, got: np.ndarray
) -> dict[str, float]:
    """The metrics of this kind of output, and the one that it names; those that apply, by name."""
    seen = MetricInput(spec, want.astype(np.float64), got.astype(np.float64), inputs)
    own = (named(spec.metric),) if spec.measured is not None else ()
    values = {metric.name: metric.measure(seen) for metric in (*FAMILIES[family(spec)], *own)}
    return {name: float(value) for name, value in values.items() if value is not None}


def named(name: str) -> Metric:
    """The metric that a specification calls so."""
    return next(one for found in FAMILIES.values() for one in found if one.name == name)


def shortfall(
    spec: TensorSpec, inputs: Tensors, want: np.ndarray, got: np.ndarray
) -> tuple[float, float, str]:
    """How far the measure that a spec names is from its best, how far it may be, and in words.

    Of decibels it is the root mean square error, as a share of the range. Not a number where the
    measure does not apply to the output.
    """
    judge, limit = spec.measured, spec.limit
    assert judge is not None
    assert limit is not None
    metric = named(spec.metric)
    value = metric.measure(
        MetricInput(spec, want.astype(np.float64), got.astype(np.float64), inputs)
    )
    if value is None:
        return float("nan"), float("nan"), f"{spec.metric} does not apply to it"
    side = "at least" if judge.more else "at most"
    words = f"{spec.metric} {value:.4g}, {side} {limit:g}"
    if metric.unit == "dB":
        return 10 ** (-value / 20), 10 ** (-limit / 20), words
    return abs(judge.best - value), abs(judge.best - limit), words


def used(spec: TensorSpec, inputs: Tensors, got: np.ndarray, want: np.ndarray) -> float:
    """How much of its tolerance an output uses up, or of what its measure may lose; see `Judge`."""
    shares = [of_tolerance(spec, inputs, got, want)] if spec.tolerance is not None else []
    if spec.measured is not None and np.isfinite(got).all():
        error, allowed, _ = shortfall(spec, inputs, want, got)
        shares.append(float(error / allowed))
    return max((s if np.isfinite(s) else np.inf for s in shares), default=np.inf)


def family(spec: TensorSpec) -> str:
    """The key of FAMILIES for an output, by its type and kind, and by name and unit for maps."""
    if not spec.is_float:
        return "labels"
    words = f"{spec.name} {spec.unit}".lower()
    if spec.kind == "map" and ("depth" in words or spec.unit == "m"):
        return "depth"
    if spec.kind == "map" and "salien" in words:
        return "saliency"
    return spec.kind if spec.kind in FAMILIES else "map"


def psnr(seen: MetricInput) -> float:
    """Peak signal-to-noise ratio: 10 log10(range^2 / mean squared error), in dB."""
    return _decibels(seen.range, seen.want - seen.got)


def _decibels(peak: float, difference: np.ndarray) -> float:
    mse = float(np.mean(np.square(difference)))
    return CEILING if mse == 0 else min(CEILING, 10 * float(np.log10(peak**2 / mse)))


def iou(seen: MetricInput) -> float:
    """Intersection over union (Jaccard) of the masks, split at mid-range; 1 if both are empty."""
    a, b = _binary(seen, seen.want), _binary(seen, seen.got)
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0


def _binary(seen: MetricInput, values: np.ndarray) -> np.ndarray:
    low = seen.spec.low or 0.0
    high = 1.0 if seen.spec.high is None else seen.spec.high
    return np.asarray(values > (low + high) / 2)


def agreement(seen: MetricInput) -> float:
    """The share of labels that are PyTorch's."""
    return float((seen.want == seen.got).mean())


def mean_iou(seen: MetricInput) -> float:
    """Intersection over union of each label that is in either, averaged."""
    each = []
    for label in np.union1d(seen.want, seen.got):
        a, b = seen.want == label, seen.got == label
        each.append(np.logical_and(a, b).sum() / np.logical_or(a, b).sum())
    return float(np.mean(each))


def boundary_f(seen: MetricInput) -> float:
    """F-measure of the masks' contours, matched within 0.8 % of the diagonal.

    Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object
    Segmentation, CVPR 2016, section 4; distances instead of their morphological matching.
    """
    from scipy import ndimage

    a, b = (_contour(_binary(seen, v)[0, 0]) for v in (seen.want, seen.got))
    if not a.any() or not b.any():
        return float(a.any() == b.any())
    reach = 0.008 * float(np.hypot(a.shape[0], a.shape[1]))
    precision = float((ndimage.distance_transform_edt(~a)[b] <= reach).mean())
    recall = float((ndimage.distance_transform_edt(~b)[a] <= reach).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _contour(mask: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return mask & ~ndimage.binary_erosion(mask, border_value=1)


def abs_rel(seen: MetricInput) -> float | None:
    """Mean of |d - d*| / d* where d* > 0 (Eigen et al., NIPS 2014)."""
    valid = seen.want > 0
    if not valid.any():
        return None
    want = seen.want[valid]
    return float(np.mean(np.abs(seen.got[valid] - want) / want))


def delta1(seen: MetricInput) -> float | None:
    """Share of d* > 0 with max(d/d*, d*/d) < 1.25 (Ladicky et al., CVPR 2014)."""
    valid = seen.want > 0
    if not valid.any():
        return None
    want, got = seen.want[valid], np.maximum(seen.got[valid], EPSILON)
    return float(np.mean(np.maximum(got / want, want / got) < 1.25))


def ordinal(seen: MetricInput) -> float:
    """Share of point pairs in the same order: nearer, farther, or within 2 % of the range.

    After Chen et al., Single-Image Depth Perception in the Wild, NIPS 2016; 4096 pairs under
    seed 0.
    """
    flat_want, flat_got = seen.want.ravel(), seen.got.ravel()
    a, b = np.random.default_rng(0).integers(0, flat_want.size, (2, PAIRS))
    same = 0.02 * (float(np.ptp(flat_want)) or 1.0)
    want, got = _order(flat_want[a] - flat_want[b], same), _order(flat_got[a] - flat_got[b], same)
    return float(np.mean(want == got))


def _order(difference: np.ndarray, same: float) -> np.ndarray:
    return np.where(np.abs(difference) <= same, 0, np.sign(difference))


def correlation(seen: MetricInput) -> float | None:
    """Pearson's correlation coefficient, CC in Bylinskii et al., TPAMI 2019."""
    want, got = seen.want - seen.want.mean(), seen.got - seen.got.mean()
    scale = float(np.sqrt((want**2).sum() * (got**2).sum()))
    return float((want * got).sum()) / scale if scale else None


def kl(seen: MetricInput) -> float | None:
    """Kullback-Leibler divergence of the maps as distributions (Bylinskii et al., TPAMI 2019)."""
    want, got = np.maximum(seen.want, 0), np.maximum(seen.got, 0)
    if not want.sum() or not got.sum():
        return None
    p, q = want / want.sum(), got / got.sum()
    return float(np.sum(p * np.log(EPSILON + p / (q + EPSILON))))


def scanpath(seen: MetricInput, looks: np.ndarray) -> float | None:
    """The mean of the standardised map where people looked, NSS (Bylinskii et al., TPAMI 2019).

    `looks` counts how often, in the map's shape.
    """
    spread = float(seen.got.std())
    if not spread or not looks.sum():
        return None
    return float(((seen.got - seen.got.mean()) / spread * looks).sum() / looks.sum())


def fixations(density: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """How often each place of a map is looked at, when `count` looks are drawn from it."""
    cumulated = density.ravel().cumsum(dtype=np.float64)
    at = np.searchsorted(cumulated, random.random(count) * cumulated[-1], side="right")
    counts = np.bincount(at.clip(max=density.size - 1), minlength=density.size)
    return counts.reshape(density.shape)


def crop_agreement(seen: MetricInput) -> float:
    """Intersection over union of the two crops of half the area that hold the most saliency."""
    (top, left), (y, x) = (_best_crop(v[0, 0]) for v in (seen.want, seen.got))
    height, width = _crop_size(seen.want[0, 0])
    rows, columns = max(0, height - abs(top - y)), max(0, width - abs(left - x))
    shared = rows * columns
    return shared / (2 * height * width - shared)


def _crop_size(plane: np.ndarray) -> tuple[int, int]:
    return max(1, round(plane.shape[0] * 0.5**0.5)), max(1, round(plane.shape[1] * 0.5**0.5))


def _best_crop(plane: np.ndarray) -> tuple[int, int]:
    """The top left corner of the window with the largest sum, by its summed-area table."""
    height, width = _crop_size(plane)
    table = np.pad(plane.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = (
        table[height:, width:]
        - table[:-height, width:]
        - table[height:, :-width]
        + table[:-height, :-width]
    )
    y, x = np.unravel_index(np.argmax(sums), sums.shape)
    return int(y), int(x)


def ssim(seen: MetricInput) -> float:
    """Mean structural similarity over an 11 x 11 Gaussian of 1.5 (Wang et al., TIP 2004)."""
    return float(_ssim_map(seen).mean())


def _ssim_map(seen: MetricInput) -> np.ndarray:
    c1, c2 = (0.01 * seen.range) ** 2, (0.03 * seen.range) ** 2
    a, b = seen.want, seen.got
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    both = _blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    bottom = (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return np.asarray(top / bottom)


def _blur(values: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter(values, (0, 0, 1.5, 1.5), truncate=3.5))


def hole_l1(seen: MetricInput) -> float | None:
    """The mean absolute error inside the hole only, in 255ths of the range."""
    hole = _hole(seen)
    if hole is None or not hole.any():
        return None
    return float(np.abs(seen.want - seen.got)[hole].mean()) / seen.range * 255


def hole_psnr(seen: MetricInput) -> float | None:
    """PSNR inside the hole only."""
    hole = _hole(seen)
    if hole is None or not hole.any():
        return None
    return _decibels(seen.range, (seen.want - seen.got)[hole])


def hole_ssim(seen: MetricInput) -> float | None:
    """SSIM averaged over the hole only."""
    hole = _hole(seen)
    return None if hole is None or not hole.any() else float(_ssim_map(seen)[hole].mean())


def changed_outside(seen: MetricInput) -> float | None:
    """How many values outside the hole are not bit for bit those of the input picture.

    None unless PyTorch keeps them all: then it is the app that pastes the hole in.
    """
    hole, image = _hole(seen), seen.inputs.get("image")
    if hole is None or image is None or image.shape != seen.want.shape or hole.all():
        return None
    if np.any(seen.want[~hole] != image[~hole]):
        return None
    return float(np.sum(seen.got[~hole] != image[~hole]))


def _hole(seen: MetricInput) -> np.ndarray | None:
    mask = seen.inputs.get("mask")
    if mask is None or mask.shape[2:] != seen.want.shape[2:]:
        return None
    return np.broadcast_to(mask > 0.5, seen.want.shape)


_PSNR = Metric("PSNR", psnr, min, "dB")

FAMILIES: dict[str, tuple[Metric, ...]] = {
    "mask": (Metric("IoU", iou, min), Metric("boundary F", boundary_f, min), _PSNR),
    "labels": (Metric("agreement", agreement, min), Metric("mean IoU", mean_iou, min)),
    "depth": (
        Metric("AbsRel", abs_rel, max),
        Metric("delta1", delta1, min),
        Metric("ordinal", ordinal, min),
        _PSNR,
    ),
    "saliency": (
        Metric("CC", correlation, min),
        Metric("KL", kl, max),
        Metric("crop", crop_agreement, min),
        _PSNR,
    ),
    "image": (
        Metric("hole PSNR", hole_psnr, min, "dB"),
        Metric("hole SSIM", hole_ssim, min),
        Metric("changed outside", changed_outside, max),
        Metric("SSIM", ssim, min),
        _PSNR,
    ),
    "map": (_PSNR,),
}
"""The metrics of each family of outputs, the telling ones first."""
