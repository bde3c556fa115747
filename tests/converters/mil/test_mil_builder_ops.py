"""Operations that coremltools' PyTorch frontend rarely emits, against values worked out apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mil_packages import build, compare, op_types

from converters import mil
from converters.coreml.tools import coremltools

Array = np.ndarray
RNG = np.random.default_rng(5)


def noise(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


@dataclass(frozen=True)
class Written:
    """An operation written with Builder, its inputs, and what must come out."""

    write: Callable[..., Any]
    inputs: tuple[Array, ...]
    expected: Array | tuple[Array, ...]
    op: str
    tolerance: float = 1e-6


X = noise(1, 4, 6, 5)
SMALL = noise(2, 3)
T = torch.from_numpy


def torched(function: Callable[..., torch.Tensor], *arrays: Array) -> Array:
    return function(*map(T, arrays)).numpy()


def along_last(positions: list[float], row: Array) -> Array:
    """A row sampled linearly at positions, by numpy."""
    return np.interp(positions, np.arange(len(row)), row).astype(np.float32)


RAMP = np.array([0, 1], np.float32).reshape(1, 1, 1, 2)
BUMPY = np.array([3, -1, 4, 1, -5, 9, 2], np.float32).reshape(1, 1, 1, 7)

DOCUMENTED_GRIDS: dict[str, dict[int, list[float]]] = {
    "UNALIGN_CORNERS": {5: [0, 0.1, 0.5, 0.9, 1], 6: [0, 0, 1 / 3, 2 / 3, 1, 1]},
    "STRICT_ALIGN_CORNERS": {5: [0, 0.25, 0.5, 0.75, 1], 6: [0, 0.2, 0.4, 0.6, 0.8, 1]},
    "ALIGN_CORNERS": {5: [0, 0.25, 0.5, 0.75, 1], 6: [0, 0.2, 0.4, 0.6, 0.8, 1]},
    "DEFAULT": {5: [0, 0.4, 0.8, 1, 1], 6: [0, 1 / 3, 2 / 3, 1, 1, 1]},
    "OFFSET_CORNERS": {
        5: [0.1, 0.3, 0.5, 0.7, 0.9],
        6: [1 / 12, 3 / 12, 5 / 12, 7 / 12, 9 / 12, 11 / 12],
    },
}
"""The examples in coremltools' documentation of resize_bilinear, for an input of [0, 1]."""


def resized(mode: str, width: int) -> Callable[..., Any]:
    return lambda mb, x: mb.resize_bilinear(
        x=x, target_size_height=1, target_size_width=width, sampling_mode=mode
    )


