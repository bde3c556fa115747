"""PyTorch to .tflite with TinyNeuralNetwork, in its own environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def convert(model: str, directory: Path) -> None:
    """Write `directory/model.tflite`, its maps stored NHWC."""
    from benchmarks.studies.peers.subjects import given

    _, module, example = given(model)
    from tinynn.converter import TFLiteConverter

    os.chdir(directory)  # it writes files of its own beside
    TFLiteConverter(module, example, "model.tflite").convert()


if __name__ == "__main__":
    convert(sys.argv[1], Path(sys.argv[2]))
