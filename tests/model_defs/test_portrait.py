"""Portraits: what the video variant adds, and the head on the depth trunk."""

from __future__ import annotations

import torch

from model_defs import zoo
from model_defs.portrait import InvertedResidual, PortraitNet, PortraitVideo


@torch.no_grad()
def test_without_a_previous_mask_video_is_the_still_net():
    torch.manual_seed(0)
    video, still = PortraitVideo().eval(), PortraitNet().eval()
    state = video.net.state_dict()
    state["stage2.0.0.weight"] = state["stage2.0.0.weight"][:, :3]
    still.load_state_dict(state)
    image, nothing = torch.randn(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    torch.testing.assert_close(video(image, nothing), still(image), atol=1e-6, rtol=0)
    assert not torch.allclose(video(image, nothing + 1), still(image))


def test_the_mask_of_a_frame_fits_as_the_previous_mask_of_the_next():
    spec = zoo.load("portrait-video")
    (mask,), (_, previous) = spec.outputs, spec.inputs
    assert previous.kind == "state"
    assert spec.state == {previous.name: mask.name}
    assert (mask.shape, mask.unit, mask.low, mask.high) == (
        (previous.shape, previous.unit, previous.low, previous.high)
    )


def test_blocks_add_their_input_where_sizes_agree():
    assert InvertedResidual(8, 8).residual
    assert not InvertedResidual(8, 8, stride=2).residual
    assert not InvertedResidual(8, 16).residual


@torch.no_grad()
def test_the_head_runs_on_the_depth_trunk(built, picture):
    features = built("depth-trunk")(picture(256, 256))
    mask = built("portrait-head")(*features)
    assert tuple(mask.shape) == zoo.load("portrait-head").outputs[0].shape
    assert mask.std() > 0.02
