"""For each of Core ML's rules a program that breaks it and one that keeps it."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.mil.program import FunctionDef
from converters.mil.types import TensorType
from tests.converters.mil.mil_programs import Builder, fixed, program
from tests.converters.mil.mil_programs import tensor as T

Pair = tuple[FunctionDef, FunctionDef]

PICTURE = T(1, 4, 6, 6)
HALVES = T(1, 4, 3, 3)
MATRIX = T(3, 4)
INTS = T(3, 4, dtype="int32")
TRUTHS = T(3, 4, dtype="bool")


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def changed(
    kind: str, x: TensorType, result: Any, bad: dict[str, Any], good: Any, **same: Any
) -> Pair:
    """An operation on `x` with some arguments wrong, and right."""
    return (
        program(kind, result, {"x": x}, **same, **bad),
        program(kind, result, {"x": x}, **same, **good),
    )


def typed(kind: str, bad: TensorType, good: TensorType, **same: Any) -> Pair:
    """An operation that keeps the type, on a wrong and a right one."""
    return program(kind, bad, {"x": bad}, **same), program(kind, good, {"x": good}, **same)


def pooled(kind: str, x: TensorType, result: TensorType, **how: Any) -> FunctionDef:
    axes = len(x.shape or ()) - 2
    given: dict[str, Any] = {"kernel_sizes": [2] * axes, "strides": [2] * axes, **how}
    given.setdefault("pad_type", "valid")
    return program(kind, result, {"x": x}, **given)


def pools() -> dict[str, Pair]:
    ceil, seven = {"ceil_mode": True}, T(1, 1, 7, 7)
    uneven = {"pad_type": "custom", "pad": [0, 1, 0, 1]}
    return {
        "avg-pool-ceil": (
            pooled("avg_pool", seven, T(1, 1, 3, 3), strides=[3, 3], **ceil),
            pooled("avg_pool", T(1, 1, 8, 8), T(1, 1, 3, 3), strides=[3, 3], **ceil),
        ),
        "pool-ceil-of-volume": (
            pooled("max_pool", T(1, 1, 4, 4, 4), T(1, 1, 2, 2, 2), **ceil),
            pooled("max_pool", T(1, 1, 4, 4, 4), T(1, 1, 2, 2, 2)),
        ),
        "pool-ceil-with-same": (
            pooled("max_pool", PICTURE, HALVES, pad_type="same", **ceil),
            pooled("max_pool", PICTURE, HALVES, pad_type="same"),
        ),
        "pool-ceil-uneven": (
            pooled("max_pool", PICTURE, T(1, 4, 4, 4), **ceil, **uneven),
            pooled("max_pool", T(1, 4, 7, 7), T(1, 4, 4, 4), **uneven),
        ),
        "pool-rank": (
            program(
                "max_pool", T(4, 3), {"x": T(4, 6)}, kernel_sizes=[], strides=[], pad_type="valid"
            ),
            pooled("max_pool", T(1, 4, 6), T(1, 4, 3)),
        ),
        "l2-pool-rank": (
            pooled("l2_pool", T(1, 1, 4, 4, 4), T(1, 1, 2, 2, 2)),
            pooled("l2_pool", PICTURE, HALVES),
        ),
        "pool-kernel-axes": (
            pooled("max_pool", PICTURE, HALVES, kernel_sizes=[2], strides=[2]),
            pooled("max_pool", PICTURE, HALVES),
        ),
        "pool-of-integers": (
            pooled("max_pool", T(1, 4, 6, 6, dtype="int32"), T(1, 4, 3, 3, dtype="int32")),
            pooled("max_pool", PICTURE, HALVES),
        ),
    }


def pads() -> dict[str, Pair]:
    def padded(x: TensorType, result: TensorType, *pad: int, mode: str = "constant") -> FunctionDef:
        return program("pad", result, {"x": x}, pad=list(pad), mode=mode, constant_val=0.0)

    return {
        "pad-before-last-two": (
            padded(PICTURE, T(1, 6, 6, 6), 1, 1, 0, 0, 0, 0, mode="replicate"),
            padded(PICTURE, T(1, 4, 8, 8), 0, 0, 1, 1, 1, 1, mode="replicate"),
        ),
        "pad-reflect-size": (
            padded(PICTURE, T(1, 4, 6, 12), 6, 0, mode="reflect"),
            padded(PICTURE, T(1, 4, 6, 11), 5, 0, mode="reflect"),
        ),
        "pad-replicate-size": (
            padded(PICTURE, T(1, 4, 6, 13), 7, 0, mode="replicate"),
            padded(PICTURE, T(1, 4, 6, 12), 6, 0, mode="replicate"),
        ),
        "pad-negative": (
            padded(PICTURE, T(1, 4, 6, 5), -1, 0),
            padded(PICTURE, T(1, 4, 6, 7), 1, 0),
        ),
        "pad-constant-value": (
            program("pad", T(1, 4, 6, 7), {"x": PICTURE}, pad=[1, 0], mode="reflect"),
            padded(PICTURE, T(1, 4, 6, 7), 1, 0, mode="reflect"),
        ),
        "pad-computed": (
            program(
                "pad", T(1, None), {"x": T(1, 4), "pad": T(2, dtype="int32")}, constant_val=0.0
            ),
            padded(T(1, 4), T(1, 6), 1, 1),
        ),
        "pad-of-integers": (
            program("pad", T(3, 6, dtype="int32"), {"x": INTS}, pad=[1, 1], constant_val=0.0),
            padded(MATRIX, T(3, 6), 1, 1),
        ),
    }


def convolutions() -> dict[str, Pair]:
    def conv(x: TensorType, *kernel: int, kind: str = "conv", **how: Any) -> FunctionDef:
        given = {"weight": ones(4, 4, *kernel), "pad_type": "valid", **how}
        sizes = [n - k + 1 if n else n for n, k in zip((x.shape or ())[2:], kernel, strict=False)]
        if kind == "conv_transpose":
            sizes = [
                n + k - 1 if n else n for n, k in zip((x.shape or ())[2:], kernel, strict=False)
            ]
        result = how.pop("result", T(1, 4, *sizes, dtype=x.dtype))
        given.pop("result", None)
        return program(kind, result, {"x": x}, **given)

    def computed(
        kind: str, argument: str, shape: TensorType, opset: str, **how: Any
    ) -> FunctionDef:
        given: dict[str, Any] = {"pad_type": "valid", **how}
        if argument != "weight":
            given["weight"] = ones(4, 4, 1, 1)
        return program(kind, PICTURE, {"x": PICTURE, argument: shape}, opset, **given)

    weight, bias = T(4, 4, 1, 1), T(4)
    dilated = {"dilations": [2, 2], "pad_type": "custom", "pad": [0, 0, 0, 0]}
    up = {"kind": "conv_transpose", "strides": [2, 2], "pad_type": "custom"}
    return {
        "conv-rank": (
            program("conv", T(1, 4), {"x": T(1, 4)}, weight=ones(4, 4), pad_type="valid"),
            conv(T(1, 4, 6), 3),
        ),
        "conv-of-integers": (
            program(
                "conv",
                T(1, 4, 6, 6, dtype="int32"),
                {"x": T(1, 4, 6, 6, dtype="int32")},
                weight=np.ones((4, 4, 1, 1), np.int32),
                pad_type="valid",
            ),
            conv(PICTURE, 1, 1),
        ),
        "conv-dilation-of-computed-weight": (
            computed("conv", "weight", weight, "CoreML7", **dilated),
            computed("conv", "weight", weight, "CoreML7"),
        ),
        "conv-computed-bias": (
            computed("conv", "bias", bias, "CoreML6"),
            computed("conv", "bias", bias, "CoreML7"),
        ),
        "conv-transpose-computed-weight": (
            computed("conv_transpose", "weight", weight, "CoreML6"),
            computed("conv_transpose", "weight", weight, "CoreML7"),
        ),
        "conv-groups": (
            conv(PICTURE, 1, 1, groups=3),
            conv(PICTURE, 1, 1, weight=ones(4, 1, 1, 1), groups=4),
        ),
        "same-lower": (
            program(
                "conv",
                PICTURE,
                {"x": PICTURE},
                "CoreML5",
                weight=ones(4, 4, 3, 3),
                pad_type="same_lower",
            ),
            conv(PICTURE, 3, 3, pad_type="same_lower", result=PICTURE),
        ),
        "conv-transpose-uneven": (
            conv(PICTURE, 2, 2, pad=[0, 1, 0, 1], result=T(1, 4, 11, 11), **up),
            conv(PICTURE, 2, 2, pad=[1, 1, 1, 1], result=T(1, 4, 10, 10), **up),
        ),
        "conv-transpose-output-shape": (
            conv(
                PICTURE,
                3,
                3,
                pad=[1] * 4,
                output_shape=[1, 4, 12, 12],
                result=T(1, 4, 12, 12),
                **up,
            ),
            conv(
                PICTURE,
                3,
                3,
                pad=[1] * 4,
                output_shape=[1, 4, 11, 11],
                result=T(1, 4, 11, 11),
                **up,
            ),
        ),
    }


def attention(batch: int) -> FunctionDef:
    q = T(batch, 2, 5, 4)
    built = Builder({"q": q, "k": q, "v": q})
    scores = built.add("matmul", T(batch, 2, 5, 5), x="%q", y="%k", transpose_y=True)
    scaled = built.add("mul", T(batch, 2, 5, 5), x=scores, y=0.5)
    masked = built.add("add", T(batch, 2, 5, 5), x=scaled, y=ones(5, 5))
    weights = built.add("softmax", T(batch, 2, 5, 5), x=masked, axis=-1)
    built.add("matmul", q, x=weights, y="%v")
    return built.function()


def products() -> dict[str, Pair]:
    whole = np.ones((5, 4), np.int32)
    q, flat = T(2, 5, 4), T(5, 4)

    def attended(query: TensorType, value: TensorType, result: TensorType) -> FunctionDef:
        given = {"query": query, "key": query, "value": value}
        return program("scaled_dot_product_attention", result, given, "CoreML8")

    def einsum(equation: str, x: TensorType, y: TensorType, result: TensorType) -> FunctionDef:
        built = Builder({"x": x, "y": y})
        built.add("einsum", result, values=("%x", "%y"), equation=equation)
        return built.function()

    return {
        "integer-product": (
            program("linear", T(3, 5, dtype="int32"), {"x": INTS}, weight=whole),
            program("linear", T(3, 5), {"x": MATRIX}, weight=ones(5, 4)),
        ),
        "linear-computed-weight": (
            program("linear", T(3, 5), {"x": MATRIX, "weight": T(5, 4)}),
            program("linear", T(3, 5), {"x": MATRIX}, weight=ones(5, 4), bias=ones(5)),
        ),
        "matmul-transposed-vector": (
            program("matmul", T(5), {"x": T(4), "y": T(4, 5)}, transpose_x=True),
            program("matmul", T(5), {"x": T(4), "y": T(5, 4)}, transpose_y=True),
        ),
        "einsum-equation": (
            einsum("ab,bc->ac", MATRIX, T(4, 5), T(3, 5)),
            einsum("abcd,adce->abce", T(1, 2, 3, 4), T(1, 4, 3, 5), T(1, 2, 3, 5)),
        ),
        "attention-ranks": (attended(flat, flat, flat), attended(q, q, q)),
        "attention-batch": (attention(10), attention(9)),
    }


def indices() -> dict[str, Pair]:
    places = np.array([2, 0], np.int32)

    def gathered(x: TensorType, indices: Any, result: TensorType, **how: Any) -> FunctionDef:
        opset = how.pop("opset", "CoreML6")
        kind = how.pop("kind", "gather")
        return program(kind, result, {"x": x}, opset, indices=indices, **how)

    def looked_up(kind: str, **how: Any) -> FunctionDef:
        given = {"x": MATRIX, "indices": T(2, 1, dtype="int32")}
        return program(kind, T(2, 4), given, **how)

    def taken(dtype: str) -> FunctionDef:
        built = Builder({"x": INTS})
        truths = built.add("cast", T(3, 4, dtype=dtype), x="%x", dtype=dtype)
        some = built.add("gather", T(2, 4, dtype=dtype), x=truths, indices=places, axis=0)
        built.add("cast", T(2, 4, dtype="int32"), x=some, dtype="int32")
        return built.function()

    tuples = np.array([[0, 1, 0]], np.int32)
    return {
        "gather-of-truths": (taken("bool"), taken("fp32")),
        "index-type": (
            program("gather", T(2, 4), {"x": MATRIX, "indices": T(2)}, axis=0),
            program("gather", T(2, 4), {"x": MATRIX, "indices": T(2, dtype="int32")}, axis=0),
        ),
        "index-outside": (
            gathered(MATRIX, places - 1, T(2, 4), opset="CoreML7", axis=0, validate_indices=False),
            gathered(MATRIX, places - 1, T(2, 4), axis=0),
        ),
        "validate-indices": (
            gathered(MATRIX, places, T(2, 4), opset="CoreML7", axis=0),
            gathered(MATRIX, places, T(2, 4), opset="CoreML7", axis=0, validate_indices=False),
        ),
        "gather-scalar-of-five-axes": (
            gathered(T(1, 2, 3, 4, 5), fixed(1), T(1, 2, 4, 5), axis=2),
            gathered(T(2, 3, 4, 5), fixed(1), T(2, 4, 5), axis=1),
        ),
        "index-tuples": (
            gathered(MATRIX, tuples, T(1), kind="gather_nd"),
            gathered(MATRIX, tuples[:, :2], T(1), kind="gather_nd"),
        ),
        "topk-count": (
            program("topk", (T(3, 5), T(3, 5, dtype="int32")), {"x": MATRIX}, k=5, axis=1),
            program("topk", (MATRIX, INTS), {"x": MATRIX}, k=4, axis=1),
        ),
        "gather-nd-computed": (
            looked_up("gather_nd"),
            gathered(MATRIX, places.reshape(2, 1), T(2, 4), kind="gather_nd"),
        ),
    }


def shapes() -> dict[str, Pair]:
    def joined(second: str) -> FunctionDef:
        built = Builder({"x": MATRIX, "y": T(3, 4, dtype=second)})
        built.add("concat", T(6, 4), values=("%x", "%y"), axis=0)
        return built.function()

    def sliced(end: int) -> FunctionDef:
        how: dict[str, Any] = {"begin": [1, 0], "end": [end, 4]}
        return program("slice_by_index", T(end - 1, 4), {"x": MATRIX}, **how)

    def stored(rows: int, columns: int) -> FunctionDef:
        built = Builder({"x": MATRIX})
        declared = T(rows, columns)
        value = fixed(ones(1, 1))
        built.add(
            "const",
            declared,
            val=type(value)(declared, ones(rows, columns) if rows < 9 else 0, None),
        )  # type: ignore[arg-type]
        built.add("identity", MATRIX, x="%x")
        return built.function()

    parts = (T(3, 2), T(3, 2))
    return {
        "five-axes": (
            program("expand_dims", T(1, 1, 1, 1, 3, 4), {"x": MATRIX}, axes=[0, 1, 2, 3]),
            program("expand_dims", T(1, 1, 1, 3, 4), {"x": MATRIX}, axes=[0, 1, 2]),
        ),
        "empty-slice": (sliced(1), sliced(2)),
        "tile-repeats": changed("tile", MATRIX, MATRIX, {"reps": [0, 1]}, {"reps": [1, 1]}),
        "reshape-unknown-sizes": changed(
            "reshape", MATRIX, T(12, 1), {"shape": [-1, -1]}, {"shape": [-1, 1]}
        ),
        "concat-types": (joined("fp16"), joined("fp32")),
        "split-sizes": (
            program("split", parts, {"x": T(3, 5)}, num_splits=2, axis=1),
            program("split", parts, {"x": MATRIX}, num_splits=2, axis=1),
        ),
        "split-unknown": (
            program("split", parts, {"x": MATRIX}, axis=1),
            program("split", parts, {"x": MATRIX}, axis=1, split_sizes=[2, 2]),
        ),
        "pixel-shuffle-rank": (
            program("pixel_shuffle", T(1, 12, 12), {"x": T(4, 6, 6)}, upscale_factor=2),
            program("pixel_shuffle", T(1, 1, 12, 12), {"x": PICTURE}, upscale_factor=2),
        ),
        "pixel-shuffle-channels": (
            program("pixel_shuffle", T(1, 1, 12, 12), {"x": T(1, 5, 6, 6)}, upscale_factor=2),
            program("depth_to_space", T(1, 1, 12, 12), {"x": PICTURE}, block_size=2),
        ),
        "pixel-shuffle-of-integers": (
            program(
                "pixel_shuffle",
                T(1, 1, 12, 12, dtype="int32"),
                {"x": T(1, 4, 6, 6, dtype="int32")},
                upscale_factor=2,
            ),
            program("pixel_unshuffle", T(1, 16, 3, 3), {"x": PICTURE}, downscale_factor=2),
        ),
        "space-to-batch-rank": (
            program(
                "space_to_batch",
                T(4, 3, 3),
                {"x": T(1, 6, 6)},
                block_shape=[2, 2],
                paddings=[0] * 4,
            ),
            program(
                "space_to_batch",
                T(4, 4, 3, 3),
                {"x": PICTURE},
                block_shape=[2, 2],
                paddings=[0] * 4,
            ),
        ),
        "constant-size": (stored(2**15, 2**14), stored(2, 2)),
    }


def normalisation() -> dict[str, Pair]:
    statistics: dict[str, Any] = {"mean": ones(4), "variance": ones(4)}

    def scaled(gamma: np.ndarray) -> FunctionDef:
        return program("layer_norm", MATRIX, {"x": MATRIX}, axes=[-1], gamma=gamma, beta=gamma)

    def instance(x: TensorType, **how: Any) -> FunctionDef:
        return program("instance_norm", x, {"x": x}, **how)

    return {
        "batch-norm-rank": typed("batch_norm", T(2, 4), T(2, 4, 3), **statistics),
        "instance-norm-rank": typed("instance_norm", T(1, 4, 2, 2, 2), PICTURE),
        "l2-norm-rank": typed("l2_norm", MATRIX, T(2, 3, 4)),
        "local-response-norm-rank": typed("local_response_norm", T(1, 4, 2, 2, 2), PICTURE, size=3),
        "layer-norm-scale": (scaled(ones(3)), scaled(ones(4))),
        "norm-channels": (instance(PICTURE, gamma=ones(6)), instance(PICTURE, gamma=ones(4))),
        "norm-computed-scale": (
            program("instance_norm", PICTURE, {"x": PICTURE, "gamma": T(4)}),
            instance(PICTURE, gamma=ones(4), beta=ones(4)),
        ),
        "norm-of-integers": typed("layer_norm", INTS, MATRIX, axes=[-1]),
    }


def elementwise() -> dict[str, Pair]:
    def added(second: str) -> FunctionDef:
        return program("add", MATRIX, {"x": MATRIX, "y": T(3, 4, dtype=second)})

    def either(second: str) -> FunctionDef:
        built = Builder({"x": MATRIX, "y": T(3, 4, dtype=second)})
        cond = built.add("cast", TRUTHS, x="%x", dtype="bool")
        built.add("select", MATRIX, cond=cond, a="%x", b="%y")
        return built.function()

    def cast(dtype: str, opset: str) -> FunctionDef:
        built = Builder({"x": MATRIX}, opset)
        codes = built.add("cast", T(3, 4, dtype=dtype), x="%x", dtype=dtype)
        built.add("cast", MATRIX, x=codes, dtype="fp32")
        return built.function()

    def compared(x: str) -> FunctionDef:
        built = Builder({"x": INTS})
        truth = built.add("cast", T(3, 4, dtype=x), x="%x", dtype=x)
        same = built.add("equal", TRUTHS, x=truth, y=truth)
        built.add("cast", INTS, x=same, dtype="int32")
        return built.function()

    def logical(x: str) -> FunctionDef:
        built = Builder({"x": INTS})
        truth = built.add("cast", T(3, 4, dtype=x), x="%x", dtype=x)
        wrong = built.add("logical_not", TRUTHS, x=truth)
        built.add("cast", INTS, x=wrong, dtype="int32")
        return built.function()

    def reduced(x: str) -> FunctionDef:
        built = Builder({"x": INTS})
        truth = built.add("cast", T(3, 4, dtype=x), x="%x", dtype=x)
        most = built.add("reduce_max", T(3, dtype=x), x=truth, axes=[1])
        built.add("cast", T(3, dtype="int32"), x=most, dtype="int32")
        return built.function()

    def chosen(cond: str) -> FunctionDef:
        built = Builder({"x": INTS})
        how = built.add("cast", T(3, 4, dtype=cond), x="%x", dtype=cond)
        built.add("select", INTS, cond=how, a="%x", b=np.zeros((3, 4), np.int32))
        return built.function()

    slopes = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    bounds = {"alpha": 1.0, "beta": 1.0}, {"alpha": 0.0, "beta": 1.0}
    epsilon = {"bad": {}, "good": {"epsilon": 0.0}}
    return {
        "prelu-rank": typed("prelu", MATRIX, T(1, 4, 3), alpha=slopes[:1].repeat(4)),
        "prelu-slopes": typed("prelu", T(1, 4, 3), PICTURE, alpha=slopes),
        "prelu-channels": changed(
            "prelu", PICTURE, PICTURE, {"alpha": slopes[:1]}, {"alpha": slopes}
        ),
        "softplus-parametric-rank": typed(
            "softplus_parametric", MATRIX, T(1, 4, 3), alpha=ones(4), beta=ones(4)
        ),
        "activation-of-integers": typed("relu", INTS, MATRIX),
        "softmax-of-integers": typed("softmax", INTS, MATRIX, axis=-1),
        "function-of-integers": typed("exp", INTS, MATRIX),
        "clip-of-integers": typed("clip", INTS, MATRIX, alpha=0.0, beta=1.0),
        "clip-bounds": (
            program("clip", MATRIX, {"x": MATRIX}, "CoreML7", **bounds[0]),
            program("clip", MATRIX, {"x": MATRIX}, "CoreML7", **bounds[1]),
        ),
        "cast-type": (cast("int8", "CoreML6"), cast("int8", "CoreML7")),
        "operand-types": (added("int32"), added("fp32")),
        "select-types": (either("fp16"), either("fp32")),
        "select-condition": (chosen("int32"), chosen("bool")),
        "arithmetic-of-truths": (compared("bool"), compared("fp32")),
        "logic-of-numbers": (logical("int32"), logical("bool")),
        "reduction-of-truths": (reduced("bool"), reduced("int32")),
        "cumulative-sum-axis": changed("cumsum", MATRIX, MATRIX, {"axis": -2}, {"axis": -1}),
        "inverse-epsilon": changed("inverse", MATRIX, MATRIX, **epsilon),
        "rsqrt-epsilon": changed("rsqrt", MATRIX, MATRIX, **epsilon),
        "log-epsilon": changed("log", MATRIX, MATRIX, **epsilon),
    }


def images() -> dict[str, Pair]:
    how = {"target_size_height": 3, "target_size_width": 2}

    def resized(x: TensorType, result: TensorType) -> FunctionDef:
        return program("resize_nearest_neighbor", result, {"x": x}, **how)

    def sampled(x: TensorType, places: TensorType, **given: Any) -> FunctionDef:
        sampling: dict[str, Any] = {
            "sampling_mode": "bilinear",
            "padding_mode": "border",
            "padding_value": 0.0,
            "coordinates_mode": "normalized_minus_one_to_one",
            "align_corners": False,
        }
        result = T(*(x.shape or ())[:2], *(places.shape or ())[1:-1])
        inputs = {"x": x, "coordinates": places}
        return program("resample", result, inputs, **{**sampling, **given})

    places, pair = T(1, 3, 3, 2), T(2, 4, 6, 6)
    mirrored = {"padding_mode": "reflection"}
    return {
        "resize-rank": (resized(MATRIX, T(3, 2)), resized(T(1, 3, 4), T(1, 3, 2))),
        "resize-of-integers": (
            resized(T(1, 4, 6, 6, dtype="int32"), T(1, 4, 3, 2, dtype="int32")),
            resized(PICTURE, T(1, 4, 3, 2)),
        ),
        "resample-rank": (sampled(T(1, 2, 4, 6, 6), places), sampled(PICTURE, places)),
        "resample-places": (sampled(PICTURE, T(1, 3, 2)), sampled(PICTURE, places)),
        "resample-batch": (sampled(pair, places), sampled(pair, T(2, 3, 3, 2))),
        "resample-reflection": (
            sampled(PICTURE, places, **mirrored),
            sampled(PICTURE, places, align_corners=True, **mirrored),
        ),
    }


def recurrent() -> dict[str, Pair]:
    weights: dict[str, Any] = {"weight_ih": ones(3, 4), "weight_hh": ones(3, 3)}
    results = (T(1, 2, 3), T(2, 3))

    def run(x: TensorType, **given: Any) -> FunctionDef:
        inputs = {"x": x, "initial_h": T(2, 3)}
        inputs |= {name: value for name, value in given.items() if isinstance(value, TensorType)}
        fixed = {n: v for n, v in {**weights, **given}.items() if n not in inputs}
        return program("rnn", results, inputs, **fixed)

    def coded(kind: str, given: str, made: str, **how: Any) -> FunctionDef:
        x, result = T(3, 4, dtype=given), T(3, 4, dtype=made)
        named = {"output_dtype": made} if kind == "quantize" else {}
        built = Builder({"x": MATRIX if kind == "quantize" and given == "fp32" else x}, "CoreML7")
        value = "%x"
        if kind == "dequantize":
            built = Builder({"x": MATRIX}, "CoreML7")
            value = built.add("cast", x, x="%x", dtype=given)
        built.add(kind, result, input=value, **named, **how)
        if kind == "quantize":
            built.add("dequantize", MATRIX, input="%quantize_0", scale=0.5)
        return built.function()

    scale = np.array([0.5, 0.25, 0.5, 1], np.float32)
    built = Builder({"x": MATRIX, "scale": T(4)}, "CoreML7")
    codes = built.add("cast", T(3, 4, dtype="int8"), x="%x", dtype="int8")
    built.add("dequantize", MATRIX, input=codes, scale="%scale", axis=1)
    return {
        "recurrent-rank": (run(T(2, 4)), run(T(1, 2, 4))),
        "recurrent-computed-weight": (run(T(1, 2, 4), weight_hh=T(3, 3)), run(T(1, 2, 4))),
        "quantize-scale": (
            coded("dequantize", "int8", "fp32", scale=0.0),
            coded("dequantize", "int8", "fp32", scale=0.5),
        ),
        "quantize-scale-axes": (
            coded("dequantize", "int8", "fp32", scale=scale),
            coded("dequantize", "int8", "fp32", scale=scale, axis=1),
        ),
        "quantize-computed-scale": (
            built.function(),
            coded("dequantize", "int8", "fp32", scale=0.5),
        ),
        "quantize-of-integers": (
            coded("quantize", "int32", "int8", scale=0.5),
            coded("quantize", "fp32", "int8", scale=0.5),
        ),
        "dequantize-codes": (
            coded("dequantize", "int16", "fp32", scale=0.5),
            coded("dequantize", "uint8", "fp32", scale=0.5),
        ),
    }


def ports() -> dict[str, Pair]:
    def passed(declared: TensorType, name: str = "x", opset: str = "CoreML6") -> FunctionDef:
        built = Builder({name: declared}, opset)
        built.add("identity", declared, x=f"%{name}")
        return built.function()

    none = Builder({})
    none.add("fill", MATRIX, shape=[3, 4], value=1.0)
    return {
        "function-without-input": (none.function(), passed(MATRIX)),
        "name-letters": (passed(MATRIX, "x.1"), passed(MATRIX, "x_1")),
        "port-type": (
            passed(T(3, 4, dtype="int8")),
            passed(T(3, 4, dtype="int8"), opset="CoreML9"),
        ),
        "port-half": (
            passed(T(3, 4, dtype="fp16"), opset="CoreML5"),
            passed(T(3, 4, dtype="fp16")),
        ),
        "input-without-axes": (passed(T()), passed(T(1))),
        "port-size": (passed(T(1, 16385)), passed(T(1, 16384))),
    }


EXAMPLES: dict[str, Pair] = {
    **pools(),
    **pads(),
    **convolutions(),
    **products(),
    **indices(),
    **shapes(),
    **normalisation(),
    **elementwise(),
    **images(),
    **recurrent(),
    **ports(),
}
"""By the rule's name: a program that breaks this rule alone, and one that keeps all."""
