"""Operations that move numbers, and those that know nothing but shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from converters.files.onnx.call import Layer, NodeCall
from converters.files.onnx.conv import frame
from converters.files.onnx.elementwise import TYPES, identity


def no_operation(call: NodeCall) -> Layer:
    return call.apply(identity, 0)


def dropout(call: NodeCall) -> Layer:
    call.read(ratio=0.5, seed=None, is_test=None)
    if call.has(2) and call.number(2, "mode"):
        raise call.refuse("training mode", do="export the network in eval mode")
    if any(call.wanted[1:]):
        return call.apply(_kept, 0)
    return call.apply(identity, 0)


def _kept(value: Tensor) -> tuple[Tensor, Tensor]:
    return value, torch.ones_like(value, dtype=torch.bool)


def reshape(call: NodeCall) -> Layer:
    read = call.read(shape=None, allowzero=0)
    asked = call.listed(read.shape, 1, "shape")
    old = call.shape()
    if not read.allowzero:
        if any(n == 0 and axis >= len(old) for axis, n in enumerate(asked)):
            raise call.refuse(f"shape {asked} of {len(old)} dimensions")
        asked = tuple(old[axis] if n == 0 else n for axis, n in enumerate(asked))
    return _reshaped(call, asked)


def _reshaped(call: NodeCall, asked: Sequence[int]) -> Layer:
    count, known = math.prod(call.shape()), math.prod(n for n in asked if n != -1)
    if asked.count(-1) > 1 or (count != known if -1 not in asked else known and count % known):
        raise call.refuse(f"{call.shape()} to {tuple(asked)}")
    rest = count // known if known else 0
    return call.apply(torch.reshape, 0, shape=tuple(rest if n == -1 else n for n in asked))


def flatten(call: NodeCall) -> Layer:
    axis = call.read(axis=1).axis
    axis += call.rank() if axis < 0 else 0
    shape = call.shape()
    return _reshaped(call, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def squeeze(call: NodeCall) -> Layer:
    axes = call.listed(call.read(axes=None).axes, 1, "axes")
    shape = call.shape()
    if axes is None:
        axes = [axis for axis, n in enumerate(shape) if n == 1]
    gone = {call.axis(axis) for axis in axes}
    if any(shape[axis] != 1 for axis in gone):
        raise call.refuse(f"axes {tuple(axes)} of {shape}")
    return _reshaped(call, tuple(n for axis, n in enumerate(shape) if axis not in gone))


def unsqueeze(call: NodeCall) -> Layer:
    axes = call.listed(call.read(axes=None).axes, 1, "axes") or ()
    rank = call.rank() + len(axes)
    new = {call.axis(axis, rank) for axis in axes}
    sizes = iter(call.shape())
    return _reshaped(call, tuple(1 if axis in new else next(sizes) for axis in range(rank)))


def transpose(call: NodeCall) -> Layer:
    order = call.read(perm=None).perm or tuple(reversed(range(call.rank())))
    return call.apply(torch.permute, 0, dims=tuple(order))


def concat(call: NodeCall) -> Layer:
    axis = call.read(axis=1).axis
    return call.apply(_concat, dim=call.axis(axis))


def _concat(*operands: Tensor, dim: int) -> Tensor:
    return torch.cat(operands, dim)


def split(call: NodeCall) -> Layer:
    read = call.read(axis=0, split=None, num_outputs=None)
    dim = call.axis(read.axis)
    size = call.shape()[dim]
    sizes = call.listed(read.split, 1, "sizes")
    if sizes is None:
        count = read.num_outputs or len(call.node.outputs)
        part = -(-size // count)
        sizes = [min(part, size - part * i) for i in range(count)]
    if sum(sizes) != size or min(sizes) < 0:
        raise call.refuse(f"{size} into {tuple(sizes)}")
    return call.apply(torch.split, 0, split_size_or_sections=list(sizes), dim=dim)


def slice_(call: NodeCall) -> Layer:
    read = call.read(starts=None, ends=None, axes=None, steps=None)
    starts = call.listed(read.starts, 1, "starts")
    ends = call.listed(read.ends, 2, "ends")
    axes = call.listed(read.axes, 3, "axes") or range(len(starts))
    steps = call.listed(read.steps, 4, "steps") or (1,) * len(starts)
    parts = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        dim = call.axis(axis)
        if step == 0:
            raise call.refuse("a step of 0")
        places = range(call.shape()[dim])[slice(start, end, step)]
        if step < 0:  # the same places, forwards, and turned round
            places = places[::-1]
        if places != range(call.shape()[dim]) or step < 0:
            parts.append((dim, places.start, places.stop, places.step, step < 0))
    return call.apply(_slice, 0, parts=tuple(parts))


def _slice(value: Tensor, parts: Sequence[tuple[int, int, int, int, bool]]) -> Tensor:
    for dim, start, stop, step, turned in parts:
        index = (slice(None),) * dim + (slice(start, max(stop, start), step),)
        value = value[index]
        if turned:
            value = value.flip(dim)
    return value


def expand(call: NodeCall) -> Layer:
    asked = call.integers(1, "shape")
    old = call.shape()
    rank = max(len(asked), len(old))
    pairs = zip((1,) * (rank - len(asked)) + asked, (1,) * (rank - len(old)) + old, strict=True)
    return call.apply(_expand, 0, shape=call.sized([b if a == 1 else a for a, b in pairs]))


def _expand(value: Tensor, shape: Sequence[int]) -> Tensor:
    return value.expand(shape)


def tile(call: NodeCall) -> Layer:
    counts = call.integers(1, "counts")
    call.sized([n * c for n, c in zip(call.shape(), counts, strict=True)])
    return call.apply(_tile, 0, counts=counts)


def _tile(value: Tensor, counts: Sequence[int]) -> Tensor:
    return value.repeat(*counts)


MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def pad(call: NodeCall) -> Layer:
    read = call.read(mode="constant", pads=None, paddings=None, value=0.0)
    asked = call.listed(read.pads or read.paddings, 1, "pads")
    value = call.number(2, "value", read.value)
    rank = call.rank()
    axes = [call.axis(a) for a in call.integers(3, "axes")] if call.has(3) else [*range(rank)]
    before, after = [0] * rank, [0] * rank
    for place, axis in enumerate(axes):
        before[axis], after[axis] = asked[place], asked[place + len(axes)]
    sizes = call.shape()
    call.sized([n + b + a for n, b, a in zip(sizes, before, after, strict=True)])
    if read.mode not in MODES:
        raise call.refuse(f"mode '{read.mode}'")
    if read.mode == "constant":
        return call.apply(_pad, 0, pad=frame(before, after), value=value)
    return _pad_of_itself(call, read.mode, before, after)


def _pad(tensor: Tensor, pad: Sequence[int], value: float) -> Tensor:
    if tensor.dtype == torch.bool:
        return F.pad(tensor.to(torch.int32), pad, value=int(value)).to(torch.bool)
    return F.pad(tensor, pad, value=value)


def _pad_of_itself(call: NodeCall, mode: str, before: list[int], after: list[int]) -> Layer:
    """F.pad where it has the mode for these axes, the places of the numbers for all others."""
    padded = [axis for axis in range(call.rank()) if before[axis] or after[axis]]
    cut = any(n < 0 for n in before + after)
    whole = 2 <= call.rank() <= 5 and all(axis >= 2 for axis in padded) and not cut
    sizes = call.shape()
    near = all(
        max(before[a], after[a]) < sizes[a] + (mode != "reflect") or mode == "edge" for a in padded
    )
    if whole and near and call.value().is_floating_point() and call.rank() > 2:
        around = frame(before[2:], after[2:])
        return call.apply(F.pad, 0, pad=around, mode=MODES[mode])
    places = {a: _sources(mode, sizes[a], before[a], after[a]) for a in padded}
    return call.apply(_taken, 0, places=places)


def _sources(mode: str, size: int, before: int, after: int) -> tuple[int, ...]:
    found = range(-before, size + after)
    if mode == "edge":
        return tuple(min(max(n, 0), size - 1) for n in found)
    if mode == "wrap":
        return tuple(n % size for n in found)
    period = max(2 * (size - 1), 1)
    return tuple(min(n % period, period - n % period) if size > 1 else 0 for n in found)


def _taken(value: Tensor, places: dict[int, tuple[int, ...]]) -> Tensor:
    for axis, indices in places.items():
        value = value.index_select(axis, torch.tensor(indices))
    return value


def depth_to_space(call: NodeCall) -> Layer:
    read = call.read(blocksize=None, mode="DCR")
    if read.mode == "CRD":
        return call.apply(F.pixel_shuffle, 0, upscale_factor=read.blocksize)
    return call.apply(_depth_to_space, 0, block=read.blocksize)


def _depth_to_space(value: Tensor, block: int) -> Tensor:
    n, c, h, w = value.shape
    parts = value.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, c // block**2, h * block, w * block)


def space_to_depth(call: NodeCall) -> Layer:
    return call.apply(_space_to_depth, 0, block=call.read(blocksize=None).blocksize)


def _space_to_depth(value: Tensor, block: int) -> Tensor:
    n, c, h, w = value.shape
    parts = value.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * block**2, h // block, w // block)


def shape(call: NodeCall) -> Layer:
    read = call.read(start=0, end=None)
    return call.apply(
        _given, 0, result=torch.tensor(call.shape()[read.start : read.end], dtype=torch.int64)
    )


def size(call: NodeCall) -> Layer:
    call.read()
    return call.apply(_given, 0, result=torch.tensor(math.prod(call.shape())))


def _given(value: Tensor, result: Tensor) -> Tensor:
    return result


def constant_of_shape(call: NodeCall) -> Layer:
    value = torch.tensor(call.read(value=np.float32(0)).value).reshape(())
    value = value.float() if value.is_floating_point() else value
    return call.apply(_given, 0, result=value.expand(call.sized(call.integers(0, "shape"))))


def eye_like(call: NodeCall) -> Layer:
    read = call.read(dtype=None, k=0)
    if call.rank() != 2:
        raise call.refuse(f"{call.rank()} dimensions")
    kind = TYPES[read.dtype] if read.dtype in TYPES else call.value().dtype
    made = torch.diag_embed(torch.ones(max(call.shape()) + abs(read.k)), read.k)
    rows, columns = call.shape()
    return call.apply(_given, 0, result=made[:rows, :columns].to(kind))


def range_(call: NodeCall) -> Layer:
    call.read()
    start, limit, step = (call.number(i, "bounds") for i in range(3))
    if not step:
        raise call.refuse("a step of 0")
    count = max(0, math.ceil((limit - start) / step))
    call.sized([count])
    kind = call.value(0).dtype
    made = (torch.arange(count, dtype=torch.float64) * step + start).to(kind)
    if not kind.is_floating_point:
        made = torch.arange(count, dtype=kind) * step + start
    return call.apply(_given, 0, result=made)


def trilu(call: NodeCall) -> Layer:
    read = call.read(upper=1)
    diagonal = call.number(1, "diagonal", 0)
    return call.apply(torch.triu if read.upper else torch.tril, 0, diagonal=int(diagonal))


def center_crop_pad(call: NodeCall) -> Layer:
    read = call.read(axes=None)
    asked = call.integers(1, "shape")
    axes = [call.axis(a) for a in (read.axes or range(call.rank()))]
    before, after = [0] * call.rank(), [0] * call.rank()
    for axis, wanted in zip(axes, asked, strict=True):
        more = wanted - call.shape()[axis]
        before[axis] = more // 2 if more >= 0 else -((-more) // 2)
        after[axis] = more - before[axis]
    call.sized([n + b + a for n, b, a in zip(call.shape(), before, after, strict=True)])
    return call.apply(_pad, 0, pad=frame(before, after), value=0)


def reverse_sequence(call: NodeCall) -> Layer:
    read = call.read(batch_axis=1, time_axis=0)
    lengths = call.integers(1, "lengths")
    time, batch = read.time_axis, read.batch_axis
    size = call.shape()[time]
    rows = [[*reversed(range(n)), *range(n, size)] for n in lengths]
    index = torch.tensor(rows)  # (batch, time)
    index = index.t() if time < batch else index
    return call.apply(_gathered, 0, index=index, dim=time)


def _gathered(value: Tensor, index: Tensor, dim: int) -> Tensor:
    index = index.reshape(*index.shape, *(1,) * (value.ndim - 2)).expand(value.shape)
    return value.gather(dim, index)
