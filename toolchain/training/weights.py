"""Weights files: how they came to be is written in them, so that a card can say it.

    python -m toolchain.training.weights NAME runs/NAME/weights.safetensors

stores the weights of a training as model_defs/weights/NAME.safetensors, to be shipped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model_defs import weights as shipped
from model_defs.errors import BadWeights
from toolchain.bundle.files import write_whole

RUNS = "runs"
"""The key of a file's history: JSON, a list of trainings, each starting where the last ended."""


def write(path: Path, tensors: dict[str, Tensor], runs: list[dict[str, Any]]) -> None:
    """Writes a .safetensors file: whole, or not at all; the same bytes for the same content."""
    from safetensors.torch import save

    write_whole(path, save(tensors, {RUNS: json.dumps(runs)}))


def state_of(net: nn.Module) -> dict[str, Tensor]:
    """A net's tensors, as a file holds them."""
    return {name: t.detach().cpu().contiguous() for name, t in net.state_dict().items()}


def history(path: Path) -> list[dict[str, Any]]:
    """The trainings that made a file; empty where it does not say."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(RUNS, "[]")
    except (SafetensorError, OSError) as error:
        raise BadWeights(f"the weights file cannot be read: {error}", where=str(path)) from error
    runs: list[dict[str, Any]] = json.loads(text)
    return runs


def stored(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Kernels in float16, or in float8 where that holds the same numbers; the rest as it is."""
    return {name: narrowed(t) if t.ndim > 1 else t for name, t in tensors.items()}


def narrowed(kernel: Tensor) -> Tensor:
    """A kernel rounded to float16, in the narrowest type that holds it so."""
    import torch

    half = kernel.half()
    quarter = half.to(torch.float8_e4m3fn)
    return quarter if torch.equal(quarter.half(), half) else half


def main() -> None:
    from safetensors.torch import load_file

    parser = argparse.ArgumentParser(description="Store a training's weights, to be shipped.")
    parser.add_argument("name")
    parser.add_argument("weights", type=Path)
    options = parser.parse_args()
    path = shipped.path_of(options.name)
    write(path, stored(load_file(options.weights)), history(options.weights))
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
