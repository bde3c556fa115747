"""Decoders of compressed constants, against coremltools' own materialisation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mil_packages import convert
from torch import nn

from converters import mil
from converters.coreml.tools import coremltools, quiet
from converters.mil.constexpr import decode
from converters.mil.plan import Scope, _planned
from model_defs.errors import BadArtifact, UnsupportedOperation

RNG = np.random.default_rng(2)
HALF = RNG.normal(size=(8, 4, 3, 3)).astype(np.float16)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(8, 16, 3, padding=1)
        self.point = nn.Conv2d(16, 32, 1)
        self.fc = nn.Linear(32, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.point(self.conv(x)).mean((2, 3)))


def palette(**options: Any) -> Callable[[Any, Any], Any]:
    def compress(ct: Any, model: Any) -> Any:
        co = ct.optimize.coreml
        config = co.OpPalettizerConfig(weight_threshold=0, **options)
        return co.palettize_weights(model, co.OptimizationConfig(global_config=config))

    return compress


def nearest_pairs(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A palette of the first four pairs along the first axis, and the nearest for each pair.

    coremltools' own way to such palettes is k-means, which needs scikit-learn: undeclared.
    """
    pairs = np.moveaxis(weight.reshape(len(weight) // 2, 2, -1), 1, -1).reshape(-1, 2)
    distances = ((pairs[:, None] - pairs[None, :4]) ** 2).sum(-1)
    return pairs[:4], distances.argmin(1).astype(np.uint8)


def linear(**options: Any) -> Callable[[Any, Any], Any]:
    def compress(ct: Any, model: Any) -> Any:
        co = ct.optimize.coreml
        config = co.OpLinearQuantizerConfig(weight_threshold=0, **options)
        return co.linear_quantize_weights(model, co.OptimizationConfig(global_config=config))

    return compress


def sparse(ct: Any, model: Any) -> Any:
    co = ct.optimize.coreml
    config = co.OpMagnitudePrunerConfig(target_sparsity=0.6, weight_threshold=0)
    return co.prune_weights(model, co.OptimizationConfig(global_config=config))


def jointly(second: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def compress(ct: Any, model: Any) -> Any:
        return second(ct, sparse(ct, model))

    return compress


def sparse_palette(ct: Any, model: Any) -> Any:
    co = ct.optimize.coreml
    config = co.OpPalettizerConfig(mode="uniform", nbits=4, weight_threshold=0)
    return co.palettize_weights(
        model, co.OptimizationConfig(global_config=config), joint_compression=True
    )


def sparse_linear(ct: Any, model: Any) -> Any:
    co = ct.optimize.coreml
    config = co.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", weight_threshold=0)
    return co.linear_quantize_weights(
        model, co.OptimizationConfig(global_config=config), joint_compression=True
    )


ENCODINGS: dict[str, tuple[str, str, Callable[[Any, Any], Any]]] = {
    "int8-symmetric-16": ("iOS16", "affine_dequantize", linear(mode="linear_symmetric")),
    "int8-affine-16": ("iOS16", "affine_dequantize", linear(mode="linear")),
    "uint8-tensor-16": (
        "iOS16",
        "affine_dequantize",
        linear(mode="linear", dtype="uint8", granularity="per_tensor"),
    ),
    **{
        f"palette-{bits}-16": ("iOS16", "lut_to_dense", palette(mode="uniform", nbits=bits))
        for bits in (1, 2, 4, 6, 8)
    },
    "sparse-16": ("iOS16", "sparse_to_dense", sparse),
    **{
        f"palette-{bits}-18": ("iOS18", "lut_to_dense", palette(mode="uniform", nbits=bits))
        for bits in (1, 2, 3, 4, 6, 8)
    },
    "palette-grouped-18": (
        "iOS18",
        "lut_to_dense",
        palette(mode="uniform", nbits=4, granularity="per_grouped_channel", group_size=4),
    ),
    "palette-vector-18": (
        "iOS18",
        "lut_to_dense",
        palette(mode="custom", lut_function=nearest_pairs, cluster_dim=2),
    ),
    "int8-18": ("iOS18", "blockwise_shift_scale", linear(mode="linear_symmetric", dtype="int8")),
    "uint8-18": ("iOS18", "blockwise_shift_scale", linear(mode="linear", dtype="uint8")),
    "int4-block-18": (
        "iOS18",
        "blockwise_shift_scale",
        linear(mode="linear_symmetric", dtype="int4", granularity="per_block", block_size=4),
    ),
    "uint4-block-18": (
        "iOS18",
        "blockwise_shift_scale",
        linear(mode="linear", dtype="uint4", granularity="per_block", block_size=8),
    ),
    "sparse-18": ("iOS18", "sparse_to_dense", sparse),
    "sparse-palette-18": ("iOS18", "lut_to_sparse", jointly(sparse_palette)),
    "sparse-int8-18": ("iOS18", "sparse_blockwise_shift_scale", jointly(sparse_linear)),
}


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The uncompressed model for each target."""
    folder = tmp_path_factory.mktemp("plain")
    x = torch.rand(1, 8, 6, 6)
    return {
        target: convert(Net(), [x], folder / f"{target}.mlpackage", ["y"], target, "FLOAT16")
        for target in ("iOS16", "iOS18")
    }


def materialised(model: Any) -> dict[str, list[np.ndarray]]:
    """What coremltools itself decodes, by the name of the operation."""
    values = {}
    for op in model._mil_program.functions["main"].operations:
        if op.op_type.startswith("constexpr_"):
            result = op.materialized_val_inference()
            values[op.name] = list(result) if isinstance(result, tuple) else [result]
    return values


def decoded(package: mil.Package) -> dict[str, Any]:
    """What we decode, by the names of the results."""
    scope = Scope(package.main.opset)
    for operation in package.main.block.operations:
        if operation.type == "const" or operation.type.startswith("constexpr_"):
            _planned(operation, scope)
    return scope.constants


@pytest.mark.parametrize("name", ENCODINGS)
def test_decodes_as_coremltools_does(name: str, plain: dict[str, Any], tmp_path: Path) -> None:
    target, kind, compress = ENCODINGS[name]
    with quiet():
        model = compress(coremltools(), plain[target])
        model.save(str(tmp_path / "m.mlpackage"))
    package = mil.open_package(tmp_path / "m.mlpackage")
    ours, theirs = decoded(package), materialised(model)
    assert theirs
    kinds = {o.type for o in package.main.block.operations}
    assert f"constexpr_{kind}" in kinds, sorted(kinds)
    compared = 0
    for operation in package.main.block.operations:
        if not operation.type.startswith("constexpr_"):
            continue
        op_name = next(n for n in theirs if operation.results[0].name.startswith(n))
        for result, expected in zip(operation.results, theirs[op_name], strict=True):
            assert ours[result.name].dtype == expected.dtype or expected.dtype.itemsize == 1
            np.testing.assert_array_equal(ours[result.name], expected)
            compared += 1
    assert compared >= 3
    output = package.main.run({"in_0": np.ones((1, 8, 6, 6), np.float32)})["y"]
    assert np.isfinite(output).all()


def test_a_vector_palette_by_hand() -> None:
    """The example in the documentation of iOS18's constexpr_lut_to_dense, along both axes."""
    indices = np.array([[[0, 0], [1, 0]], [[1, 1], [0, 0]]], np.uint8)
    lut = np.array([[1, 2, 3], [4, 5, 6]], np.int8).reshape(1, 1, 1, 2, 3)
    (rows,) = decode(
        "constexpr_lut_to_dense", {"indices": indices, "lut": lut, "vector_axis": np.int32(1)}
    )
    assert rows[0].tolist() == [[1, 1], [2, 2], [3, 3], [4, 1], [5, 2], [6, 3]]
    (columns,) = decode(
        "constexpr_lut_to_dense", {"indices": indices, "lut": lut, "vector_axis": np.int32(-1)}
    )
    assert columns[0].tolist() == [[1, 2, 3, 1, 2, 3], [4, 5, 6, 1, 2, 3]]


def test_a_sparse_shift_scale_by_hand() -> None:
    """The example in the documentation of constexpr_sparse_blockwise_shift_scale."""
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]], np.uint8)
    arguments = {
        "data_mask": mask,
        "nonzero_data": np.array([10, 11, 3, 4, 5, 6, 7, 8, 9], np.int8),
        "scale": np.array([[0.1, 0.2, 0.3, 0.4]], np.float32),
        "offset": np.array([[1, 2, 3, 4]], np.int8),
    }
    same, values = decode("constexpr_sparse_blockwise_shift_scale", arguments)
    np.testing.assert_array_equal(same, mask)
    np.testing.assert_allclose(values, [0.9, 1.8, 0.2, 0.4, 0.6, 0.9, 1.2, 0.7, 1.4], rtol=1e-6)


