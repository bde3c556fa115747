"""What nets are trained on and with: pictures and their masks, losses in closed form."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from model_defs.portrait import PORTRAIT
from model_defs.scenes.render import View
from model_defs.scenes.sampling import sample
from toolchain.training import losses, portrait, select
from toolchain.training.augment import photographed, relit
from toolchain.training.depth import delta1
from toolchain.training.portrait import overlap

SMALL = (replace(PORTRAIT.inputs[0], shape=(1, 3, 64, 64)),)


@pytest.fixture(scope="module")
def examples() -> list[tuple[torch.Tensor, ...]]:
    return [portrait.example(PORTRAIT.inputs, 100 + i) for i in range(8)]


def test_pictures_lie_in_the_inputs_bounds_and_masks_are_binary(examples: list) -> None:
    spec = PORTRAIT.inputs[0]
    for image, changed, mask in examples:
        assert not torch.equal(image, changed)
        for picture in (image, changed):
            assert picture.shape == spec.shape[1:]
            assert spec.low - 1e-5 <= picture.min() <= picture.max() <= spec.high + 1e-5
        assert mask.shape == (1, 224, 224)
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert 0.1 < torch.stack([mask for *_, mask in examples]).mean() < 0.7


def test_beside_a_picture_there_is_nobody(examples: list) -> None:
    grey = (128 - torch.tensor([103.94, 116.78, 123.68])[:, None]) * 0.017
    narrow = [(i, m) for i, _, m in examples if torch.allclose(i[:, :, 0], grey, atol=1e-3)]
    assert narrow
    assert all(mask[:, :, :28].sum() == mask[:, :, -28:].sum() == 0 for _, mask in narrow)


def test_masks_are_mirrored_with_their_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """People are white here, and everything else is black."""

    def stark(kind: str, number: int) -> View:
        drawn = sample(number, 64, 64, portraits=1).view
        white = np.repeat(drawn.people[..., None], 3, axis=2).astype(np.uint8) * 255
        return replace(drawn, picture=white)

    monkeypatch.setattr(portrait.scenery, "view", stark)
    monkeypatch.setattr(portrait, "SHAPES", ((1.0, 1.0),))
    for change in ("relit", "photographed"):
        monkeypatch.setattr(portrait, change, lambda picture, random: picture)
    monkeypatch.setattr(portrait, "textured", lambda view, random, replaced: view.picture)
    for index in range(12):
        image, _, mask = portrait.example(SMALL, index)
        assert ((image[2] > 0) != (mask[0] > 0)).float().mean() < 0.03


def test_sharpness_moves_nothing() -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, 25:] = 255
    for seed in range(10):
        blurred = photographed(picture, np.random.default_rng(seed))
        assert abs(blurred.astype(int) - picture)[:, :20].max() == 0
        assert (blurred[:, 30:] == 255).all()


def test_other_light_leaves_the_picture_recognisable() -> None:
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    picture = np.repeat(ramp[..., None], 3, axis=2)
    for seed in range(10):
        changed = relit(picture, np.random.default_rng(seed))
        assert changed.shape == picture.shape
        assert np.corrcoef(changed.ravel(), picture.ravel())[0, 1] > 0.8
        assert not np.array_equal(changed, picture)


def test_focal_loss_of_one_pixel_is_its_closed_form() -> None:
    logits, p = torch.tensor([[[[1.5]]]]), 1 / (1 + math.exp(-1.5))
    right, wrong = (losses.focal(logits, torch.full((1, 1, 1, 1), t)).item() for t in (1.0, 0.0))
    assert right == pytest.approx((1 - p) ** 2 * -math.log(p), rel=1e-5)
    assert wrong == pytest.approx(p**2 * -math.log(1 - p), rel=1e-5)


def test_consistency_is_the_divergence_of_bernoulli_masks() -> None:
    a, b = torch.randn(2, 1, 4, 5, generator=torch.manual_seed(0)), torch.zeros(2, 1, 4, 5)
    p, q = a.sigmoid().double(), torch.full_like(a, 0.5).double()
    expected = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean().item()
    assert losses.consistency(a, b).item() == pytest.approx(expected, rel=1e-5)
    assert losses.consistency(a, a).item() == pytest.approx(0, abs=1e-6)
    teacher, pupil = a.clone().requires_grad_(), b.clone().requires_grad_()
    losses.consistency(teacher, pupil).backward()
    assert teacher.grad is None
    assert pupil.grad is not None


def test_scale_invariance_is_between_the_mean_square_and_the_variance() -> None:
    d = torch.randn(2, 1, 4, 5, generator=torch.manual_seed(0)) + 3
    variance = d.flatten(1).var(1, unbiased=False).mean()
    assert losses.scale_invariant(d, 1).item() == pytest.approx(variance.item(), rel=1e-4)
    assert losses.scale_invariant(d, 0).item() == pytest.approx((d**2).mean().item(), rel=1e-5)
    flat = torch.full((1, 1, 4, 5), 2.0)
    assert losses.scale_invariant(flat).item() == pytest.approx(2)
    assert losses.slopes(flat).item() == 0
    ramp = torch.arange(5.0).expand(1, 1, 4, 5)
    assert losses.slopes(2 * ramp).item() == pytest.approx(4)


def test_delta1_counts_pixels_within_a_quarter_whatever_the_scale() -> None:
    truth = torch.full((1, 1, 4, 4), 0.5)
    found = 0.4 * truth
    found[..., 0] *= 1.3
    batch = (truth, truth)
    assert delta1(lambda image: found, batch) == pytest.approx(0.75)  # type: ignore[arg-type]


def test_edges_are_both_sides_of_a_border() -> None:
    mask = torch.zeros(1, 1, 5, 6)
    mask[..., 3:] = 1
    assert losses.edges(mask)[0, 0, 2].tolist() == [0, 0, 1, 1, 0, 0]


def test_overlap_is_the_mean_of_both_sides() -> None:
    truth = torch.zeros(1, 1, 4, 4)
    truth[..., :2] = 1
    found = torch.zeros(1, 1, 4, 4)
    found[..., :1] = 1
    batch = (truth, truth, truth)
    assert overlap(lambda image: found, batch) == pytest.approx((4 / 8 + 8 / 12) / 2)  # type: ignore[arg-type]
    assert overlap(lambda image: truth, batch) == 1  # type: ignore[arg-type]


def test_a_correction_is_a_click_on_each_pictures_largest_mistake() -> None:
    wanted = torch.zeros(3, 1, 20, 20, dtype=torch.bool)
    wanted[:, :, 5:14, 5:14] = True
    found = wanted.clone()
    found[0] = False  # all of it is missing
    found[1, :, 8:13, 15:] = True  # too much; the third is right
    nothing = torch.ones(3, 2, 20, 20)
    maps = select.corrected(nothing, found, wanted)
    assert [tuple((m == 0).nonzero().tolist()[0]) for m in maps[:2]] == [(0, 9, 9), (1, 10, 17)]
    assert maps[2].equal(nothing[2])
    assert nothing.min() == 1
