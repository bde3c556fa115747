"""GridSample over all its arguments, against PyTorch's grid_sample, on both runtimes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from converters.lowering.call import Target
from tests.converters.lowering.batches import Check, failures, node_check

MODES = {"bilinear": "linear", "nearest": "nearest", "bicubic": "cubic"}
PADDINGS = ("zeros", "border", "reflection")
MAPS = {(2, 3, 5, 7): (2, 6, 4, 2), (1, 1, 4, 1): (1, 3, 5, 2), (1, 2, 3, 4, 5): (1, 2, 4, 3, 3)}


def checks() -> Iterator[Check]:
    torch.manual_seed(0)
    for (shape, grid_shape), mode, padding, corners in product(
        MAPS.items(), MODES, PADDINGS, (False, True)
    ):
        if mode == "bicubic" and len(shape) == 5:
            continue
        x, grid = torch.rand(shape) * 4 - 2, torch.rand(grid_shape) * 5 - 2.5
        # Corners, centres of pixels and what lies far outside are where implementations differ.
        grid.view(-1)[:8] = torch.tensor([-1, 1, 0, -1, 1, 0, 40, -300])
        found = F.grid_sample(x, grid, mode, padding, corners).numpy()
        for fed, name in ((("x",), "static"), (("x", "grid"), "computed")):
            yield node_check(
                f"{name}_{mode}_{padding}_{corners}_{len(shape)}_{shape[-1]}",
                "GridSample",
                {"x": x.numpy(), "grid": grid.numpy()},
                found,
                fed,
                tolerance=2e-5,
                mode=MODES[mode],
                padding_mode=padding,
                align_corners=int(corners),
            )


@pytest.mark.parametrize("target", ["tflite", "tfjs"])
def test_samples_what_pytorch_does(target: Target, tmp_path: Path) -> None:
    assert failures(list(checks()), target, tmp_path) == {}


def test_the_old_names_of_modes_are_known(tmp_path: Path) -> None:
    x, grid = torch.rand(1, 2, 4, 5), torch.rand(1, 3, 3, 2)
    given = {"x": x.numpy(), "grid": grid.numpy()}
    old = [
        node_check(
            mode,
            "GridSample",
            given,
            F.grid_sample(x, grid, mode, align_corners=False).numpy(),
            opset=16,
            mode=mode,
        )
        for mode in MODES
    ]
    assert failures(old, "tflite", tmp_path) == {}