RESIZES = {
    f"{mode.lower()}-to-{width}": Written(
        resized(mode, width),
        (RAMP,),
        np.array(grid, np.float32).reshape(1, 1, 1, width),
        "resize_bilinear",
    )
    for mode, grids in DOCUMENTED_GRIDS.items()
    for width, grid in grids.items()
} | {
    "align-corners-to-1-takes-the-centre": Written(
        resized("ALIGN_CORNERS", 1),
        (BUMPY,),
        np.full((1, 1, 1, 1), 1, np.float32),
        "resize_bilinear",
    ),
    "strict-align-corners-to-1-takes-the-first": Written(
        resized("STRICT_ALIGN_CORNERS", 1),
        (BUMPY,),
        np.full((1, 1, 1, 1), 3, np.float32),
        "resize_bilinear",
    ),
    "default-shrinks": Written(
        resized("DEFAULT", 3),
        (BUMPY,),
        along_last([0, 7 / 3, 14 / 3], BUMPY[0, 0, 0]).reshape(1, 1, 1, 3),
        "resize_bilinear",
    ),
    "unalign-as-pytorch": Written(
        lambda mb, x: mb.resize_bilinear(
            x=x, target_size_height=9, target_size_width=3, sampling_mode="UNALIGN_CORNERS"
        ),
        (X,),
        torched(lambda x: F.interpolate(x, (9, 3), mode="bilinear"), X),
        "resize_bilinear",
    ),
    "nearest": Written(
        lambda mb, x: mb.resize_nearest_neighbor(x=x, target_size_height=9, target_size_width=3),
        (X,),
        torched(lambda x: F.interpolate(x, (9, 3)), X),
        "resize_nearest_neighbor",
    ),
    "resize-linear": Written(
        lambda mb, x: mb.resize(
            x=x,
            shape=[1, 4, 0, 11],
            resized_dims=np.uint32(2),
            interpolation_mode="LINEAR",
            sampling_mode="UNALIGN_CORNERS",
        ),
        (X,),
        torched(lambda x: F.interpolate(x, (6, 11), mode="bilinear"), X),
        "resize",
    ),
    "resize-nearest": Written(
        lambda mb, x: mb.resize(
            x=x,
            shape=[12, 10],
            resized_dims=np.uint32(2),
            interpolation_mode="NEAREST_NEIGHBOR",
            sampling_mode="DEFAULT",
        ),
        (X,),
        X.repeat(2, 2).repeat(2, 3),
        "resize",
    ),
    "upsample-bilinear-without-half-pixels": Written(
        lambda mb, x: mb.upsample_bilinear(
            x=x,
            scale_factor_height=1.0,
            scale_factor_width=2.0,
            align_corners=False,
            half_pixel_centers=False,
        ),
        (BUMPY,),
        along_last([i / 2 for i in range(13)] + [6], BUMPY[0, 0, 0]).reshape(1, 1, 1, 14),
        "upsample_bilinear",
    ),
    "upsample-nearest-fraction": Written(
        lambda mb, x: mb.upsample_nearest_neighbor(
            x=x, scale_factor_height=1.5, scale_factor_width=2.0
        ),
        (X,),
        torched(lambda x: F.interpolate(x, (9, 10)), X),
        "upsample_nearest_neighbor",
    ),
}


def simple(name: str, expected: Array, *inputs: Array, **arguments: Any) -> Written:
    """An operation `mb.name(x=, y=, **arguments)`."""

    def write(mb: Any, *tensors: Any) -> Any:
        return getattr(mb, name)(**dict(zip("xy", tensors, strict=False)), **arguments)

    return Written(write, inputs, expected, name)


