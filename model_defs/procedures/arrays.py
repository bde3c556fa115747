"""The arrays that the procedures take and give. What they hold beyond this, each says itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""A picture (H, W, 3), RGB, 8 bit."""

Picture = NDArray[np.float32]
"""A picture (H, W, 3), sRGB in 0..1."""

Plane = NDArray[np.float32]
"""One number a pixel (H, W), in 0..1."""

Mask = NDArray[np.bool_]
"""(H, W), true in what is masked."""

Point = tuple[int, int]
"""A pixel (x, y): column, row."""
