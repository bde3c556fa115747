"""The quantisers that ours are compared with, and the ways in which each is asked."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure.peers.install import python_of
from benchmarks.studies.peers import (
    quantise_ai_edge,
    quantise_coremltools,
    quantise_tensorflow,
    quantise_tinynn,
)


@dataclass(frozen=True)
class QuantiserTool:
    """A peer: its script's name and Python, and what it is given: a model's name or a file.

    Where it does not keep the names of a model's tensors, they are told apart by their order.
    """

    name: str
    target: str
    script: str
    python: Path
    ways: tuple[str, ...]
    source: str = "model"
    keeps_names: bool = True


TOOLS = (
    QuantiserTool(
        "coremltools",
        "ios",
        "coremltools",
        Path(sys.executable),
        ("float16", *quantise_coremltools.WAYS),
    ),
    QuantiserTool(
        "TFLiteConverter",
        "android",
        "tensorflow",
        Path(sys.executable),
        quantise_tensorflow.WAYS,
        source="SavedModel",
        keeps_names=False,
    ),
    QuantiserTool(
        "ai-edge-quantizer",
        "android",
        "ai_edge",
        python_of("litert_torch"),
        tuple(quantise_ai_edge.WAYS),
        source="fp32",
    ),
    QuantiserTool(
        "TinyNeuralNetwork",
        "android",
        "tinynn",
        python_of("tinynn"),
        tuple(quantise_tinynn.WAYS),
        keeps_names=False,
    ),
)
