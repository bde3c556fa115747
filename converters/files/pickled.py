"""A whole module of `torch.save`: a pickle, which is read where the user trusts who made it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from converters.describe import describe
from converters.files.example import name_of, noises
from converters.files.request import FileRequest
from converters.weights import CONTAINERS, read_weights
from model_defs.errors import BadArtifact, BadWeights
from model_defs.spec import ModelSpec

TRUST = (
    "pass --trust-pickle (trust_pickle=True) if you trust whoever made it: unpickling runs code; "
    "or save it with torch.export.save"
)


def read(request: FileRequest) -> ModelSpec:
    """The specification of a pickled module, run on noise of the sizes that the user says.

    Raises BadArtifact where it is not trusted, or holds no module: weights alone are no net.
    """
    path = request.path
    if not request.trust_pickle:
        _check_no_weights(path)
        raise BadArtifact("the file is pickled Python objects", where=str(path), do=TRUST)
    module = _module(_unpickled(path))
    if module is None:
        _check_no_weights(path, trust_pickle=True)
        raise BadArtifact("the file holds no module", where=str(path))
    example = noises(request)
    return describe(module, tuple(example), name=name_of(path))


def _check_no_weights(path: Path, *, trust_pickle: bool = False) -> None:
    try:
        read_weights(path, trust_pickle=trust_pickle)
    except BadWeights:
        return
    raise BadArtifact(
        "the file holds weights alone, without the net that they are of",
        where=str(path),
        do="name the model, and pass this file with --weights",
    )


def _unpickled(path: Path) -> Any:
    """What the file holds; its classes may lie beside it, or in the folder where we are."""
    places = [str(path.absolute().parent), str(Path.cwd())]
    sys.path[:0] = places
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # unpickling runs anybody's code
        said = (str(error).strip().splitlines() or [""])[0]
        raise BadArtifact(
            f"the file cannot be unpickled: {type(error).__name__}: {said}",
            where=str(path),
            do="put the file of its classes beside it, or into the folder where you are",
        ) from error
    finally:
        for place in places:
            sys.path.remove(place)


def _module(content: Any) -> nn.Module | None:
    """The module itself, or that of a checkpoint (YOLO's `ema` or `model`)."""
    if isinstance(content, nn.Module):
        return content
    if isinstance(content, dict):
        found = (content.get(name) for name in CONTAINERS)
        return next((one for one in found if isinstance(one, nn.Module)), None)
    return None
