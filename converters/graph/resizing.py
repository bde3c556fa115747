"""Resizing that converters do not hold, an axis after the other: as places, or as a matrix.

What each result is made of is asked of PyTorch itself: its own operation, on one axis of numbers
that tell where they come from.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch._dispatch.python import no_python_dispatcher
from torch.utils._python_dispatch import _disable_current_modes

from converters.graph.pooling import mixed
from converters.graph.sources import packet_of
from model_defs.errors import UnsupportedOperation

aten: Any = torch.ops.aten

PICKING = (aten.upsample_nearest1d, aten.upsample_nearest2d)
EXACT = (aten._upsample_nearest_exact1d, aten._upsample_nearest_exact2d)
"""Of the pixel whose middle is nearest, which Core ML has no mode for, and others round."""
LINEAR = (aten.upsample_linear1d, aten.upsample_bilinear2d)
OF_VOLUMES = (aten.upsample_nearest3d, aten._upsample_nearest_exact3d)
NEAREST = (*PICKING, *EXACT, *OF_VOLUMES)
"""Those of which each result is one number of the input; they take no align_corners."""
SMOOTH = (aten._upsample_bilinear2d_aa, aten._upsample_bicubic2d_aa)
NOT_HELD = (*OF_VOLUMES, aten.upsample_trilinear3d, aten.upsample_bicubic2d, *SMOOTH)
"""What no format holds, or one of them takes for another."""


@contextlib.contextmanager
def _untraced() -> Iterator[None]:
    """What is computed within are numbers, by PyTorch's own kernels, whatever is being traced."""
    with _disable_current_modes(), no_python_dispatcher():
        yield


@dataclass(frozen=True)
class Resizing:
    """What a node asks for, in either of ATen's forms: by sizes, or by scales."""

    op: Any
    have: tuple[int, ...]
    want: tuple[int, ...]
    corners: bool
    scales: tuple[float | None, ...]

    @property
    def by_ratio(self) -> bool:
        """Whether PyTorch samples as its sizes say, which is what Core ML does.

        Of 9 it makes 11 by a scale of 1.3, and steps by 1 / 1.3, not by 9 / 11. Where it picks,
        it rounds each place.
        """
        pairs = list(zip(self.have, self.want, strict=True))
        if self.op in NEAREST:
            ratios = [np.arange(want) * have // want for have, want in pairs]
            return all(np.array_equal(self.picks(i), right) for i, right in enumerate(ratios))
        steps = zip(pairs, self.scales, strict=True)
        return self.corners or all(s in (None, want / have) for (have, want), s in steps)

    @property
    def is_stored(self) -> bool:
        """Whether scales make these sizes when a file holds them in float32: 1.3 makes 12 of 10."""
        sizes = zip(self.have, self.want, self.scales, strict=True)
        return all(s is None or int(float(np.float32(s)) * have) == want for have, want, s in sizes)

    def by_size(self, x: Tensor) -> Tensor:
        found: Tensor = self.op.default(x, self.want, *self._how)
        return found

    def along(self, axis: int, x: Tensor) -> Tensor:
        """x with one of its axes resized, by what any converter holds."""
        place, have = axis - len(self.have), self.have[axis]
        if self.op in NEAREST:
            places = self.picks(axis)
            same = np.array_equal(places, np.arange(have))
            return x if same else x.index_select(x.ndim + place, torch.from_numpy(places))
        matrix = self.weights(axis)
        same = np.array_equal(matrix, np.eye(have))
        return x if same else mixed(x, place, torch.from_numpy(matrix))

    def picks(self, axis: int) -> np.ndarray:
        """The place that each result is taken from: (its new size,), int64."""
        with _untraced():
            places = torch.arange(self.have[axis], dtype=torch.float64)
            return self._asked(axis, places[None, None])[0, 0].long().numpy()

    def weights(self, axis: int) -> np.ndarray:
        """The share of each number in each result: (new size, size), float32."""
        with _untraced():
            return self._asked(axis, torch.eye(self.have[axis])[None])[0].T.contiguous().numpy()

    def _asked(self, axis: int, x: Tensor) -> Tensor:
        """What PyTorch makes of x (1, C, size of this axis): (1, C, its new size).

        The other axes have two of each number: of one, PyTorch's antialias makes other shares.
        """
        sizes, want = [2] * len(self.have), [2] * len(self.have)
        sizes[axis], want[axis] = self.have[axis], self.want[axis]
        scales = [None if s is None else 1.0 for s in self.scales]
        scales[axis] = self.scales[axis]
        ones = [-1 if i == axis else 1 for i in range(len(sizes))]
        planes = x.reshape(1, x.shape[1], *ones).expand(-1, -1, *sizes).contiguous()
        y: Tensor = self.op.default(planes, want, *self._how, *scales)
        return y.movedim(axis + 2, 2).flatten(3)[..., 0] if len(sizes) > 1 else y

    @property
    def _how(self) -> list[bool]:
        return [] if self.op in NEAREST else [self.corners]


def asked(op: Any, shape: Sequence[int], given: Sequence[Any]) -> Resizing:
    """`given` is what comes behind the tensor: sizes, align_corners of some, scales."""
    size, *rest = given
    corners = bool(rest.pop(0)) if op not in NEAREST else False
    scales = tuple(rest[0] if rest and isinstance(rest[0], (list, tuple)) else rest)
    count = len(scales if size is None else size)
    have = tuple(shape[-count:])
    scales = scales if len(scales) == count else (None,) * count
    if size is None:
        size = [int(n * s) for n, s in zip(have, scales, strict=True)]
    return Resizing(op, have, tuple(size), corners, scales)


def resized(op: Any) -> Callable[..., Tensor]:
    """An axis after the other."""

    def run(x: Tensor, *given: Any) -> Tensor:
        wanted = asked(op, x.shape, given)
        if op in SMOOTH and wanted.want[1] == 1 < wanted.want[0]:
            raise UnsupportedOperation(
                "interpolate(..., antialias=True) to a width of 1 repeats the first row in PyTorch",
                do="take the mean over the width, x.mean(3, keepdim=True), then resize the height",
            )
        for axis in range(len(wanted.have)):
            x = wanted.along(axis, x)
        return x

    return run


def nearest_exact(op: Any) -> Callable[..., Tensor]:
    """As PICKING where that takes the same pixels: by whole numbers, as users do."""
    nearest = PICKING[EXACT.index(op)]

    def run(x: Tensor, *given: Any) -> Tensor:
        wanted = asked(op, x.shape, given)
        if wanted.by_ratio:
            found: Tensor = nearest.default(x, wanted.want)
            return found
        return resized(op)(x, *given)

    return run


def resized_for_core_ml(op: Any) -> Callable[..., Tensor]:
    """By the sizes, where these say it all; coremltools takes no scale that leaves a rest."""

    def run(x: Tensor, *given: Any) -> Tensor:
        wanted = asked(op, x.shape, given)
        return wanted.by_size(x) if wanted.by_ratio else resized(op)(x, *given)

    return run


def goes_by_scale(node: fx.Node) -> bool:
    """Whether PyTorch steps otherwise than the sizes say."""
    return not _asked_by(node).by_ratio


def differs(node: fx.Node) -> bool:
    """Whether Core ML would resize by other sizes or steps than PyTorch."""
    wanted = _asked_by(node)
    return not (wanted.by_ratio and wanted.is_stored)


def _asked_by(node: fx.Node) -> Resizing:
    source: Any = node.args[0]
    return asked(packet_of(node), source.meta["val"].shape, node.args[1:])
