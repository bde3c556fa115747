"""TFLiteConverter.

    python -m benchmarks.studies.peers.quantise_tensorflow WAY SOURCE DIRECTORY PICTURES

The source is a SavedModel's folder, as onnx2tf writes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.studies.peers.pictures import load_pictures

WAYS = ("float16", "int8, activations as they come", "int8, activations too")


def quantise(way: str, source: str, pictures: Path) -> bytes:
    """A .tflite file, as TensorFlow's guide to post-training quantisation makes it."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(source)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if way == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if way == "int8, activations too":
        converter.representative_dataset = lambda: _samples(pictures)
    return bytes(converter.convert())


def _samples(pictures: Path) -> Iterator[dict[str, np.ndarray]]:
    for inputs in load_pictures(pictures):
        yield {name: array.transpose(0, 2, 3, 1) for name, array in inputs.items()}


def main(way: str, source: str, directory: str, pictures: str) -> None:
    path = Path(directory) / "model.tflite"
    path.write_bytes(quantise(way, source, Path(pictures)))


if __name__ == "__main__":
    main(*sys.argv[1:5])
