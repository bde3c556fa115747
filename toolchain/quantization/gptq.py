"""Rounding that looks at the data: what one weight loses, those after it make up for.

Frantar 2023 (GPTQ), after Hassibi 1993 (optimal brain surgeon): the columns of a kernel are
rounded one after the other, and the error of each is spread over the columns that are still free,
as the second moments of the layer's inputs say. Where a column is always zero nothing is spread.
Of a convolution in groups each group has inputs, and moments, of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from converters.api import Program
from converters.encodings import Encoding
from converters.graph.captured import GraphCall
from converters.graph.sources import operation_of
from converters.program_graph import watch
from toolchain.quantization.module_cache import cache_by_module

DAMPING = 0.01
"""Added to the diagonal of the moments, as a share of its mean (Frantar 2023, section 3.3)."""

SIDE = 48
"""The side of the square of a layer's outputs, in the middle, whose inputs are looked at."""

BLOCK = 128
"""Columns that are rounded before those behind them are brought up to date."""

Moments = Mapping[str, np.ndarray]
"""Parameter -> the second moments (groups, columns, columns) of what a row of its kernel meets."""

Means = Mapping[str, np.ndarray]
"""Parameter -> the means (groups, columns) of what a row of its kernel meets."""


@cache_by_module
def collect_moments(program: Program) -> Moments:
    """Those of the linear layers and of the convolutions, over pictures; summed over these."""
    return _summed(program, lambda patches: patches.transpose(0, 2, 1) @ patches / patches.shape[1])


@cache_by_module
def collect_means(program: Program) -> Means:
    """Those of the linear layers and of the convolutions, over pictures."""

    def of(patches: np.ndarray) -> np.ndarray:
        """With a 1 behind it, which counts the calls."""
        return np.pad(patches.mean(1), ((0, 0), (0, 1)), constant_values=1.0)

    found = _summed(program, of)
    return {name: total[:, :-1] / total[:, -1:] for name, total in found.items()}


def _summed(program: Program, of: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    """Parameter -> the sum over all calls of what is made `of` the patches that a call reads."""
    from toolchain.data import calibration

    found: dict[str, np.ndarray] = {}
    layers = program.module.named_modules()
    kernels = {
        f"{path}.weight".strip(".") for path, m in layers if isinstance(m, nn.Linear | nn.Conv2d)
    }

    def seen(call: GraphCall) -> Any:
        read = call.node.args[1] if len(call.node.args) > 1 else None
        if operation_of(call.node) in PATCHES and isinstance(read, fx.Node):
            name = str(read.target)
            if read.op == "get_attr" and name in kernels:
                # In float64: the moments will be inverted, which multiplies what sums lose in
                # float32.
                made = of(PATCHES[operation_of(call.node)](*call.args).double().numpy())
                found[name] = found.get(name, 0.0) + made
        return call.result

    for given in calibration.inputs_for(program):
        watch(program, given, seen)
    return found


def _rows_of(given: torch.Tensor, *others: Any) -> torch.Tensor:
    """(1, patches, columns): what meets a row of a linear layer's kernel."""
    return given.reshape(1, -1, given.shape[-1])


def _patches(
    given: torch.Tensor,
    kernel: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Any = 0,
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> torch.Tensor:
    """(groups, patches, columns): what meets a row of a convolution's kernel."""
    sizes = kernel.shape[2:]
    reach = [dilation[axis] * (sizes[axis] - 1) + 1 for axis in (0, 1)]
    for axis in (0, 1):
        size = min(given.shape[2 + axis], stride[axis] * (SIDE - 1) + reach[axis])
        given = given.narrow(2 + axis, (given.shape[2 + axis] - size) // 2, size)
    # The middle alone: time grows with the places; and no padding is seen there, whose zeros are
    # no data. But where a picture is smaller than the kernel reaches.
    missing = [max(0, -(-(reach[axis] - given.shape[2 + axis]) // 2)) for axis in (0, 1)]
    how: list[Any] = [sizes, dilation, missing, stride]
    columns = functional.unfold(given, *how)
    return columns.reshape(groups, -1, columns.shape[-1]).transpose(1, 2)


PATCHES: Mapping[str, Callable[..., torch.Tensor]] = {"linear": _rows_of, "conv2d": _patches}
"""Operation -> (groups, patches, columns), what meets the rows of its kernel, by its arguments."""


def round_by_gptq(kernel: np.ndarray, grid: Encoding, seen: np.ndarray) -> np.ndarray:
    """The kernel's numbers on the grid, whose outputs are nearest on inputs with these moments.

    The channels are along axis 0; `seen` is (groups, columns, columns) for the rest. Zeros stay
    zeros where the grid has a zero: what was pruned takes nothing over (Frantar 2023, SparseGPT).
    """
    spread = _spread(seen)  # (groups, columns, columns)
    groups, count = spread.shape[:2]
    rows = kernel.reshape(groups, -1, count).astype(np.float64)
    pruned = (rows == 0) & (not grid.palette or 0.0 in grid.palette)
    result = np.empty_like(rows)
    # Within a block an error reaches the columns that are left at once; those behind the block get
    # all of its errors as one matrix product: the same sums, in a fraction of the memory traffic
    # (Frantar 2023, section 3.2).
    for start in range(0, count, BLOCK):
        end = min(start + BLOCK, count)
        errors = np.empty((*rows.shape[:2], end - start))
        for column in range(start, end):
            nearest = _nearest(grid, rows, column, kernel.shape)
            result[..., column] = np.where(pruned[..., column], 0.0, nearest)
            # With U the Cholesky factor of the inverse, row c stands for the inverse without the
            # columns before c: the free columns answer best by -(error / U[c, c]) * U[c, c:].
            lost = (rows[..., column] - result[..., column]) / spread[:, column, column, None]
            rows[..., column:end] -= lost[..., None] * spread[:, None, column, column:end]
            errors[..., column - start] = lost
        rows[..., end:] -= errors @ spread[:, start:end, end:]
    return result.reshape(kernel.shape).astype(np.float32)


def _spread(seen: np.ndarray) -> np.ndarray:
    """The upper Cholesky factors of the inverses of the moments, damped."""
    mean = np.diagonal(seen, axis1=1, axis2=2).mean(axis=1)[:, None, None]
    # The 1e-9 is for a layer that read nothing but zeros, whose moments have no inverse at all.
    damped = seen + np.eye(seen.shape[1]) * (DAMPING * mean + 1e-9)
    return np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1)


def _nearest(grid: Encoding, rows: np.ndarray, column: int, shape: tuple[int, ...]) -> np.ndarray:
    """The numbers of a column of the kernel on the grid, (groups, rows)."""
    if grid.palette:
        return grid.numbers(grid.codes(rows[..., column]))
    scales = np.broadcast_to(grid.scales_for(shape), shape).reshape(rows.shape)[..., column]
    scales = scales.astype(np.float64)
    return np.rint(rows[..., column] / scales).clip(-grid.top, grid.top) * scales
