"""Operations that only some targets or pairs of PyTorch's functions become."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mil_packages import Battery, Case, build
from torch import Tensor

from converters.coreml.tools import coremltools


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(4))


def assigned(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 1:3, ::2] = 7 * x[:, :2, ::2]
    return y


def turned(x: Tensor) -> Tensor:
    angle = torch.tensor([[[0.8, -0.3, 0.1], [0.4, 0.9, -0.2]]])
    grid = F.affine_grid(angle, (1, 4, 5, 7), align_corners=True)
    return F.grid_sample(x, grid, align_corners=True)


MASK = noise(1, 1, 5, 6)
ATTENTION = (noise(1, 2, 5, 4), noise(1, 2, 6, 4), noise(1, 2, 6, 3))
CASES = {
    "attention": Case(F.scaled_dot_product_attention, ATTENTION, ("scaled_dot_product_attention",)),
    "attention-mask": Case(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=MASK),
        ATTENTION,
        ("scaled_dot_product_attention",),
    ),
    "slice-assignment": Case(assigned, (noise(1, 4, 6, 5),), ("slice_update",)),
    "affine-grid": Case(turned, (noise(1, 4, 5, 7),), ("affine",)),
}
BATTERY = Battery(CASES, target="iOS18")


@pytest.mark.parametrize("name", CASES)
def test_equals_pytorch(name: str, tmp_path: Path) -> None:
    BATTERY.check(name, tmp_path)


def test_a_list_is_scattered_into(tmp_path: Path) -> None:
    ct = coremltools()
    from coremltools.converters.mil import Builder

    rows = noise(3, 2).numpy()

    def program() -> object:
        @Builder.program(
            input_specs=[Builder.TensorSpec(shape=(3, 2))], opset_version=ct.target.iOS17
        )
        def write(rows: object) -> object:
            made = Builder.make_list(init_length=3, elem_shape=(2,), dynamic_length=False)
            made = Builder.list_scatter(ls=made, indices=[2, 0, 1], value=rows)
            return Builder.list_gather(ls=made, indices=[0, 1, 2], name="y")

        return write

    package = build(program, tmp_path / "lists.mlpackage")
    (outputs,) = package.main.run({"rows": rows}).values()
    np.testing.assert_array_equal(outputs, rows[[1, 2, 0]])
