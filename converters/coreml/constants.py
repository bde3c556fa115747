"""Core ML's constant expressions: codes or a mask in the file, numbers when it is loaded."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.encodings import Encoding

OVERHEAD = 640
"""Bytes that a mask costs at most beside its bits: records and alignment of blobs, operations."""


def is_sparse(array: np.ndarray, bits: int, dense: int) -> bool:
    """Whether a bit for each number, and `bits` for each but zeros, is less than `dense` for all.

    Never where all are zeros: Core ML knows no empty tensors.
    """
    others = int(np.count_nonzero(array))
    return others > 0 and array.size + others * bits + 8 * OVERHEAD < array.size * dense


def express_16(array: np.ndarray, grid: Encoding | None, const: Any) -> Any:
    """What stands for a constant on iOS 16, in the fewest bytes; None where that is the constant.

    Before: const
    After:  constexpr_affine_dequantize, or constexpr_lut_to_dense of a palette, or
            constexpr_sparse_to_dense of floats: it takes no codes
    """
    from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as its authors write it
    from coremltools.optimize._utils import pack_elements_into_bits

    wide = 8 * array.itemsize
    shape = np.asarray(array.shape, np.uint32)
    if is_sparse(array, wide, grid.bits if grid else wide):
        mask = np.packbits(array != 0, bitorder="little")
        return mb.constexpr_sparse_to_dense(
            nonzero_data=array[array != 0], mask=mask, shape=shape, **_named(const, "sparse")
        )
    if grid is None:
        return None
    codes, named = grid.codes(array), _named(const, "quantized")
    if grid.palette:
        indices = pack_elements_into_bits(codes, grid.bits)
        lut = np.asarray(grid.palette, array.dtype)
        return mb.constexpr_lut_to_dense(indices=indices, lut=lut, shape=shape, **named)
    scales = np.asarray(grid.scales, array.dtype)
    return mb.constexpr_affine_dequantize(
        quantized_data=codes,
        zero_point=np.int8(0),
        scale=scales if scales.size > 1 else scales.reshape(()),
        axis=np.int32(grid.axis),
        **named,
    )


def express_18(array: np.ndarray, grid: Encoding | None, const: Any) -> Any:
    """The same for iOS 18: scales by blocks, integers of 4, 6 and 3 bits, and masks over codes.

    A 6-bit integer is an index into a palette of all 64, which the scales then multiply.
    """
    bits = grid.bits if grid else 8 * array.itemsize
    if is_sparse(array, bits, bits):
        return _sparse(array, grid, const)
    return _dense(array, grid, const) if grid else None


def _dense(array: np.ndarray, grid: Encoding, const: Any) -> Any:
    from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

    data, lut = _codes(array, grid)
    if lut is not None:
        named = _named(const, "quantized" if grid.palette else "integers")
        data = mb.constexpr_lut_to_dense(indices=data, lut=lut, **named)
    if grid.palette:
        return data
    scale = _per_block(grid, array.shape).astype(array.dtype)
    return mb.constexpr_blockwise_shift_scale(data=data, scale=scale, **_named(const, "quantized"))


def _sparse(array: np.ndarray, grid: Encoding | None, const: Any) -> Any:
    """The mask goes with the numbers through each step, and then spreads them."""
    from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

    others = array != 0
    mask, data = others.astype(_packed("uint1")), array[others]
    if grid is not None:
        codes, lut = _codes(array, grid)
        data = codes[others]
        if lut is not None:
            named = _named(const, "quantized" if grid.palette else "integers")
            mask, data = mb.constexpr_lut_to_sparse(
                indices_mask=mask, indices_nonzero_data=data, lut=lut, **named
            )
        if not grid.palette:
            mask, data = mb.constexpr_sparse_blockwise_shift_scale(
                data_mask=mask,
                nonzero_data=data,
                scale=_per_block(grid, array.shape).astype(array.dtype),
                **_named(const, "quantized"),
            )
    return mb.constexpr_sparse_to_dense(nonzero_data=data, mask=mask, **_named(const, "sparse"))


def _named(const: Any, how: str) -> dict[str, Any]:
    return {"before_op": const, "name": f"{const.name}_{how}"}


def _codes(array: np.ndarray, grid: Encoding) -> tuple[np.ndarray, np.ndarray | None]:
    """The codes as iOS 18 packs them, and the palette (1, ..., codes, 1) that they point into."""
    codes = grid.codes(array)
    if grid.palette:
        lut = np.asarray(grid.palette, array.dtype)
    elif grid.dtype == "int6":
        codes, lut = codes.astype(np.int16) + 32, np.arange(-32, 32, dtype=np.int8)
    else:
        return codes.astype(_packed(grid.dtype)), None
    return codes.astype(_packed(f"uint{grid.bits}")), lut.reshape([*[1] * array.ndim, -1, 1])


def _per_block(grid: Encoding, shape: tuple[int, ...]) -> np.ndarray:
    """The scales in the rank of the numbers, one of each block."""
    scales = np.asarray(grid.scales, np.float32)
    sizes = [1] * len(shape)
    if scales.size > 1:
        sizes[grid.axis] = shape[grid.axis]
    if not grid.block:
        return scales.reshape(sizes)
    blocks = scales.reshape(shape[grid.axis], -1)
    sizes[1 - grid.axis] = blocks.shape[1]
    return (blocks if grid.axis == 0 else blocks.T).reshape(sizes)


def _packed(name: str) -> Any:
    from coremltools.converters.mil.mil import types

    return types.nptype_from_builtin(types.string_to_builtin(name))
