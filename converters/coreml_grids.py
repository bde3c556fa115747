"""Core ML's constant expressions: codes in the file, which are numbers when it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from converters.encodings import Encoding, is_exact, place
from model_defs.errors import ConversionFailed

NAME = "mlship::store_on_grids"
REGRIDS = "common::distributive_quantized_binary_op_scale_normalization"
"""A pass of coremltools that puts what a sum reads onto other grids."""

KERNELS = ("conv", "conv_transpose", "linear", "matmul")
"""The operations that have kernels."""

SMALLEST = 16
"""Numbers in a constant from which on its codes and scales are smaller than it."""


def target(grids: Sequence[Encoding], *, activations: bool = False) -> str:
    """The first iOS that can store these: 18 for blocks, 3 bits, and integers below a byte.

    Activations on grids, too, want iOS 17.
    """
    if any(g.block or g.dtype in ("int4", "int6", "palette3") for g in grids):
        return "iOS18"
    return "iOS17" if activations else "iOS16"


def precision(name: str, *, mixed: bool) -> Any:
    """In what coremltools computes: all in float32, or in float16, but for what is to be wide.

    Raises ConversionFailed for any other precision.
    """
    import coremltools as ct

    if name == "float32":
        return ct.precision.FLOAT32
    if name != "float16":
        raise ConversionFailed(f"Core ML does not compute in '{name}'", do="use float32, float16")
    if not mixed:
        return ct.precision.FLOAT16
    return ct.transform.FP16ComputePrecision(op_selector=_halves())


def _halves() -> Callable[[Any], bool]:
    """Whether an operation is to compute in float16; each is asked once, however many read it."""
    known: dict[Any, bool] = {}
    return lambda operation: not is_wide(operation, known)


def is_wide(operation: Any, known: dict[Any, bool]) -> bool:
    """Whether an operation reads a kernel that float16 does not hold, or the result of such a one.

    So what follows a convolution in float32 stays there up to the next one: its result need
    not fit float16. `known` are the answers so far.
    """
    if operation not in known:
        known[operation] = _is_wide(operation, known)
    return known[operation]


def _is_wide(operation: Any, known: dict[Any, bool]) -> bool:
    inputs = [v for given in operation.inputs.values() for v in _listed(given)]
    constants = [v.val for v in inputs if _is_large(v.val)]
    if operation.op_type in KERNELS and constants:
        return not is_exact(max(constants, key=np.size))
    return any(v.op is not None and v.val is None and is_wide(v.op, known) for v in inputs)


def _listed(given: Any) -> list[Any]:
    values = given if isinstance(given, list | tuple) else [given]
    return [value for value in values if value is not None]


def pipeline(grids: Sequence[Encoding]) -> Any:
    """coremltools' passes, and after them one that stores each constant that lies on a grid."""
    import coremltools as ct
    from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
    from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY

    class StoreOnGrids(AbstractGraphPass):
        def apply(self, program: Any) -> None:
            for function in program.functions.values():
                _store(function, grids)

    passes = ct.PassPipeline.DEFAULT
    passes.remove_passes({REGRIDS})
    if grids:
        namespace, name = NAME.split("::")
        PASS_REGISTRY.add(namespace, StoreOnGrids(), True, name)
        passes.append_pass(NAME)
    return passes


def _store(block: Any, grids: Sequence[Encoding]) -> None:
    express = _express_18 if target(grids) == "iOS18" else _express_16
    for const in [op for op in block.operations if op.op_type == "const"]:
        array = const.outputs[0].val
        grid = place(array, grids) if _is_large(array) else None
        if grid is None:
            continue
        with block:
            new = express(grid, grid.codes(array), array.dtype, const)
        block.replace_uses_of_var_after_op(
            anchor_op=const, old_var=const.outputs[0], new_var=new, no_check_var_types=True
        )
        block.remove_ops([const])


def _is_large(value: Any) -> bool:
    floats = isinstance(value, np.ndarray) and value.dtype in (np.float32, np.float16)
    return floats and value.size >= SMALLEST


def _express_16(grid: Encoding, codes: np.ndarray, dtype: np.dtype[Any], const: Any) -> Any:
    """Before: const. After: constexpr_affine_dequantize, or constexpr_lut_to_dense of a palette."""
    from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as its authors write it
    from coremltools.optimize._utils import pack_elements_into_bits

    name = f"{const.name}_quantized"
    if grid.palette:
        return mb.constexpr_lut_to_dense(
            indices=pack_elements_into_bits(codes, grid.bits),
            lut=np.asarray(grid.palette, dtype),
            shape=np.asarray(codes.shape, np.uint32),
            before_op=const,
            name=name,
        )
    scales = np.asarray(grid.scales, dtype)
    scales = scales if scales.size > 1 else scales.reshape(())
    return mb.constexpr_affine_dequantize(
        quantized_data=codes,
        zero_point=np.int8(0),
        scale=scales,
        axis=np.int32(grid.axis),
        before_op=const,
        name=name,
    )


def _express_18(grid: Encoding, codes: np.ndarray, dtype: np.dtype[Any], const: Any) -> Any:
    """The same for iOS 18: scales by blocks, and packed integers of 4, 6 and 3 bits.

    A 6-bit integer is an index into a palette of all 64, which the scales then multiply.
    """
    from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

    options = {"before_op": const, "name": f"{const.name}_quantized"}
    ones = [1] * codes.ndim
    if grid.palette:
        palette = np.asarray(grid.palette, dtype).reshape([*ones, -1, 1])
        indices = codes.astype(_packed(f"uint{grid.bits}"))
        return mb.constexpr_lut_to_dense(indices=indices, lut=palette, **options)
    data: Any = codes.astype(_packed(grid.dtype)) if grid.dtype == "int4" else codes
    if grid.dtype == "int6":
        integers = np.arange(-32, 32, dtype=np.int8).reshape([*ones, -1, 1])
        indices = (codes.astype(np.int16) + 32).astype(_packed("uint6"))
        looked_up = {"before_op": const, "name": f"{const.name}_integers"}
        data = mb.constexpr_lut_to_dense(indices=indices, lut=integers, **looked_up)
    scales = _per_block(grid, codes.shape).astype(dtype)
    return mb.constexpr_blockwise_shift_scale(data=data, scale=scales, **options)


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