def test_a_cast() -> None:
    (values,) = decode("constexpr_cast", {"source_val": HALF, "output_dtype": "fp32"})
    np.testing.assert_array_equal(values, HALF.astype(np.float32))
    with pytest.raises(UnsupportedOperation, match="constexpr_cast to 'int8'"):
        decode("constexpr_cast", {"source_val": HALF, "output_dtype": "int8"})


LUT = np.arange(4, dtype=np.float16)
BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown arguments": ("lut_to_dense", {"indices": LUT, "palette": LUT}, "with arguments"),
    "a palette of three": (
        "lut_to_dense",
        {"indices": np.zeros(1, np.uint8), "lut": LUT[:3], "shape": np.array([2], np.uint32)},
        "a palette of 3 values",
    ),
    "too few packed bytes": (
        "lut_to_dense",
        {"indices": np.zeros(1, np.uint8), "lut": LUT, "shape": np.array([9], np.uint32)},
        "1 bytes do not hold 9 numbers of 2 bits",
    ),
    "an index beyond the palette": (
        "lut_to_dense",
        {"indices": np.array([9], np.uint8), "lut": LUT.reshape(1, 4, 1)},
        "beyond a palette of 4",
    ),
    "a mask that does not fit": (
        "sparse_to_dense",
        {"nonzero_data": LUT, "mask": np.ones(3, np.uint8)},
        "a mask of 3 ones for 4 values",
    ),
    "blocks that do not divide": (
        "blockwise_shift_scale",
        {"data": np.zeros(5, np.int8), "scale": LUT[:2]},
        r"scales of shape \(2,\)",
    ),
    "a palette beyond memory": (
        "lut_to_dense",
        {
            "indices": np.zeros(1, np.uint8),
            "lut": LUT,
            "shape": np.array([2**31, 2**31], np.uint32),
        },
        "do not hold",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_refuses(name: str) -> None:
    kind, arguments, message = BAD[name]
    with pytest.raises(BadArtifact, match=message):
        decode(f"constexpr_{kind}", arguments)


def test_refuses_an_unknown_encoding() -> None:
    with pytest.raises(UnsupportedOperation, match="'constexpr_magic'") as caught:
        decode("constexpr_magic", {})
    assert "constexpr_lut_to_dense" in caught.value.do