ACTIVATIONS = {
    "clamped-relu": simple(
        "clamped_relu", np.minimum(np.where(X >= 0, X, 0.3 * X), 0.8), X, alpha=0.3, beta=0.8
    ),
    "linear-activation": simple("linear_activation", 0.3 * X + 0.8, X, alpha=0.3, beta=0.8),
    "scaled-tanh": simple("scaled_tanh", 1.7 * np.tanh(0.6 * X), X, alpha=1.7, beta=0.6),
    "thresholded-relu": simple("thresholded_relu", np.where(X >= 0.4, X, 0), X, alpha=0.4),
    "threshold": simple("threshold", np.maximum(X, 0.4), X, alpha=0.4),
    "softplus-parametric": simple(
        "softplus_parametric",
        np.array([1, 2, 0.5, 3], np.float32)[:, None, None]
        * np.log1p(np.exp(np.array([1, 0.5, 2, -1], np.float32)[:, None, None] * X)),
        X,
        alpha=np.array([1, 2, 0.5, 3], np.float32),
        beta=np.array([1, 0.5, 2, -1], np.float32),
    ),
    "gelu-sigmoid": simple("gelu", X / (1 + np.exp(-1.702 * X)), X, mode="SIGMOID_APPROXIMATION"),
    "inverse-has-an-epsilon": simple("inverse", 1 / (np.abs(X) + 0.25), np.abs(X), epsilon=0.25),
    "inverse-default-epsilon": simple(
        "inverse",
        np.array([5000.0, 909.0909, 99.009903, 3.9984009, 0.9999], np.float32),
        np.array([1e-4, 1e-3, 1e-2, 0.25, 1.0], np.float32),
    ),
    "rsqrt-epsilon": simple("rsqrt", 1 / np.sqrt(np.abs(X) + 0.25), np.abs(X), epsilon=0.25),
    "log-epsilon": simple("log", np.log(np.abs(X) + 0.25), np.abs(X), epsilon=0.25),
    "mod": simple("mod", np.mod(X, np.abs(X[::-1]) + 0.3), X, np.abs(X[::-1]) + 0.3),
    "exp2": simple("exp2", np.exp2(X), X),
    "square": simple("square", X * X, X),
    "softsign": simple("softsign", X / (1 + np.abs(X)), X),
    "l2-pool": simple(
        "l2_pool",
        torched(lambda x: (F.avg_pool2d(x * x, 2, 1) * 4).sqrt(), X),
        X,
        kernel_sizes=[2, 2],
        strides=[1, 1],
        pad_type="valid",
    ),
    "max-pool-same": simple(
        "max_pool",
        torched(lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 0), value=-np.inf), 2, 2), X),
        X,
        kernel_sizes=[2, 2],
        strides=[2, 2],
        pad_type="same",
    ),
    "max-pool-same-lower": simple(
        "max_pool",
        torched(lambda x: F.max_pool2d(F.pad(x, (1, 0, 0, 0), value=-np.inf), 2, 2), X),
        X,
        kernel_sizes=[2, 2],
        strides=[2, 2],
        pad_type="same_lower",
    ),
    "l2-norm": simple(
        "l2_norm", X / np.sqrt((X * X).sum((1, 2, 3), keepdims=True) + 0.1), X, epsilon=0.1
    ),
    "local-response-norm": simple(
        "local_response_norm",
        torched(lambda x: F.local_response_norm(x, 3, 0.2, 0.6, 1.5), X),
        X,
        size=3,
        alpha=0.2,
        beta=0.6,
        k=1.5,
    ),
    "layer-norm-middle-axis": simple(
        "layer_norm",
        (X - X.mean(1, keepdims=True)) / np.sqrt(X.var(1, keepdims=True) + 0.01),
        X,
        axes=[1],
        epsilon=0.01,
    ),
    "reduce-prod": simple("reduce_prod", X.prod((1, 3)), X, axes=[1, 3], keep_dims=False),
    "reduce-prod-integers": simple(
        "reduce_prod",
        np.array([6, 120], np.int32),
        np.array([[1, 2, 3], [4, 5, 6]], np.int32),
        axes=[1],
    ),
    "reduce-l1": simple("reduce_l1_norm", np.abs(X).sum(2), X, axes=[2]),
    "reduce-log-sum": simple("reduce_log_sum", np.log(np.abs(X).sum(2)), np.abs(X), axes=[2]),
    "reduce-sum-square-all": simple(
        "reduce_sum_square", (X * X).sum(keepdims=True), X, keep_dims=True
    ),
    "cumsum-exclusive": simple(
        "cumsum", np.cumsum(SMALL, 1) - SMALL, SMALL, axis=1, exclusive=True
    ),
    "cumsum-reversed": simple(
        "cumsum", np.cumsum(SMALL[:, ::-1], 1)[:, ::-1], SMALL, axis=1, reverse=True
    ),
    "matmul-transposed": simple(
        "matmul", SMALL.T @ SMALL, SMALL, SMALL, transpose_x=True, transpose_y=False
    ),
    "add-integers": simple(
        "add", np.array([4, 6], np.int32), np.array([1, 2], np.int32), np.array([3, 4], np.int32)
    ),
}

PLANES = np.arange(2 * 8 * 2 * 2, dtype=np.float32).reshape(2, 8, 2, 2)
ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)

