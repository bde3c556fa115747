"""TF.js: a folder with `model.json` and weight shards, run by tfjs on WebAssembly in Node."""

from converters.tfjs.convert import convert, preload
from converters.tfjs.runner import open_runner, prepare

__all__ = ["convert", "open_runner", "preload", "prepare"]
