"""The models and products that this project ships: the only list of them.

Importing it is cheap: a model is named as `module:attribute` and imported when it is loaded.
"""

from __future__ import annotations

from importlib import import_module

from model_defs.errors import UnknownName
from model_defs.spec import ModelSpec, Product

MODELS: dict[str, str] = {
    "select": "model_defs.select:SELECT",
    "select-coarse": "model_defs.select:SELECT_COARSE",
    "select-baseline": "model_defs.vgg_fcn:SELECT_BASELINE",
    "portrait": "model_defs.portrait:PORTRAIT",
    "portrait-video": "model_defs.portrait:PORTRAIT_VIDEO",
    "portrait-head": "model_defs.portrait:PORTRAIT_HEAD",
    "depth": "model_defs.depth:DEPTH",
    "depth-trunk": "model_defs.depth:DEPTH_TRUNK",
    "depth-head": "model_defs.depth:DEPTH_HEAD",
    "depth-upproj": "model_defs.upproj:DEPTH_UPPROJ",
    "saliency": "model_defs.saliency:SALIENCY",
    "saliency-resnet": "model_defs.saliency:SALIENCY_RESNET",
    "inpaint": "model_defs.inpaint:INPAINT",
    "inpaint-lite": "model_defs.inpaint:INPAINT_LITE",
    "inpaint-reflect": "model_defs.inpaint:INPAINT_REFLECT",
    "inpaint-pconv": "model_defs.inpaint_pconv:INPAINT_PCONV",
}

PRODUCTS: dict[str, Product] = {
    "hydra": Product(
        "hydra",
        ("depth", "depth-trunk", "depth-head", "portrait-head"),
        summary="one trunk and its heads, run together or separately",
    ),
}


def load(name: str) -> ModelSpec:
    """The specification of a model in MODELS; UnknownName for any other."""
    if name not in MODELS:
        raise UnknownName.among("model", name, MODELS)
    module, attribute = MODELS[name].split(":")
    spec: ModelSpec = getattr(import_module(module), attribute)
    return spec
