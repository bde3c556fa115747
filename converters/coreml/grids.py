"""What a Core ML package computes in, and which of its constants are expressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from converters.coreml.constants import express_16, express_18
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


def precision(name: str, grids: Sequence[Encoding], *, mixed: bool) -> Any:
    """In what coremltools computes: all in float32, or in float16, but for what is to be wide.

    Kernels on one of the grids are for float16.

    Raises ConversionFailed for any other precision.
    """
    import coremltools as ct

    if name == "float32":
        return ct.precision.FLOAT32
    if name != "float16":
        raise ConversionFailed(f"Core ML does not compute in '{name}'", do="use float32, float16")
    if not mixed:
        return ct.precision.FLOAT16
    return ct.transform.FP16ComputePrecision(op_selector=_halves(grids))


def _halves(grids: Sequence[Encoding]) -> Callable[[Any], bool]:
    """Whether an operation is to compute in float16; each is asked once, however many read it."""
    known: dict[Any, bool] = {}
    return lambda operation: not is_wide(operation, grids, known)


def is_wide(operation: Any, grids: Sequence[Encoding], known: dict[Any, bool]) -> bool:
    """Whether an operation reads a kernel that is to stay float32, or the result of such a one.

    That is one that neither float16 nor a grid holds. So what follows a convolution in float32
    stays there up to the next one: its result need not fit float16. `known` are the answers so
    far.
    """
    if operation not in known:
        known[operation] = _is_wide(operation, grids, known)
    return known[operation]


def _is_wide(operation: Any, grids: Sequence[Encoding], known: dict[Any, bool]) -> bool:
    inputs = [v for given in operation.inputs.values() for v in _listed(given)]
    constants = [v.val for v in inputs if _is_matrix(v.val)]
    if operation.op_type in KERNELS and constants:
        kernel = max(constants, key=np.size)
        return not is_exact(kernel) and place(kernel, grids) is None
    return any(v.op is not None and v.val is None and is_wide(v.op, grids, known) for v in inputs)


def _listed(given: Any) -> list[Any]:
    values = given if isinstance(given, list | tuple) else [given]
    return [value for value in values if value is not None]


def pipeline(grids: Sequence[Encoding], target: str) -> Any:
    """coremltools' passes, and after them one that stores constants in the fewest bytes.

    `target` is the iOS that the program is for, whose expressions they are.
    """
    import coremltools as ct
    from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
    from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY

    class StoreOnGrids(AbstractGraphPass):
        def apply(self, program: Any) -> None:
            for function in program.functions.values():
                _store(function, grids, express_18 if target == "iOS18" else express_16)

    passes = ct.PassPipeline.DEFAULT
    passes.remove_passes({REGRIDS})
    namespace, name = NAME.split("::")
    PASS_REGISTRY.add(namespace, StoreOnGrids(), True, name)
    # Last: what is expressed is no constant any more to the passes that fold and merge constants.
    passes.append_pass(NAME)
    return passes


def _store(block: Any, grids: Sequence[Encoding], express: Callable[..., Any]) -> None:
    """Constants that lie on a grid, and kernels that have many zeros."""
    for const in [op for op in block.operations if op.op_type == "const"]:
        array = const.outputs[0].val
        grid = place(array, grids) if _is_large(array) else None
        if grid is None and not _is_kernel(const):
            continue
        with block:
            new = express(array, grid, const)
        if new is None:
            continue
        block.replace_uses_of_var_after_op(
            anchor_op=const, old_var=const.outputs[0], new_var=new, no_check_var_types=True
        )
        block.remove_ops([const])


def _is_kernel(const: Any) -> bool:
    """Whether it is nothing else: a bias, for one, has to be a plain constant."""
    array, readers = const.outputs[0].val, const.outputs[0].child_ops
    kernel = _is_large(array) and array.ndim > 1 and bool(readers)
    return kernel and all(reader.op_type in KERNELS for reader in readers)


def _is_large(value: Any) -> bool:
    return _are_floats(value) and value.size >= SMALLEST


def _is_matrix(value: Any) -> bool:
    return _are_floats(value) and (value.ndim > 1 or value.size >= SMALLEST)


def _are_floats(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype in (np.float32, np.float16)
