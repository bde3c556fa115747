"""TFLite: `model.tflite`, written by our own lowering and run by LiteRT with XNNPACK."""

from converters.tflite.convert import convert, preload
from converters.tflite.partitions import Partitions, partitions
from converters.tflite.runner import open_runner, prepare

__all__ = ["Partitions", "convert", "open_runner", "partitions", "preload", "prepare"]
