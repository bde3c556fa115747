"""PyTorch to .tflite with litert-torch, in an environment of its own (`peers.install`)."""

from __future__ import annotations

import sys
from pathlib import Path


def convert(model: str, directory: Path) -> None:
    """Write `directory/model.tflite`, its tensors in PyTorch's layout."""
    from benchmarks.studies.peers.subjects import given

    _, module, example = given(model)
    import litert_torch

    litert_torch.convert(module, example).export(str(directory / "model.tflite"))


if __name__ == "__main__":
    convert(sys.argv[1], Path(sys.argv[2]))
