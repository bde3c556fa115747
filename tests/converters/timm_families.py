"""Architectures that nobody here wrote, as specifications: timm's and torchvision's families.

    for name in FAMILIES: capture(spec_of(name))

Weights are random under seed 0; batch normalisations hold the statistics of random pictures
and layer scales are 1, so that every layer takes part in the result.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.studies.peers.timm_nets import created, declare_vision_operators, settled
from model_defs.spec import ModelSpec, TensorSpec

TOLERANCE = 1e-4
"""Of classification scores, as a share of the largest one (at least 1)."""


@dataclass(frozen=True)
class Family:
    """An architecture and the size of the square pictures that it is given here."""

    architecture: str
    size: int


FAMILIES = {
    "mobilenet-v2": Family("mobilenetv2_050", 96),
    "mobilenet-v3": Family("mobilenetv3_small_050", 96),
    "mobilenet-v4": Family("mobilenetv4_conv_small_050", 96),
    "mobilenet-v4-hybrid": Family("mobilenetv4_hybrid_medium", 96),
    "efficientnet-lite": Family("efficientnet_lite0", 96),
    "efficientnet": Family("efficientnet_b0", 96),
    "repvgg": Family("repvgg_a0", 96),
    "mobileone": Family("mobileone_s0", 96),
    "repvit": Family("repvit_m0_9", 96),
    "convnext": Family("convnext_atto", 96),
    "convnext-v2": Family("convnextv2_atto", 96),
    "ghostnet": Family("ghostnet_050", 96),
    "mobilevit": Family("mobilevit_xxs", 128),
    "mobilevit-v2": Family("mobilevitv2_050", 128),
    "fastvit": Family("fastvit_t8", 128),
    "edgenext": Family("edgenext_xx_small", 128),
    "efficientvit": Family("efficientvit_b0", 128),
    "tiny-vit": Family("tiny_vit_5m_224", 128),
    "vit": Family("vit_tiny_patch16_224", 96),
    "swin": Family("swin_tiny_patch4_window7_224", 112),
    "poolformer": Family("poolformer_s12", 96),
    "regnet-x": Family("regnetx_002", 96),
    "regnet-y": Family("regnety_002", 96),
    "hrnet": Family("hrnet_w18_small", 128),
    "resnet": Family("resnet18", 96),
    "densenet": Family("densenet121", 96),
    "inception": Family("inception_v3", 139),
    "starnet": Family("starnet_s1", 96),
    "squeezenet": Family("torchvision/squeezenet1_1", 96),
    "shufflenet-v2": Family("torchvision/shufflenet_v2_x0_5", 96),
}
RESIZED = ("swin", "vit")
"""Families that have to be told the size of their pictures."""


def spec_of(name: str) -> ModelSpec:
    """A classifier of 1000 classes; its input is a picture (1, 3, size, size) in 0..1."""
    family = FAMILIES[name]
    image = TensorSpec("image", (1, 3, family.size, family.size), "image", low=0.0, high=1.0)
    scores = TensorSpec("scores", (1, 1000), "features", tolerance=TOLERANCE)
    return ModelSpec(name, functools.partial(build, name), (image,), (scores,))


def build(name: str) -> nn.Module:
    """The untrained network, settled on four random pictures; the caller seeds."""
    family = FAMILIES[name]
    network = _created(name, family)
    return settled(network, torch.rand(4, 3, family.size, family.size))


def _created(name: str, family: Family) -> nn.Module:
    source, _, architecture = family.architecture.rpartition("/")
    if source == "torchvision":
        declare_vision_operators()
        from torchvision import models

        return models.get_model(architecture, weights=None)
    return created(architecture, **({"img_size": family.size} if name in RESIZED else {}))
