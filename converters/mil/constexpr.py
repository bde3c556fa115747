"""Decoders of compressed constants, in numpy.

Arithmetic is in the type of the scale, as coremltools' own materialisation does it, so that
the decoded weights are bit for bit what a decompressed package would hold. iOS16 writes packed
bytes and a shape, iOS18 typed tensors: both are told apart by their arguments.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping

import numpy as np

from model_defs.errors import BadArtifact, UnsupportedOperation

Array = np.ndarray
Decoder = Callable[..., tuple[Array, ...]]


def _along(vector: Array, rank: int, axis: int) -> Array:
    if vector.size == 1:
        return vector.reshape(())
    shape = [1] * rank
    shape[axis] = -1
    return vector.reshape(shape)


def affine_dequantize(
    quantized_data: Array, zero_point: Array, scale: Array, axis: Array
) -> tuple[Array, ...]:
    """scale * (data - zero_point), per tensor or along an axis."""
    rank = quantized_data.ndim
    shifted = quantized_data.astype(np.float32) - _along(
        zero_point.astype(np.float32), rank, int(axis)
    )
    return ((_along(scale.astype(np.float32), rank, int(axis)) * shifted).astype(scale.dtype),)


def cast(source_val: Array, output_dtype: str) -> tuple[Array, ...]:
    if output_dtype != "fp32":
        raise UnsupportedOperation(f"constexpr_cast to '{output_dtype}'")
    return (source_val.astype(np.float32),)


def _bits(packed: Array, width: int, count: int) -> Array:
    """`count` numbers of `width` bits, packed from the lowest bit of each byte upwards."""
    if packed.size != (count * width + 7) // 8:
        raise BadArtifact(f"{packed.size} bytes do not hold {count} numbers of {width} bits")
    planes = np.unpackbits(packed, bitorder="little", count=count * width)
    return np.packbits(planes.reshape(count, width), axis=1, bitorder="little")[:, 0]


def _sizes(shape: Array) -> tuple[int, ...]:
    return tuple(int(n) for n in shape)


def lut_to_dense_packed(indices: Array, lut: Array, shape: Array) -> tuple[Array, ...]:
    """One palette of 2, 4, 16, 64 or 256 values for the tensor (iOS16)."""
    width = lut.size.bit_length() - 1
    if lut.size != 1 << width or width not in (1, 2, 4, 6, 8):
        raise BadArtifact(f"a palette of {lut.size} values")
    sizes = _sizes(shape)
    return (lut[_bits(indices, width, math.prod(sizes))].reshape(sizes),)


def lut_to_dense(indices: Array, lut: Array, vector_axis: Array | None = None) -> tuple[Array, ...]:
    """Palettes per block of the tensor, of scalars or of vectors along an axis (iOS18).

    `lut` is (*blocks, palette, vector), `indices` has a rank lower by two.
    """
    *blocks, palette, vector = lut.shape
    if len(blocks) != indices.ndim or any(
        n % b for n, b in zip(indices.shape, blocks, strict=True)
    ):
        raise BadArtifact(f"palettes of shape {lut.shape} for indices of shape {indices.shape}")
    if indices.size and int(indices.max()) >= palette:
        raise BadArtifact(f"an index beyond a palette of {palette}")
    where = [np.arange(n) // (n // b) for n, b in zip(indices.shape, blocks, strict=True)]
    values = lut[(*np.ix_(*where), indices)]
    if vector == 1:
        return (values[..., 0],)
    if vector_axis is None:
        raise BadArtifact("vectors in a palette without an axis")
    axis = int(vector_axis) % indices.ndim
    moved = np.moveaxis(values, -1, axis + 1)
    sizes = list(indices.shape)
    sizes[axis] *= vector
    return (moved.reshape(sizes),)


def sparse_to_dense_packed(nonzero_data: Array, mask: Array, shape: Array) -> tuple[Array, ...]:
    """The mask is packed bits (iOS16)."""
    sizes = _sizes(shape)
    return sparse_to_dense(nonzero_data, _bits(mask, 1, math.prod(sizes)).reshape(sizes))


def sparse_to_dense(nonzero_data: Array, mask: Array) -> tuple[Array, ...]:
    dense = np.zeros(mask.shape, nonzero_data.dtype)
    if np.count_nonzero(mask) != nonzero_data.size:
        raise BadArtifact(f"a mask of {np.count_nonzero(mask)} ones for {nonzero_data.size} values")
    dense[mask != 0] = nonzero_data
    return (dense,)


def blockwise_shift_scale(
    data: Array, scale: Array, offset: Array | None = None
) -> tuple[Array, ...]:
    """scale * (data - offset), each constant within a block."""
    if scale.ndim != data.ndim or any(n % b for n, b in zip(data.shape, scale.shape, strict=True)):
        raise BadArtifact(f"scales of shape {scale.shape} for data of shape {data.shape}")
    values = data.astype(scale.dtype)
    if offset is not None:
        values = values - _blocks(offset, data.shape).astype(scale.dtype)
    return (_blocks(scale, data.shape) * values,)


def _blocks(per_block: Array, shape: tuple[int, ...]) -> Array:
    for axis, (size, blocks) in enumerate(zip(shape, per_block.shape, strict=True)):
        per_block = np.repeat(per_block, size // blocks, axis)
    return per_block


def lut_to_sparse(
    indices_mask: Array, indices_nonzero_data: Array, lut: Array, vector_axis: Array | None = None
) -> tuple[Array, ...]:
    """The mask and the values at its ones."""
    # By way of the dense tensor, whose places say which block's palette is read.
    (indices,) = sparse_to_dense(indices_nonzero_data, indices_mask)
    (values,) = lut_to_dense(indices, lut, vector_axis)
    mask = indices_mask
    if vector_axis is not None and lut.shape[-1] > 1:
        mask = np.repeat(mask, lut.shape[-1], int(vector_axis))
    return mask, values[mask != 0]


def sparse_blockwise_shift_scale(
    data_mask: Array, nonzero_data: Array, scale: Array, offset: Array | None = None
) -> tuple[Array, ...]:
    """The mask and the values at its ones."""
    (data,) = sparse_to_dense(nonzero_data, data_mask)
    (values,) = blockwise_shift_scale(data, scale, offset)
    return data_mask, values[data_mask != 0]


DECODERS: dict[str, tuple[Decoder, ...]] = {
    "constexpr_affine_dequantize": (affine_dequantize,),
    "constexpr_blockwise_shift_scale": (blockwise_shift_scale,),
    "constexpr_cast": (cast,),
    "constexpr_lut_to_dense": (lut_to_dense, lut_to_dense_packed),
    "constexpr_lut_to_sparse": (lut_to_sparse,),
    "constexpr_sparse_blockwise_shift_scale": (sparse_blockwise_shift_scale,),
    "constexpr_sparse_to_dense": (sparse_to_dense, sparse_to_dense_packed),
}


def decode(kind: str, arguments: Mapping[str, Array]) -> tuple[Array, ...]:
    """The constants that a `constexpr_` operation stands for.

    Raises UnsupportedOperation for an unknown one, BadArtifact for arguments of no known form
    or that contradict each other.
    """
    if kind not in DECODERS:
        raise UnsupportedOperation(
            f"constant encoding '{kind}'", do=f"known: {', '.join(DECODERS)}"
        )
    for decoder in DECODERS[kind]:
        try:
            bound = inspect.signature(decoder).bind(**arguments)
        except TypeError:
            continue
        try:
            return decoder(*bound.args, **bound.kwargs)
        except (ValueError, IndexError) as error:
            raise BadArtifact(f"{kind} cannot be decoded: {error}") from error
    raise BadArtifact(f"{kind} with arguments {', '.join(sorted(arguments))}")
