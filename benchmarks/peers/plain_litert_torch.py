"""PyTorch to .tflite with litert-torch, in its own environment (`benchmarks.peers.install`)."""

from __future__ import annotations

import sys
from pathlib import Path


def convert(model: str, directory: Path) -> None:
    """Write `directory/model.tflite`, its tensors in PyTorch's layout."""
    import litert_torch
    import torch

    from model_defs import zoo

    spec = zoo.load(model)
    torch.manual_seed(0)
    module = spec.build().eval()
    example = tuple(torch.rand(t.shape) for t in spec.inputs)
    litert_torch.convert(module, example).export(str(directory / "model.tflite"))


if __name__ == "__main__":
    convert(sys.argv[1], Path(sys.argv[2]))