MOVES = {
    "depth-to-space": simple(
        "depth_to_space",
        PLANES.reshape(2, 2, 2, 2, 2, 2).transpose(0, 3, 4, 1, 5, 2).reshape(2, 2, 4, 4),
        PLANES,
        block_size=2,
    ),
    "space-to-depth": simple(
        "space_to_depth",
        PLANES.reshape(2, 8, 1, 2, 1, 2).transpose(0, 3, 5, 1, 2, 4).reshape(2, 32, 1, 1),
        PLANES,
        block_size=2,
    ),
    "batch-to-space": Written(
        lambda mb, x: mb.batch_to_space(
            x=x, block_shape=[2, 2], crops=np.array([[0, 1], [1, 0]], np.int32)
        ),
        (np.arange(8, dtype=np.float32).reshape(4, 1, 1, 2),),
        np.array([2, 1, 3], np.float32).reshape(1, 1, 1, 3),
        "batch_to_space",
    ),
    "space-to-batch": Written(
        lambda mb, x: mb.space_to_batch(
            x=x, block_shape=[2, 2], paddings=np.array([[0, 0], [0, 0]], np.int32)
        ),
        (np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2),),
        np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1),
        "space_to_batch",
    ),
    "crop": simple("crop", X[..., 1:4, 2:5], X, crop_height=[1, 2], crop_width=[2, 0]),
    "flatten2d": simple("flatten2d", X.reshape(4, 30), X, axis=2),
    "reverse-all": simple("reverse", ROWS[::-1, ::-1], ROWS),
    "reverse-sequence": simple(
        "reverse_sequence",
        np.array([[1, 0, 2, 3], [6, 5, 4, 7], [8, 9, 10, 11]], np.float32),
        ROWS,
        lengths=np.array([2, 3, 1], np.int32),
        seq_axis=1,
        batch_axis=0,
    ),
    "slice-by-size": simple("slice_by_size", ROWS[1:3, 2:], ROWS, begin=[1, 2], size=[2, -1]),
    "slice-backwards": simple(
        "slice_by_index",
        ROWS[2:0:-1, ::-2],
        ROWS,
        begin=[2, 0],
        end=[0, 0],
        stride=[-1, -2],
        begin_mask=[False, True],
        end_mask=[False, True],
    ),
    "slice-squeeze": simple(
        "slice_by_index",
        ROWS[-1, 1:3],
        ROWS,
        begin=[-1, 1],
        end=[0, 3],
        squeeze_mask=[True, False],
    ),
    "sliding-windows": simple(
        "sliding_windows",
        np.stack([ROWS[:, 0:2], ROWS[:, 2:4]], 1),
        ROWS,
        axis=1,
        size=2,
        stride=2,
    ),
    "tile": simple("tile", np.tile(ROWS, (2, 3)), ROWS, reps=[2, 3]),
    "concat-interleaved": Written(
        lambda mb, x, y: mb.concat(values=[x, y], axis=0, interleave=True),
        (ROWS, -ROWS),
        np.stack([ROWS, -ROWS], 1).reshape(6, 4),
        "concat",
    ),
    "band-part": simple("band_part", np.triu(np.tril(ROWS, 1), -1), ROWS, lower=1, upper=1),
    "reshape-keeps-sizes-from-the-right": simple(
        "reshape", ROWS.reshape(1, 3, 4), ROWS, shape=[1, 0, -1]
    ),
    "reshape-like": Written(
        lambda mb, x, y: mb.reshape_like(
            x=x, ref_tensors=(y, y), begins=(0, 0), ends=(1, 2), end_masks=(False, False)
        ),
        (np.arange(12, dtype=np.float32), np.zeros((2, 3), np.float32)),
        np.arange(12, dtype=np.float32).reshape(2, 2, 3),
        "reshape_like",
    ),
    "shape": simple("shape", np.array([3, 4], np.int32), ROWS),
    "fill": Written(
        lambda mb, x: mb.add(x=mb.fill(shape=[3, 4], value=2.5), y=x), (ROWS,), ROWS + 2.5, "fill"
    ),
    "range": Written(
        lambda mb, x: mb.add(x=mb.range_1d(start=1.0, end=5.0, step=1.0), y=x),
        (ROWS,),
        ROWS + np.arange(1, 5),
        "range_1d",
    ),
    "one-hot": Written(
        lambda mb, i: mb.one_hot(
            indices=i, one_hot_vector_size=4, axis=0, on_value=2.0, off_value=-1.0
        ),
        (np.array([2, -1], np.int32),),
        np.array([[-1, -1], [-1, -1], [2, -1], [-1, 2]], np.float32),
        "one_hot",
    ),
    "non-zero": Written(
        lambda mb, x: mb.non_zero(x=x),
        (np.array([[0, 3], [1, 0]], np.float32),),
        np.array([[0, 1], [1, 0]], np.int32),
        "non_zero",
    ),
    "topk-bottom": Written(
        lambda mb, x: mb.topk(x=x, k=2, axis=0, ascending=True),
        (np.array([[5, 1], [3, 2], [4, 0]], np.float32),),
        (np.array([[3, 0], [4, 1]], np.float32), np.array([[1, 2], [2, 0]], np.int32)),
        "topk",
    ),
    "einsum": Written(
        lambda mb, x, y: mb.einsum(values=(x, y), equation="nchw,nwhu->nchu"),
        (noise(1, 2, 3, 4), noise(1, 4, 3, 5)),
        (np.zeros(0),),
        "einsum",
    ),
}
_einsum = MOVES["einsum"]
MOVES["einsum"] = Written(
    _einsum.write,
    _einsum.inputs,
    np.einsum("nchw,nwhu->nchu", *_einsum.inputs),
    "einsum",
    tolerance=1e-5,
)

