"""A pinhole camera, whose rays are measured in depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Points, directions or colours, (N, 3)."""


@dataclass(frozen=True)
class Camera:
    """At `eye` (x, y, z), looking forward and down by `pitch` radians.

    `focal` is the focal length in picture widths: 1 sees 53 degrees across.
    """

    height: int
    width: int
    focal: float = 1.0
    eye: tuple[float, float, float] = (0.0, 1.5, 0.0)
    pitch: float = 0.0

    def rays(self) -> Vectors:
        """The direction of each pixel's centre, row by row, scaled to a depth of 1.

        Hence `eye + t * ray` lies at the metric depth t: along the optical axis, not the ray.
        """
        columns = (np.arange(self.width) + 0.5) / self.width
        rows = (np.arange(self.height) + 0.5) / self.height
        return self._through(*np.meshgrid(columns, rows)).reshape(-1, 3)

    def ray(self, x: float, y: float) -> NDArray[np.float32]:
        """The direction (3,) of a place in the picture, in 0..1 from its upper left corner."""
        return self._through(np.array(x), np.array(y))

    def _through(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float32]:
        right = (x - 0.5) / self.focal
        up = (0.5 - y) / self.focal * self.height / self.width
        sine, cosine = np.sin(self.pitch), np.cos(self.pitch)
        along = [right, up * cosine - sine, up * sine + cosine]
        return np.stack(along, -1).astype(np.float32)
