"""Shapes, slices and layout: operations that move numbers without changing them."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from converters.mil.ops.signature import Bools, Ints, Op, Tensors, unary
from model_defs.errors import BadArtifact, UnsupportedOperation


def reshape(x: Tensor, shape: Ints) -> Tensor:
    """A 0 in `shape` keeps the size of `x` at that place, counted from the right."""
    offset = x.dim() - len(shape)
    sizes = [
        (x.shape[i + offset] if i + offset >= 0 else 1) if n == 0 and x.numel() else n
        for i, n in enumerate(shape)
    ]
    return x.reshape(sizes)


def reshape_like(
    x: Tensor, ref_tensors: Tensors, begins: Tensors, ends: Tensors, end_masks: Tensors
) -> Tensor:
    """Sizes are taken from slices of the shapes of other tensors."""
    sizes: list[int] = []
    for ref, begin, end, mask in zip(ref_tensors, begins, ends, end_masks, strict=True):
        sizes += ref.shape[int(begin) : None if bool(mask) else int(end)]
    return x.reshape(sizes)


def transpose(x: Tensor, perm: Ints) -> Tensor:
    return x.permute(perm)


def expand_dims(x: Tensor, axes: Ints) -> Tensor:
    rank = x.dim() + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = x.unsqueeze(axis)
    return x


def squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    if axes is None:
        return x.squeeze()
    if any(x.shape[a] != 1 for a in axes):
        raise BadArtifact(f"squeezes axes {axes} of shape {tuple(x.shape)}")
    return x.squeeze(axes)


def flatten2d(x: Tensor, axis: int = 1) -> Tensor:
    before = math.prod(x.shape[:axis])
    return x.reshape(before, -1)


def concat(values: Tensors, axis: int, interleave: bool = False) -> Tensor:
    """`interleave` takes one slice of each tensor in turn."""
    if not interleave:
        return torch.cat(values, axis)
    axis %= values[0].dim()
    return torch.stack(values, axis + 1).flatten(axis, axis + 1)


def stack(values: Tensors, axis: int) -> Tensor:
    return torch.stack(values, axis)


def split(
    x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Ints | None = None
) -> tuple[Tensor, ...]:
    if split_sizes is not None:
        if num_splits not in (None, len(split_sizes)):
            raise BadArtifact(f"split into {num_splits} parts of sizes {split_sizes}")
        return torch.split(x, list(split_sizes), axis)
    if num_splits is None or x.shape[axis] % num_splits:
        raise BadArtifact(f"split of size {x.shape[axis]} into {num_splits} parts")
    return torch.split(x, x.shape[axis] // num_splits, axis)


def slices(
    x: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints,
    begin_mask: Bools,
    end_mask: Bools,
    squeeze_mask: Bools,
) -> list[range | int]:
    """The positions that each axis keeps: a range, or one index where the axis is dropped."""
    rank = x.dim()
    no = (False,) * rank
    columns: tuple[tuple[Any, ...], ...] = (begin, end, stride or (1,) * rank)
    columns += (begin_mask or no, end_mask or no, squeeze_mask or no)
    result: list[range | int] = []
    for size, b, e, s, open_begin, open_end, drop in zip(x.shape, *columns, strict=True):
        if drop:
            if not -size <= b < size:
                raise BadArtifact(f"index {b} is outside an axis of {size}")
            result.append(b % size)
        else:
            part = slice(None if open_begin else b, None if open_end else e, s)
            result.append(range(*part.indices(size)))
    return result


def slice_by_index(
    x: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints = (),
    begin_mask: Bools = (),
    end_mask: Bools = (),
    squeeze_mask: Bools = (),
) -> Tensor:
    """Python's slicing, negative steps included."""
    kept = slices(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    # From the last axis, so that one that is dropped renumbers none that is still to come.
    for axis in reversed(range(x.dim())):
        part = kept[axis]
        if isinstance(part, int):
            x = x.select(axis, part)
        elif part.step > 0:
            x = x[
                (slice(None),) * axis + (slice(part.start, max(part.stop, part.start), part.step),)
            ]
        else:
            x = x.index_select(axis, torch.tensor(list(part), device=x.device))
    return x


def slice_update(
    x: Tensor,
    update: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints = (),
    begin_mask: Bools = (),
    end_mask: Bools = (),
    squeeze_mask: Bools = (),
) -> Tensor:
    """`x` with the slice replaced by `update`."""
    kept = slices(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    columns = [torch.tensor([k] if isinstance(k, int) else list(k), device=x.device) for k in kept]
    shape = [len(c) for c in columns]
    expected = [len(c) for c, k in zip(columns, kept, strict=True) if not isinstance(k, int)]
    if list(update.shape) != expected:
        raise BadArtifact(f"an update of shape {tuple(update.shape)} for a slice of {expected}")
    grid = torch.meshgrid(*columns, indexing="ij")
    return x.index_put(grid, update.reshape(shape))


def slice_by_size(x: Tensor, begin: Ints, size: Ints) -> Tensor:
    """A size of -1 takes the rest of the axis."""
    for axis, (first, count) in enumerate(zip(begin, size, strict=True)):
        first %= max(x.shape[axis], 1)
        x = x.narrow(axis, first, x.shape[axis] - first if count == -1 else count)
    return x


def crop(x: Tensor, crop_height: Ints, crop_width: Ints) -> Tensor:
    height, width = x.shape[-2:]
    top, bottom = crop_height
    left, right = crop_width
    return x[..., top : height - bottom, left : width - right]


def pad(x: Tensor, pad: Ints, mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    """`pad` is (before, after) of each of the last axes, in order."""
    backwards = [p for i in range(len(pad) - 2, -1, -2) for p in pad[i : i + 2]]
    if mode == "constant":
        return F.pad(x, backwards, value=constant_val)
    if mode not in ("reflect", "replicate"):
        raise UnsupportedOperation(f"pad of mode '{mode}'")
    if x.dim() == 4 and len(backwards) > 2 and not any(backwards[4:]):
        return F.pad(x, backwards[:4], mode=mode)
    first = x.dim() - len(pad) // 2
    for axis, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True), first):
        if before or after:
            x = x.index_select(axis, _mirrored(x.shape[axis], before, after, mode).to(x.device))
    return x


def _mirrored(size: int, before: int, after: int, mode: str) -> Tensor:
    positions = torch.arange(-before, size + after)
    if mode == "replicate":
        return positions.clamp(0, size - 1)
    if max(before, after) >= size:
        raise BadArtifact(f"reflects {max(before, after)} elements of an axis of {size}")
    positions = positions.abs()
    return torch.where(positions >= size, 2 * (size - 1) - positions, positions)


def tile(x: Tensor, reps: Ints) -> Tensor:
    if len(reps) != x.dim():
        raise BadArtifact(f"tile has {len(reps)} counts for {x.dim()} axes")
    return x.repeat(reps)


def reverse(x: Tensor, axes: Ints | None = None) -> Tensor:
    return x.flip(tuple(range(x.dim())) if axes is None else axes)


def reverse_sequence(x: Tensor, lengths: Ints, seq_axis: int = 0, batch_axis: int = 0) -> Tensor:
    """Reverses the first `lengths[i]` elements of each sequence."""
    seq_axis, batch_axis = seq_axis % x.dim(), batch_axis % x.dim()
    inner = seq_axis - (seq_axis > batch_axis)
    parts = []
    for part, length in zip(x.unbind(batch_axis), lengths, strict=True):
        head, tail = (
            part.narrow(inner, 0, length),
            part.narrow(inner, length, part.shape[inner] - length),
        )
        parts.append(torch.cat([head.flip(inner), tail], inner))
    return torch.stack(parts, batch_axis)


def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    return F.pixel_shuffle(x, upscale_factor)


def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    return F.pixel_unshuffle(x, downscale_factor)


def depth_to_space(x: Tensor, block_size: int) -> Tensor:
    """As TensorFlow's: the block is the slower part of the channels, unlike pixel_shuffle."""
    n, c, h, w = x.shape
    b = block_size
    blocks = x.reshape(n, b, b, c // (b * b), h, w)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, c // (b * b), h * b, w * b)


def space_to_depth(x: Tensor, block_size: int) -> Tensor:
    n, c, h, w = x.shape
    b = block_size
    blocks = x.reshape(n, c, h // b, b, w // b, b)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)


def space_to_batch(x: Tensor, block_shape: Ints, paddings: Ints) -> Tensor:
    """`paddings` is (top, bottom, left, right)."""
    x = pad(x, paddings)
    n, c, h, w = x.shape
    a, b = block_shape
    blocks = x.reshape(n, c, h // a, a, w // b, b)
    return blocks.permute(3, 5, 0, 1, 2, 4).reshape(n * a * b, c, h // a, w // b)


def batch_to_space(x: Tensor, block_shape: Ints, crops: Ints) -> Tensor:
    """`crops` is (top, bottom, left, right)."""
    n, c, h, w = x.shape
    a, b = block_shape
    blocks = x.reshape(a, b, n // (a * b), c, h, w)
    whole = blocks.permute(2, 3, 4, 0, 5, 1).reshape(n // (a * b), c, h * a, w * b)
    return crop(whole, crops[:2], crops[2:])


def sliding_windows(x: Tensor, axis: int, size: int, stride: int = 1) -> Tensor:
    axis %= x.dim()
    return x.unfold(axis, size, stride).movedim(-1, axis + 1)


def shape(x: Tensor) -> Tensor:
    return torch.tensor(x.shape, dtype=torch.int32)


OPS: dict[str, Op] = {
    "batch_to_space": Op(batch_to_space, moves=True),
    "concat": Op(concat, gives=("values",), moves=True),
    "crop": Op(crop, moves=True),
    "depth_to_space": Op(depth_to_space, moves=True),
    "expand_dims": Op(expand_dims, moves=True),
    "flatten2d": Op(flatten2d, moves=True),
    "pad": Op(pad, moves=True),
    "pixel_shuffle": Op(pixel_shuffle, moves=True),
    "pixel_unshuffle": Op(pixel_unshuffle, moves=True),
    "reshape": Op(reshape, moves=True),
    "reshape_like": Op(reshape_like, moves=True, reads_data=True),
    "reverse": Op(reverse, moves=True),
    "reverse_sequence": Op(reverse_sequence, moves=True),
    "shape": Op(unary(shape), gives=("int32",)),
    "slice_by_index": Op(slice_by_index, moves=True),
    "slice_by_size": Op(slice_by_size, moves=True),
    "slice_update": Op(slice_update, moves=True),
    "sliding_windows": Op(sliding_windows, moves=True),
    "space_to_batch": Op(space_to_batch, moves=True),
    "space_to_depth": Op(space_to_depth, moves=True),
    "split": Op(split, many=True, moves=True),
    "squeeze": Op(squeeze, moves=True),
    "stack": Op(stack, gives=("values",), moves=True),
    "tile": Op(tile, moves=True),
    "transpose": Op(transpose, moves=True),
}
