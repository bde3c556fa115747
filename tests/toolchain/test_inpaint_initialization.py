"""A GMCNN that has learned nothing carries colours into holes, and training keeps that."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from model_defs.inpaint import GMCNN
from toolchain.training import inpaint_initialization, start
from toolchain.training.inpaint import INPAINT_LITE, LEAST, MOST, InpaintLearner, hole
from toolchain.training.state import Settings, TrainingState

HEIGHT, WIDTH = 64, 96


@pytest.fixture(scope="module")
def net() -> GMCNN:
    torch.manual_seed(0)
    net = GMCNN(16)
    start.draw(net)
    inpaint_initialization.initialize(net)
    return net.eval()


def covered(top: int, left: int, bottom: int, right: int) -> Tensor:
    mask = torch.zeros(1, 1, HEIGHT, WIDTH)
    mask[..., top:bottom, left:right] = 1
    return mask


def filled(net: GMCNN, picture: Tensor, mask: Tensor) -> Tensor:
    """What the net draws in the hole, (3, pixels); it is not told what lay there."""
    with torch.no_grad():
        secret = torch.where(mask > 0, torch.rand_like(picture), picture)
        return net(secret, mask)[0][:, mask[0, 0] > 0]


def plain(*colour: float) -> Tensor:
    return torch.tensor(colour)[None, :, None, None].expand(1, 3, HEIGHT, WIDTH).clone()


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((16, 24, 48, 64), id="inside"),
        pytest.param((0, 0, 32, 40), id="in-a-corner"),
        pytest.param((24, 0, 40, WIDTH), id="from-side-to-side"),
        pytest.param((0, 40, HEIGHT, WIDTH), id="to-three-borders"),
        pytest.param((21, 33, 38, 59), id="not-on-the-grid"),
    ],
)
def test_a_plain_picture_is_whole_again(net: GMCNN, box: tuple[int, int, int, int]) -> None:
    """Wherever the hole lies; nothing dark comes in from beyond the picture."""
    colour = -0.6, 0.1, 0.9
    found = filled(net, plain(*colour), covered(*box))
    assert torch.allclose(found, torch.tensor(colour)[:, None], atol=0.03)


def test_deep_in_a_large_hole_the_branches_that_see_its_border_are_enough(net: GMCNN) -> None:
    picture = torch.full((1, 3, 320, 320), 0.5)
    mask = torch.zeros(1, 1, 320, 320)
    mask[..., 16:304, 16:304] = 1
    assert torch.allclose(filled(net, picture, mask), torch.tensor(0.5), atol=0.04)


def test_sides_of_two_colours_mix_and_the_nearer_counts_more(net: GMCNN) -> None:
    picture, mask = plain(-0.5, -0.5, -0.5), covered(0, 40, HEIGHT, 56)
    picture[..., 48:] = 0.5
    left, right = filled(net, picture, mask).reshape(3, HEIGHT, 2, 8)[:, 24:40].mean((0, 1, 3))
    assert -0.4 < left < -0.1
    assert 0.1 < right < 0.4
    assert abs(left + right) < 0.05


def test_a_side_that_is_known_layers_later_counts_so_many_times_less(net: GMCNN) -> None:
    """Left is 1 to 4 pixels away, a layer's step; right 37 to 40: four layers more at least."""
    picture, mask = plain(-0.5, -0.5, -0.5), covered(0, 24, HEIGHT, 64)
    picture[..., 44:] = 0.5
    found = filled(net, picture, mask).reshape(3, HEIGHT, 40)[:, 28:36].mean((0, 1))
    assert -0.5 < found[1] < -0.45
    assert 0.45 < found[-2] < 0.5


def test_exponentials_make_a_logarithm() -> None:
    shares, rates = (
        inpaint_initialization.logarithm(1 / 64, 256),
        np.asarray(inpaint_initialization.RATES),
    )
    x = np.geomspace(1 / 64, 128, 50)
    sums = (shares * np.exp(-rates * x[:, None])).sum(1)
    assert np.abs(sums[:-1] - sums[1:] - np.diff(np.log(x))).max() < 0.002


def test_thin_strokes_keep_what_lies_beside_them(net: GMCNN) -> None:
    """Where three pixels of four are covered, the fourth still tells the block's colour."""
    picture, mask = plain(0.4, 0.4, 0.4), torch.zeros(1, 1, HEIGHT, WIDTH)
    mask[..., 1::2] = 1
    mask[..., 1::2, :] = 1
    assert torch.allclose(filled(net, picture, mask), torch.tensor(0.4), atol=0.03)


def test_what_is_initialized_hands_errors_on_as_they_are(net: GMCNN) -> None:
    """Twelve layers must not make a small change a large one, or the first step ends it all."""
    picture, mask = plain(0.3, 0.0, -0.3), covered(16, 24, 48, 64)
    image = picture.clone().requires_grad_()
    net(image, mask)[0, :, 32, 44].sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() < 10


def test_the_pytorch_port_cannot_be_initialized() -> None:
    with pytest.raises(AssertionError):
        inpaint_initialization.initialize(GMCNN(16, port=True))


def test_training_changes_what_enlarges_and_nothing_before_it() -> None:
    settings = Settings(steps=2, batch=1, size=0.125, rate=1e-3)
    state = TrainingState.fresh(INPAINT_LITE, settings, None)
    assert isinstance(state.learner, InpaintLearner)
    settled = {id(conv.weight) for conv in inpaint_initialization.settled(state.learner.net)}
    before = {name: weights.clone() for name, weights in state.learner.named_parameters()}
    batch = INPAINT_LITE.example(INPAINT_LITE.sized(settings.size), 0)
    state.advance(tuple(tensor[None] for tensor in batch), settings)
    kept = {
        name.removesuffix("weight")
        for name, weights in state.learner.named_parameters()
        if id(weights) in settled
    }
    assert len(kept) == 3 * 12
    for name, weights in state.learner.named_parameters():
        same = torch.equal(weights, before[name])
        assert same == (name.rsplit(".", 1)[0] + "." in kept), name


@pytest.mark.parametrize("size", [(96, 128), (128, 168), (512, 680)])
def test_a_window_shows_a_part_of_a_hole_and_of_what_is_around_it(size: tuple[int, int]) -> None:
    random, shares = np.random.default_rng(0), []
    for _ in range(12):
        mask = hole(random, *size)
        assert mask.shape == size
        shares.append(float(mask.mean()))
    assert LEAST < min(shares) < max(shares) < MOST
    assert np.ptp(shares) > 0.05
