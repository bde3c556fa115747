"""A tensor and the order in which its axes are stored.

Transposes are not emitted where ONNX has them, but where an operation cannot do without:
`Transpose` only renames axes, and most operations work in whatever order their input has.
A convolutional network therefore stays NHWC from end to end without a single transpose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from converters.lowering.graph import Shape
from converters.lowering.tf import Tensor, constant, gen_array_ops

Order = tuple[int, ...]
Arranged = dict[tuple[str, Order], Tensor]


def channels_last(rank: int) -> Order:
    """The order (N, ..., C) of a feature map; below rank 3 there is nothing to move."""
    return (0, *range(2, rank), 1) if rank > 2 else tuple(range(rank))


def permuted(sizes: Sequence[int], order: Sequence[int]) -> Shape:
    return tuple(int(sizes[axis]) for axis in order)


def inverse(order: Order) -> Order:
    return tuple(order.index(axis) for axis in range(len(order)))


@dataclass(frozen=True)
class Value:
    """`tensor` holds the ONNX value so that `tensor = value.transpose(order)`.

    A tensor that is a numpy array is a constant, and is arranged while converting.
    """

    tensor: Tensor | np.ndarray
    order: Order

    @classmethod
    def of(cls, tensor: Tensor | np.ndarray) -> Value:
        """A value stored in ONNX's own order."""
        return cls(tensor, tuple(range(len(tensor.shape))))

    @property
    def is_constant(self) -> bool:
        return isinstance(self.tensor, np.ndarray)

    @property
    def rank(self) -> int:
        return len(self.order)

    @property
    def stored_shape(self) -> Shape:
        return tuple(int(n) for n in self.tensor.shape)

    @property
    def shape(self) -> Shape:
        """The ONNX shape."""
        return permuted(self.stored_shape, inverse(self.order))

    @property
    def logical(self) -> np.ndarray:
        """A constant in ONNX's order."""
        assert isinstance(self.tensor, np.ndarray)
        return self.tensor.transpose(inverse(self.order))

    def axis(self, axis: int) -> int:
        """Where an axis of the ONNX value (negative counts from the end) is stored."""
        return self.order.index(axis % self.rank)

    def transposed(self, permutation: Sequence[int]) -> Value:
        """ONNX's Transpose: the same tensor, read in another order."""
        return Value(self.tensor, tuple(permutation.index(axis) for axis in self.order))

    def arranged(self, order: Order) -> Value:
        """The same value stored in `order`; a transpose only if that moves any data."""
        if order == self.order:
            return self
        permutation = tuple(self.order.index(axis) for axis in order)
        if isinstance(self.tensor, np.ndarray):
            return Value(np.ascontiguousarray(self.tensor.transpose(permutation)), order)
        sizes = self.stored_shape
        moved = [axis for axis in permutation if sizes[axis] != 1]
        # Only axes of size 1 change places, which moves no number.
        if moved == sorted(moved):
            return Value(reshape(self.tensor, permuted(sizes, permutation)), order)
        return Value(_transposed(self.tensor, permutation), order)


MOST_AXES = 5
"""Of more, runtimes run some operations only: axes that stay together are merged for those."""


def merged(sizes: Sequence[int], breaks: Sequence[bool]) -> Shape:
    """The sizes, those between breaks (before axis 1, 2 and so on) multiplied."""
    groups = [sizes[0]]
    for size, is_break in zip(sizes[1:], breaks, strict=True):
        if is_break:
            groups.append(size)
        else:
            groups[-1] *= size
    return tuple(groups)


def _transposed(tensor: Tensor, permutation: Order) -> Tensor:
    if len(permutation) <= MOST_AXES:
        return gen_array_ops.transpose(tensor, list(permutation))
    # Axes of size 1 go first, then runs that stay together are one axis each.
    sizes = tuple(int(n) for n in tensor.shape)
    large = [axis for axis in permutation if sizes[axis] != 1]
    runs: list[list[int]] = []
    for axis in large:
        between = range(runs[-1][-1] + 1, axis) if runs else ()
        if runs and axis > runs[-1][-1] and all(sizes[a] == 1 for a in between):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    ranked = sorted(runs)
    flat = reshape(tensor, [math.prod(sizes[axis] for axis in run) for run in ranked])
    moved = gen_array_ops.transpose(flat, [ranked.index(run) for run in runs])
    return reshape(moved, permuted(sizes, permutation))


