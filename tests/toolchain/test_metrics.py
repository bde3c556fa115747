"""Every metric against a value that is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from model_defs.spec import TensorSpec
from toolchain.parity import metrics
from toolchain.parity.metrics import CEILING, FAMILIES, MetricInput, family, measure

RANDOM = np.random.default_rng(0)


def plane(values: object) -> np.ndarray:
    """(H, W) -> (1, 1, H, W)."""
    return np.asarray(values, np.float64)[None, None]


def seen(want: np.ndarray, got: np.ndarray, **inputs: np.ndarray) -> MetricInput:
    spec = TensorSpec("y", want.shape, "map", low=0, high=1, tolerance=1)
    return MetricInput(spec, want, got, inputs)


def box(top: int, left: int, height: int, width: int, side: int = 20) -> np.ndarray:
    values = np.zeros((side, side))
    values[top : top + height, left : left + width] = 1
    return plane(values)


NOISE = plane(RANDOM.random((20, 20)))


class TestPsnr:
    def test_a_constant_error_of_a_tenth_is_20_db(self) -> None:
        assert metrics.psnr(seen(NOISE, NOISE + 0.1)) == pytest.approx(20)

    def test_the_range_counts(self) -> None:
        spec = TensorSpec("y", NOISE.shape, "map", low=0, high=10, tolerance=1)
        found = metrics.psnr(MetricInput(spec, NOISE, NOISE + 0.1, {}))
        assert found == pytest.approx(40)

    def test_equal_arrays_are_at_the_ceiling(self) -> None:
        assert metrics.psnr(seen(NOISE, NOISE)) == CEILING


class TestMasks:
    def test_iou_of_shifted_boxes(self) -> None:
        assert metrics.iou(seen(box(0, 0, 4, 4), box(0, 2, 4, 4))) == pytest.approx(8 / 24)

    def test_iou_of_empty_masks(self) -> None:
        assert metrics.iou(seen(box(0, 0, 0, 0), box(0, 0, 0, 0))) == 1
        assert metrics.iou(seen(box(0, 0, 2, 2), box(0, 0, 0, 0))) == 0

    def test_contours_that_agree(self) -> None:
        assert metrics.boundary_f(seen(box(3, 3, 8, 8), box(3, 3, 8, 8))) == 1

    def test_contours_that_are_nowhere_near(self) -> None:
        assert metrics.boundary_f(seen(box(0, 0, 5, 5), box(12, 12, 5, 5))) == 0

    def test_half_of_a_contour_is_a_recall_of_half(self) -> None:
        both = box(2, 2, 3, 3) + box(12, 12, 3, 3)
        found = metrics.boundary_f(seen(both, box(2, 2, 3, 3)))
        assert found == pytest.approx(2 * 1 * 0.5 / 1.5)

    def test_one_empty_contour(self) -> None:
        assert metrics.boundary_f(seen(box(2, 2, 3, 3), box(0, 0, 0, 0))) == 0
        assert metrics.boundary_f(seen(box(0, 0, 0, 0), box(0, 0, 0, 0))) == 1


class TestDepth:
    def test_ten_per_cent_too_far(self) -> None:
        want = NOISE + 1
        assert metrics.abs_rel(seen(want, want * 1.1)) == pytest.approx(0.1)
        assert metrics.delta1(seen(want, want * 1.1)) == 1

    def test_a_factor_of_1_25_is_outside(self) -> None:
        want = NOISE + 1
        assert metrics.delta1(seen(want, want * 1.26)) == 0
        assert metrics.delta1(seen(want, want / 1.26)) == 0

    def test_nothing_valid(self) -> None:
        assert metrics.abs_rel(seen(NOISE * 0, NOISE)) is None
        assert metrics.delta1(seen(NOISE * 0, NOISE)) is None

    def test_order_survives_what_keeps_it_and_not_what_turns_it(self) -> None:
        assert metrics.ordinal(seen(NOISE, NOISE)) == 1
        assert metrics.ordinal(seen(NOISE, 1 - NOISE)) < 0.1
        assert metrics.ordinal(seen(NOISE, NOISE * 0)) < 0.1


class TestSaliency:
    def test_correlation(self) -> None:
        assert metrics.correlation(seen(NOISE, NOISE * 3 + 1)) == pytest.approx(1)
        assert metrics.correlation(seen(NOISE, -NOISE)) == pytest.approx(-1)
        assert metrics.correlation(seen(NOISE, NOISE * 0)) is None

    def test_divergence_from_a_uniform_map(self) -> None:
        """One cell against four equal ones: log 4."""
        one, four = plane([[1, 0], [0, 0]]), plane([[1, 1], [1, 1]])
        assert metrics.kl(seen(one, four)) == pytest.approx(np.log(4))
        assert metrics.kl(seen(NOISE, NOISE * 7)) == pytest.approx(0, abs=1e-12)
        assert metrics.kl(seen(NOISE, NOISE * 0)) is None

    def test_crops_that_lie_apart(self) -> None:
        """Windows of 14 of 20: in opposite corners they share 8 x 8."""
        left, right = plane(np.zeros((20, 20))), plane(np.zeros((20, 20)))
        left[0, 0, 0, 0] = right[0, 0, -1, -1] = 1
        assert metrics.crop_agreement(seen(left, right)) == pytest.approx(64 / (2 * 196 - 64))
        assert metrics.crop_agreement(seen(left, left)) == 1


class TestPictures:
    def test_ssim_of_two_greys(self) -> None:
        """Without structure only the luminance term is left."""
        a, b = plane(np.full((20, 20), 0.4)), plane(np.full((20, 20), 0.6))
        c1 = 0.01**2
        assert metrics.ssim(seen(a, b)) == pytest.approx((2 * 0.24 + c1) / (0.52 + c1))
        assert metrics.ssim(seen(NOISE, NOISE)) == pytest.approx(1)
        assert metrics.ssim(seen(NOISE, 1 - NOISE)) < 0

    def test_the_hole_alone_is_judged(self) -> None:
        hole = box(5, 5, 6, 6)
        assert metrics.hole_psnr(seen(NOISE, NOISE + hole * 0.1, mask=hole)) == pytest.approx(20)
        outside = seen(NOISE, NOISE + (1 - hole) * 0.1, mask=hole)
        assert metrics.hole_psnr(outside) == CEILING
        assert metrics.hole_psnr(seen(NOISE, NOISE, mask=hole * 0)) is None
        assert metrics.hole_psnr(seen(NOISE, NOISE)) is None
        assert metrics.hole_ssim(seen(NOISE, NOISE, mask=hole)) == pytest.approx(1)

    def test_changed_values_outside_the_hole_are_counted(self) -> None:
        hole = box(5, 5, 6, 6)
        got = NOISE.copy()
        got[0, 0, 0, :3] += 1e-9
        got[0, 0, 7, 7] = 0
        assert metrics.changed_outside(seen(NOISE, got, mask=hole, image=NOISE)) == 3
        assert metrics.changed_outside(seen(NOISE, NOISE, mask=hole, image=NOISE)) == 0

    def test_a_net_that_changes_them_itself_is_not_counted(self) -> None:
        hole = box(5, 5, 6, 6)
        assert metrics.changed_outside(seen(NOISE, NOISE, mask=hole, image=1 - NOISE)) is None


@pytest.mark.parametrize(
    ("name", "kind", "unit", "expected"),
    [
        ("mask", "mask", "probability", "mask"),
        ("depth", "map", "relative inverse depth", "depth"),
        ("y", "map", "m", "depth"),
        ("saliency", "map", "relative saliency", "saliency"),
        ("result", "image", "RGB", "image"),
        ("heat", "map", "", "map"),
        ("features_2", "features", "activation", "map"),
    ],
)
def test_an_output_finds_its_family(name: str, kind: str, unit: str, expected: str) -> None:
    assert family(TensorSpec(name, (1, 1, 2, 2), kind, unit, tolerance=1)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", FAMILIES)
def test_equal_outputs_are_perfect_in_every_metric(kind: str) -> None:
    spec = TensorSpec(
        "depth" if kind == "depth" else "saliency", (1, 3, 20, 20), "map", tolerance=1
    )
    if kind in ("mask", "image"):
        spec = TensorSpec("y", (1, 3, 20, 20), kind, tolerance=1)  # type: ignore[arg-type]
    values = RANDOM.random((1, 3, 20, 20)).astype(np.float32)
    inputs = {"mask": box(2, 2, 9, 9).astype(np.float32), "image": values}
    found = measure(spec, inputs, values, values)
    perfect = {"PSNR": CEILING, "hole PSNR": CEILING, "AbsRel": 0, "KL": 0, "changed outside": 0}
    for name, value in found.items():
        assert value == pytest.approx(perfect.get(name, 1), abs=1e-9), name
    assert set(found) == {metric.name for metric in FAMILIES[family(spec)]}
