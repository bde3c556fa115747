"""The models and products that this project ships: the only list of them.

Importing it is cheap: a model is named as `module:attribute` and imported when it is loaded.
"""

from __future__ import annotations

from importlib import import_module

from model_defs.errors import UnknownName
from model_defs.spec import ModelSpec, Product

MODELS: dict[str, str] = {
    "depth": "model_defs.depth:DEPTH",
    "depth-trunk": "model_defs.depth:DEPTH_TRUNK",
    "depth-head": "model_defs.depth:DEPTH_HEAD",
}

PRODUCTS: dict[str, Product] = {
    "hydra": Product(
        "hydra",
        ("depth", "depth-trunk", "depth-head"),
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
