"""Networks of timm, untrained: mlship build benchmarks/studies/peers/timm_nets.py:convnext_atto.

Weights are random under seed 0; batch normalisations hold the statistics of simple pictures
and layer scales are 1, so that every layer takes part in the result.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_defs.spec import ModelSpec, TensorSpec

CLASSES = 1000
TOLERANCE = 1e-2
"""Of a classification score, which are about 1 apart."""


def classifier(architecture: str, size: int) -> ModelSpec:
    """A classifier of CLASSES classes; its input is a picture (1, 3, size, size) in 0..1."""
    image = TensorSpec("image", (1, 3, size, size), "image", low=0.0, high=1.0)
    scores = TensorSpec("scores", (1, CLASSES), "features", tolerance=TOLERANCE)
    build = functools.partial(_built, architecture, size)
    return ModelSpec(architecture, build, (image,), (scores,))


def _built(architecture: str, size: int) -> nn.Module:
    return settled(created(architecture), pictures(size))


def created(architecture: str, **options: Any) -> nn.Module:
    """timm's network, untrained; the caller seeds."""
    declare_vision_operators()
    import timm

    return timm.create_model(architecture, pretrained=False, num_classes=CLASSES, **options)


def pictures(size: int) -> Tensor:
    """Noise, blocks, a ramp, black and white: (6, 3, size, size) in 0..1.

    Of statistics that know only noise, a plain picture is so far that rounding grows with it.
    """
    ramp = torch.linspace(0, 1, size).expand(1, 3, size, size)
    blocks = F.interpolate(torch.rand(1, 3, 8, 8), size=(size, size))
    plain = (torch.zeros_like(ramp), torch.ones_like(ramp))
    return torch.cat([torch.rand(2, 3, size, size), blocks, ramp, *plain])


@functools.cache
def declare_vision_operators() -> torch.library.Library:
    """Declares the operators that torchvision expects: its CPU build holds none."""
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def settled(network: nn.Module, pictures: Tensor) -> nn.Module:
    """With the statistics of some pictures, and with layer scales that hide nothing.

    A network without numbers, which is only counted (`model_defs.counting`), stays as it is.
    """
    if next(network.parameters()).is_meta:
        return network.eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            part.reset_running_stats()
            part.momentum = None
    for key, parameter in network.named_parameters():
        if key.endswith(("gamma", "layer_scale.scale", "layer_scale")):
            nn.init.ones_(parameter)
    network.train()
    with torch.no_grad():
        network(pictures)
    return network.eval()


mobilenetv3_large_100 = classifier("mobilenetv3_large_100", 224)
efficientnet_lite0 = classifier("efficientnet_lite0", 224)
convnext_atto = classifier("convnext_atto", 224)
mobilevit_xxs = classifier("mobilevit_xxs", 256)
