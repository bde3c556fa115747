"""Core ML's sparse constants: exact, only for kernels, and only where they are smaller."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.measure.size import measure
from converters import mil
from converters.api import Artifact, Program
from converters.contents import disk_bytes
from converters.coreml import constants, convert
from converters.coreml.constants import is_sparse
from converters.coreml.runner import MilRunner
from converters.export import export
from tests.converters.kernels import Kernels, after, planned, program_of
from toolchain.quantization import grids

FORMS = {
    "prune-weights=0.5": ("CoreML6", {"sparse_to_dense"}),
    "prune-weights=0.5,weights-fp16": ("CoreML6", {"sparse_to_dense"}),
    "prune-weights=0.9,weights-int8,weights-fp16": (
        "CoreML6",
        {"sparse_to_dense", "affine_dequantize"},
    ),
    "prune-weights=0.5,weights-int8,weights-fp16": ("CoreML6", {"affine_dequantize"}),
    "prune-weights=0.5,palettize=4,weights-fp16": (
        "CoreML6",
        {"lut_to_dense", "affine_dequantize"},
    ),
    "prune-weights=0.8,weights-int4=16,weights-fp16": (
        "CoreML8",
        {"sparse_blockwise_shift_scale", "sparse_to_dense", "blockwise_shift_scale"},
    ),
    "prune-weights=0.8,weights-int6,weights-fp16": (
        "CoreML8",
        {"lut_to_sparse", "sparse_blockwise_shift_scale", "sparse_to_dense"}
        | {"lut_to_dense", "blockwise_shift_scale"},
    ),
    "prune-weights=0.8,palettize=3,weights-fp16": (
        "CoreML8",
        {"lut_to_sparse", "sparse_to_dense", "lut_to_dense", "blockwise_shift_scale"},
    ),
}
"""Recipe -> the Core ML that it needs, and the expressions that its kernels become.
The smallest kernels keep 8 bits."""


@pytest.fixture(autouse=True)
def _only_the_smallest_kernels_keep_eight_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grids, "SMALL", 300)


def stored(program: Program, folder: Path) -> Artifact:
    folder.mkdir(exist_ok=True)
    return convert.convert(export(program, folder / "export"), folder)


def expressions(artifact: Artifact) -> set[str]:
    operations = mil.open_package(artifact.path).main.block.operations
    kinds = {operation.type for operation in operations}
    return {kind.removeprefix("constexpr_") for kind in kinds if kind.startswith("constexpr_")}


def kernels_of(artifact: Artifact) -> list[np.ndarray]:
    """The kernels that the operations read, in their order."""
    package, scope = planned(artifact)
    operations = [o for o in package.main.block.operations if "weight" in o.arguments]
    return [scope.array(operation.arguments["weight"][0]) for operation in operations]


@pytest.mark.parametrize("recipe", FORMS)
def test_pruned_kernels_are_stored_in_the_fewest_bytes_and_read_back_to_the_bit(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = after(recipe, Kernels())
    artifact = stored(program, tmp_path / "own")
    opset, kinds = FORMS[recipe]
    assert mil.open_package(artifact.path).main.opset == opset
    assert expressions(artifact) == kinds
    kind = np.float16 if "fp16" in recipe else np.float32
    kernels = [p.numpy() for p in program.module.parameters() if p.ndim > 1]
    for found, kernel in zip(kernels_of(artifact), kernels, strict=True):
        assert found.dtype == kind
        np.testing.assert_array_equal(found, kernel.astype(kind))
    monkeypatch.setattr(constants, "is_sparse", lambda *given: False)
    dense = stored(program, tmp_path / "dense")
    gained = disk_bytes(dense.path) - disk_bytes(artifact.path)
    assert gained > 0 if "sparse_to_dense" in kinds else gained == 0
    image = {"image": np.random.default_rng(0).random((1, 3, 12, 12), np.float32)}
    results = [MilRunner(one).run(image)["result"] for one in (artifact, dense)]
    np.testing.assert_array_equal(*results)


def test_a_kernel_with_few_zeros_stays_dense(tmp_path: Path) -> None:
    program = after("prune-weights=0.05,weights-fp16", Kernels())
    assert any((p == 0).any() for p in program.module.parameters())
    assert expressions(stored(program, tmp_path)) == set()


class Others(nn.Module):
    """Zeros in a bias and in a summand: neither is a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 4096, 1)
        self.register_buffer("table", torch.zeros(4096, 12, 12))
        self.linear = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear((self.wide(x) + self.table).mean((1, 2)))


def test_only_kernels_become_sparse(tmp_path: Path) -> None:
    program = program_of(Others())
    program.module.wide.bias[1:] = 0
    program.module.table[1:2] = 1.5
    assert expressions(stored(program, tmp_path)) == set()


@pytest.mark.parametrize(
    ("zeros", "size", "bits", "dense", "pays"),
    [
        (50_000, 100_000, 16, 16, True),
        (6_000, 100_000, 16, 16, False),
        (7_000, 100_000, 16, 16, True),
        (50_000, 100_000, 16, 8, False),
        (70_000, 100_000, 16, 8, True),
        (30_000, 100_000, 4, 4, True),
        (25_000, 100_000, 4, 4, False),
        (300, 600, 16, 16, False),
        (100_000, 100_000, 16, 16, False),
    ],
)
def test_a_mask_pays_where_it_is_smaller(
    zeros: int, size: int, bits: int, dense: int, pays: bool
) -> None:
    array = np.ones(size, np.float16)
    array[:zeros] = 0
    assert is_sparse(array, bits, dense) == pays


def test_masks_and_numbers_are_weighed_as_one_layer(tmp_path: Path) -> None:
    artifact = stored(after("prune-weights=0.5,weights-fp16", Kernels()), tmp_path)
    row = measure(artifact, 0)
    (layer,) = (layer for layer in row.layers if layer.name == "grouped")
    assert {item.dtype for item in layer.tensors} == {"mask", "fp16"}
    kernel = {item.dtype: item for item in layer.tensors if len(item.name) > len("grouped_bias")}
    assert kernel["mask"].bytes == 32 * 16 * 9 // 8
