"""PyTorch to .tflite with TinyNeuralNetwork, in its own environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def convert(model: str, directory: Path) -> None:
    """Write `directory/model.tflite`, its maps stored NHWC."""
    import torch
    from tinynn.converter import TFLiteConverter

    from model_defs import zoo

    spec = zoo.load(model)
    torch.manual_seed(0)
    module = spec.build().eval()
    example = tuple(torch.rand(t.shape) for t in spec.inputs)
    os.chdir(directory)  # it writes files of its own beside
    TFLiteConverter(module, example, "model.tflite").convert()


if __name__ == "__main__":
    convert(sys.argv[1], Path(sys.argv[2]))
