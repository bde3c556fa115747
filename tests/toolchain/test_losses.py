"""Losses of saliency and inpainting, against the metrics' own formulas and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model_defs.saliency import MAP
from toolchain.parity import metrics
from toolchain.parity.metrics import MetricInput
from toolchain.training import losses


def maps(seed: int) -> torch.Tensor:
    return torch.rand(1, 1, 6, 8, generator=torch.Generator().manual_seed(seed))


def seen(want: torch.Tensor, got: torch.Tensor) -> MetricInput:
    return MetricInput(MAP, want.double().numpy(), got.double().numpy(), {})


def test_divergence_and_correlation_are_those_of_the_benchmarks() -> None:
    truth, found = maps(0), maps(1)
    both = seen(truth, found)
    assert losses.divergence(found, truth).item() == pytest.approx(metrics.kl(both), rel=1e-3)
    wanted = metrics.correlation(both)
    assert losses.correlation(found, truth).item() == pytest.approx(wanted, rel=1e-4)


def test_of_the_same_map_they_are_perfect_whatever_its_scale() -> None:
    truth = maps(0)
    assert losses.divergence(5 * truth, truth).item() == pytest.approx(0, abs=1e-4)
    assert losses.correlation(5 * truth + 1, truth).item() == pytest.approx(1, abs=1e-4)


def test_scanpath_is_that_of_the_benchmarks() -> None:
    found, looks = maps(1), torch.zeros(1, 1, 6, 8)
    looks[0, 0, 2, 3], looks[0, 0, 5, 7] = 3, 1
    wanted = metrics.scanpath(seen(found, found), looks.numpy())
    assert losses.scanpath(found, looks).item() == pytest.approx(wanted, rel=1e-4)


def test_a_flat_map_has_no_correlation_and_a_gradient_that_is_finite() -> None:
    flat = torch.zeros(1, 1, 6, 8, requires_grad=True)
    loss = losses.divergence(flat, maps(0)) - losses.correlation(flat, maps(0))
    loss = loss - losses.scanpath(flat, torch.ones(1, 1, 6, 8))
    loss.backward()
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()


def test_the_soft_iou_of_masks_without_doubt_is_their_iou() -> None:
    truth = torch.zeros(2, 1, 4, 4)
    truth[:, :, :2] = 1
    found = truth.clone()
    found[1] = truth[1].roll(1, 1)  # IoU of a third
    assert float(losses.jaccard((found - 0.5) * 100, truth)) == pytest.approx((0 + 2 / 3) / 2)
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    losses.jaccard(logits, torch.zeros(1, 1, 4, 4)).backward()
    assert torch.isfinite(logits.grad).all()


def test_confidence_falls_with_the_distance_to_what_is_known() -> None:
    hole = torch.zeros(1, 1, 21, 21)
    hole[..., 3:18, 3:18] = 1
    sure = losses.confidence(hole, kernel=5)
    assert not sure[hole == 0].any()
    row = sure[0, 0, 10, 3:11]
    assert (np.diff(row.numpy()) < 0).all()
    assert 0 < row[-1] < row[0] < 1


def test_a_hole_without_surroundings_has_no_confidence() -> None:
    assert not losses.confidence(torch.ones(1, 1, 9, 9), kernel=3).any()
