"""The inputs that every build is proved on: a photograph, noise and the extremes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model_defs.pixels import open_picture, to_tensor
from model_defs.spec import TensorSpec

PHOTO = Path(__file__).parent / "photos" / "astronaut.png"
CASES = ("photo", "noise", "zeros", "ones", "checkerboard")
SQUARE = 16


def build(inputs: tuple[TensorSpec, ...]) -> dict[str, dict[str, np.ndarray]]:
    """Case -> input name -> (1, C, H, W) float32, the same on every machine.

    Inputs that take pictures get pictures through their own pre-processing; others get the
    same patterns between their bounds. "zeros" and "ones" are black and white.
    """
    return {
        case: {spec.name: _tensor(case, spec, index) for index, spec in enumerate(inputs)}
        for case in CASES
    }


def _tensor(case: str, spec: TensorSpec, index: int) -> np.ndarray:
    if spec.preprocess is not None:
        height, width = spec.shape[2:]
        picture = open_picture(PHOTO) if case == "photo" else _picture(case, height, width, index)
        return to_tensor(picture, spec)[0]
    low = 0.0 if spec.low is None else spec.low
    high = low + 1.0 if spec.high is None else spec.high
    return (_pattern(case, spec, index) * (high - low) + low).astype(np.float32)


def _picture(case: str, height: int, width: int, index: int) -> np.ndarray:
    """(H, W, 3), 8 bit."""
    if case == "noise":
        return np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)
    plane = _plane(case, height, width)
    return np.repeat((plane * 255).astype(np.uint8)[..., None], 3, axis=2)


def _plane(case: str, height: int, width: int) -> np.ndarray:
    if case == "checkerboard":
        rows, columns = np.indices((height, width)) // SQUARE
        return (rows + columns) % 2
    return np.full((height, width), float(case == "ones"))


def _pattern(case: str, spec: TensorSpec, index: int) -> np.ndarray:
    """Values in 0..1 of the spec's shape."""
    if case == "noise":
        values = np.random.default_rng(index).random(spec.shape)
        return (values > 0.5).astype(np.float64) if spec.kind == "mask" else values
    if len(spec.shape) < 2:
        return np.full(spec.shape, float(case == "ones"))
    height, width = spec.shape[-2:]
    plane = _blob(spec, height, width) if case == "photo" else _plane(case, height, width)
    return np.broadcast_to(plane, spec.shape)


def _blob(spec: TensorSpec, height: int, width: int) -> np.ndarray:
    """A disc in the middle for masks, the distance from the middle for everything else."""
    rows, columns = np.indices((height, width))
    distance = np.hypot((rows + 0.5) / height - 0.5, (columns + 0.5) / width - 0.5)
    return (distance < 0.25).astype(np.float64) if spec.kind == "mask" else distance.clip(0, 1)
