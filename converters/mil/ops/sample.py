"""Sampling a picture at computed positions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from converters.mil.ops.signature import Op
from model_defs.errors import UnsupportedOperation

PADDINGS = {"constant": "zeros", "border": "border", "reflection": "reflection"}


def _normalised(coordinates: Tensor, sizes: Tensor, mode: str) -> Tensor:
    """Positions (x, y) in -1..1, where an unnormalised 0 and size - 1 are the corner pixels."""
    if mode == "normalized_minus_one_to_one":
        return coordinates
    if mode == "normalized_zero_to_one":
        return 2 * coordinates - 1
    if mode == "unnormalized":
        # An axis of one pixel has no length to divide by.
        return 2 * coordinates / (sizes - 1).clamp(min=1) - 1
    raise UnsupportedOperation(f"coordinates of mode '{mode}'")


def resample(
    x: Tensor,
    coordinates: Tensor,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Tensor:
    """`coordinates` are (N, H, W, 2), x before y.

    Reflection without aligned corners is refused: PyTorch, from which it comes, mirrors at
    the pixels' edges there, the documentation of `resample` mirrors at their centres.
    """
    if padding_mode not in PADDINGS or sampling_mode not in ("bilinear", "nearest"):
        raise UnsupportedOperation(f"resample {sampling_mode} with padding '{padding_mode}'")
    # `_normalised` puts the centres of the corner pixels at -1 and 1: aligned corners, to torch.
    aligned = align_corners or coordinates_mode == "unnormalized"
    if padding_mode == "reflection" and not aligned:
        raise UnsupportedOperation("resample with reflection but without aligned corners")
    sizes = torch.tensor([x.shape[3], x.shape[2]], dtype=x.dtype, device=x.device)
    grid = _normalised(coordinates.to(x.dtype), sizes, coordinates_mode)
    # grid_sample pads with zeros only: those stand for the value while all else is less by it.
    shift = padding_value if padding_mode == "constant" else 0.0
    sampled = F.grid_sample(x - shift, grid, sampling_mode, PADDINGS[padding_mode], aligned)
    return sampled + shift


def affine(
    x: Tensor,
    transform_matrix: Tensor,
    output_height: int,
    output_width: int,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Tensor:
    """Each output position in -1..1 reads where a 2x3 matrix takes it; outside is zero."""
    known = ("bilinear", "constant", "normalized_minus_one_to_one")
    given = (sampling_mode.lower(), padding_mode.lower(), coordinates_mode.lower())
    if given != known or padding_value != 0 or not align_corners:
        raise UnsupportedOperation(f"affine with {', '.join(given)}")
    matrices = transform_matrix.reshape(-1, 2, 3).expand(x.shape[0], 2, 3)
    size = [x.shape[0], x.shape[1], output_height, output_width]
    grid = F.affine_grid(matrices, size, align_corners=True)
    return F.grid_sample(x, grid, "bilinear", "zeros", align_corners=True)


OPS: dict[str, Op] = {"affine": Op(affine), "resample": Op(resample)}