INDEXED = (
    {
        "gather-rank-2": Written(
            lambda mb, x, i: mb.gather(x=x, indices=i, axis=1),
            (ROWS, np.array([[3, -4], [1, 1]], np.int32)),
            ROWS[:, [[3, 0], [1, 1]]],
            "gather",
        ),
        "gather-batched": Written(
            lambda mb, x, i: mb.gather(x=x, indices=i, axis=1, batch_dims=1),
            (ROWS, np.array([[3, 0], [1, 1], [2, 3]], np.int32)),
            np.take_along_axis(ROWS, np.array([[3, 0], [1, 1], [2, 3]]), 1),
            "gather",
        ),
        "gather-along-axis": Written(
            lambda mb, x, i: mb.gather_along_axis(x=x, indices=i, axis=0),
            (ROWS, np.array([[2, 0, 1, 1]], np.int32)),
            ROWS[[2, 0, 1, 1], range(4)][None],
            "gather_along_axis",
        ),
        "gather-nd": Written(
            lambda mb, x, i: mb.gather_nd(x=x, indices=i),
            (ROWS, np.array([[2, 0], [1, 3]], np.int32)),
            np.array([8, 7], np.float32),
            "gather_nd",
        ),
        "gather-nd-rows": Written(
            lambda mb, x, i: mb.gather_nd(x=x, indices=i),
            (ROWS, np.array([[2], [1]], np.int32)),
            ROWS[[2, 1]],
            "gather_nd",
        ),
        "gather-nd-batched": Written(
            lambda mb, x, i: mb.gather_nd(x=x, indices=i, batch_dims=1),
            (ROWS, np.array([[2], [1], [3]], np.int32)),
            np.array([2, 5, 11], np.float32),
            "gather_nd",
        ),
    }
    | {
        f"scatter-{mode}": Written(
            lambda mb, x, u, mode=mode: mb.scatter(
                data=x, indices=np.array([2, 0], np.int32), updates=u, axis=0, mode=mode
            ),
            (ROWS + 1, ROWS[:2] + 2),
            np.stack(
                [
                    function(ROWS[0] + 1, ROWS[1] + 2),
                    ROWS[1] + 1,
                    function(ROWS[2] + 1, ROWS[0] + 2),
                ]
            ),
            "scatter",
        )
        for mode, function in {
            "update": lambda old, new: new,
            "add": np.add,
            "sub": np.subtract,
            "mul": np.multiply,
            "div": np.divide,
            "max": np.maximum,
            "min": np.minimum,
        }.items()
    }
    | {
        "scatter-along-axis": Written(
            lambda mb, x, u: mb.scatter_along_axis(
                data=x, indices=np.array([[1, 1, 0, 2]], np.int32), updates=u, axis=0, mode="add"
            ),
            (ROWS, np.ones((1, 4), np.float32)),
            ROWS + np.array([[0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]]),
            "scatter_along_axis",
        ),
        "scatter-nd": Written(
            lambda mb, x, u: mb.scatter_nd(
                data=x, indices=np.array([[2, 0], [2, 0]], np.int32), updates=u, mode="add"
            ),
            (ROWS, np.array([10, 20], np.float32)),
            ROWS + np.array([[0] * 4, [0] * 4, [30, 0, 0, 0]]),
            "scatter_nd",
        ),
        "quantize": Written(
            lambda mb, x: mb.cast(
                x=mb.quantize(
                    input=x, scale=np.float32(0.5), zero_point=np.int8(3), output_dtype="int8"
                ),
                dtype="fp32",
            ),
            (np.array([0, 0.25, 0.75, -0.25, 1000, -1000], np.float32),),
            np.array([3, 3, 5, 3, 127, -128], np.float32),
            "quantize",
        ),
        "quantize-per-channel": Written(
            lambda mb, x: mb.cast(
                x=mb.quantize(
                    input=x,
                    scale=np.array([0.5, 2], np.float32),
                    zero_point=np.array([3, 100], np.uint8),
                    output_dtype="uint8",
                    axis=1,
                ),
                dtype="fp32",
            ),
            (np.array([[1, 1], [-9, 800]], np.float32),),
            np.array([[5, 100], [0, 255]], np.float32),
            "quantize",
        ),
        "dequantize": Written(
            lambda mb, x: mb.dequantize(
                input=mb.quantize(input=x, scale=np.float32(0.5), output_dtype="int8"),
                scale=np.array([0.5, 2], np.float32),
                zero_point=np.array([1, -1], np.int8),
                axis=1,
            ),
            (np.array([[1, 1]], np.float32),),
            np.array([[0.5, 6]], np.float32),
            "dequantize",
        ),
    }
)