def arrange(value: Value, order: Order, arranged: Arranged) -> Value:
    """The value stored in `order`; what is computed is transposed once for all who ask."""
    if value.order == order or isinstance(value.tensor, np.ndarray):
        return value.arranged(order)
    key = (value.tensor.name, tuple(value.order.index(axis) for axis in order))
    if key not in arranged:
        arranged[key] = value.arranged(order).tensor
    return Value(arranged[key], order)


def reshape(tensor: Tensor | np.ndarray, shape: Sequence[int]) -> Tensor | np.ndarray:
    if tuple(tensor.shape) == tuple(shape):
        return tensor
    if isinstance(tensor, np.ndarray):
        return tensor.reshape(shape)
    return gen_array_ops.reshape(tensor, np.array(shape, np.int32))


def reshaped(value: Value, shape: Shape) -> Value:
    """ONNX's Reshape, in the stored order if the axes that it splits and merges allow it.

    Splitting C into (G, C / G) or merging H and W works on (N, H, W, C) as it is; merging
    C with H does not, and only then the value is put into ONNX's order first. A map that was
    split into (G, C / G) and is merged as (C / G, G), a channel shuffle, stays (N, H, W, C).
    """
    if value.is_constant:
        return Value.of(value.logical.reshape(shape))
    groups = _groups(value.shape, shape)
    if not _keeps(value, groups):
        value = value.arranged(_mergeable(value, groups, shape))
    position = {axis: place for place, axis in enumerate(value.order)}
    big = [[position[a] for a in before if value.shape[a] != 1] for before, _ in groups]
    ranked = sorted(range(len(groups)), key=lambda g: (big[g] or [-1], g))
    order = tuple(axis for g in ranked for axis in groups[g][1])
    return Value(reshape(value.tensor, permuted(shape, order)), order)


Groups = list[tuple[list[int], list[int]]]


def _groups(before: Shape, after: Shape) -> Groups:
    """The smallest runs of axes that a reshape turns into one another.

    (2, 12, 5) -> (2, 3, 4, 5) is [([0], [0]), ([1], [1, 2]), ([2], [3])].
    """
    assert math.prod(before) == math.prod(after)
    groups: Groups = []
    i = j = 0
    while i < len(before) and j < len(after):
        start_i, start_j, left, right = i, j, before[i], after[j]
        i, j = i + 1, j + 1
        while left != right:
            if left < right:
                left, i = left * before[i], i + 1
            else:
                right, j = right * after[j], j + 1
        groups.append((list(range(start_i, i)), list(range(start_j, j))))
    if not groups:
        return [(list(range(len(before))), list(range(len(after))))]
    # All that is left, on one side, are axes of size 1.
    groups[-1][0].extend(range(i, len(before)))
    groups[-1][1].extend(range(j, len(after)))
    return groups


def _mergeable(value: Value, groups: Groups, shape: Shape) -> Order:
    """An order in which each group's axes lie in order: ONNX's, or one that makes an NHWC map."""
    last = [max(value.order.index(axis) for axis in before) for before, _ in groups if before]
    ranked = sorted(range(len(last)), key=last.__getitem__)
    merged = tuple(axis for g in ranked for axis in groups[g][1])
    if len(shape) == 4 and merged == channels_last(4):
        return tuple(axis for g in ranked for axis in groups[g][0])
    return tuple(range(value.rank))


def _keeps(value: Value, groups: Groups) -> bool:
    """Whether each group's axes lie next to each other and in order where they are stored."""
    stored = [axis for axis in value.order if value.shape[axis] != 1]
    for before, _ in groups:
        places = [stored.index(axis) for axis in before if value.shape[axis] != 1]
        if places and places != list(range(places[0], places[0] + len(places))):
            return False
    return True


def as_tensor(value: Value) -> Tensor:
    """The stored tensor; ONNX's 64-bit integers become 32-bit ones, as the formats want."""
    if not isinstance(value.tensor, np.ndarray):
        return value.tensor
    array = value.tensor
    if array.dtype == np.int64:
        limit = np.iinfo(np.int32)
        array = array.clip(limit.min, limit.max).astype(np.int32)
    return constant(array)
