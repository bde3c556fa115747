"""Nets of libraries, untrained, made as their documentation makes them. The caller seeds."""

from __future__ import annotations

from typing import Any

from torch import nn


def of_torchvision(name: str, room: str, **options: Any) -> nn.Module:
    from torchvision import models

    place = getattr(models, room) if room else models
    if name == "googlenet":
        options["init_weights"] = True  # what it would do, and warns about
    weights = {"weights": None}
    if room == "segmentation":
        weights["weights_backbone"] = None
    return getattr(place, name)(**weights, **options)


def of_timm(name: str, **options: Any) -> nn.Module:
    import timm

    return timm.create_model(name, pretrained=False, **options)


def of_transformers(
    kind: str,
    config: str,
    backbone: dict[str, Any] | None = None,
    timm_backbone: str = "",
    **options,
) -> nn.Module:
    """A model of a configuration; `backbone` is a configuration inside, `timm_backbone` a name."""
    import transformers

    if backbone is not None:
        inner = dict(backbone)
        options["backbone_config"] = getattr(transformers, inner.pop("kind"))(**inner)
    if timm_backbone:
        options["backbone_config"] = transformers.TimmBackboneConfig(
            backbone=timm_backbone, out_indices=[1, 2, 3, 4], use_pretrained_backbone=False
        )
    return getattr(transformers, kind)(getattr(transformers, config)(**options))


def of_smp(kind: str, encoder: str) -> nn.Module:
    import segmentation_models_pytorch as smp

    return getattr(smp, kind)(encoder, encoder_weights=None, classes=5)


def of_ultralytics(name: str) -> nn.Module:
    from ultralytics import YOLO

    return YOLO(name, verbose=False).model