TABLES: dict[str, dict[str, Written]] = {
    "resizes": RESIZES,
    "activations": ACTIVATIONS,
    "moves": MOVES,
    "indexed": INDEXED,
}


def program(cases: dict[str, Written]) -> Any:
    """One program that holds all cases, each with inputs and outputs of its own."""
    from coremltools.converters.mil import Builder
    from coremltools.converters.mil.mil import Function, Program, types

    def kind(array: Array) -> Any:
        return types.int32 if array.dtype == np.int32 else types.fp32

    arrays = {f"in_{n}_{i}": a for n, c in named(cases).items() for i, a in enumerate(c.inputs)}
    holders = {k: Builder.placeholder(a.shape, kind(a)) for k, a in arrays.items()}
    ct = coremltools()
    with Function(holders, opset_version=ct.target.iOS17) as function:
        outputs = []
        for name, case in named(cases).items():
            tensors = [function.inputs[f"in_{name}_{i}"] for i in range(len(case.inputs))]
            results = case.write(Builder, *tensors)
            for i, result in enumerate(results if isinstance(results, tuple | list) else [results]):
                outputs.append(Builder.identity(x=result, name=f"{name}_out_{i}"))
        function.set_outputs(outputs)
    whole = Program()
    whole.add_function("main", function)
    return whole


def named(cases: dict[str, Written]) -> dict[str, Written]:
    return {n.replace("-", "_"): c for n, c in cases.items()}


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[mil.Package, Any]]:
    return {}


@pytest.mark.parametrize(("table", "case"), [(t, c) for t, cases in TABLES.items() for c in cases])
def test_equals_the_documented_result(
    table: str, case: str, packages: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    cases = TABLES[table]
    if table not in packages:
        path = tmp_path_factory.mktemp(table) / "all.mlpackage"
        package = build(lambda: program(cases), path)
        feed = {f"in_{n}_{i}": a for n, c in named(cases).items() for i, a in enumerate(c.inputs)}
        packages[table] = package, package.main.run(feed)
    package, outputs = packages[table]
    written = cases[case]
    assert written.op in op_types(package)
    expected = written.expected if isinstance(written.expected, tuple) else (written.expected,)
    for i, array in enumerate(expected):
        result = outputs[f"{case.replace('-', '_')}_out_{i}"]
        assert result.dtype == (np.int32 if array.dtype == np.int32 else np.float32)
        compare(result, array, written.tolerance)
