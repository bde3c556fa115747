"""The same files, computed otherwise: where two variants differ, a runtime is to blame."""

from __future__ import annotations

from converters import mil
from converters.api import Artifact
from converters.coreml.convert import MilRunner
from converters.tflite.runner import LiteRTRunner

SLOW_SECONDS = 600.0


class WeightsOnlyRunner(MilRunner):
    """A saved Core ML program with its own weights, but float32 arithmetic."""

    backend = "mil-weights-only"

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact)
        self._interpreter = mil.open_package(artifact.path).main.interpreter("weights-only")


class ReferenceKernelsRunner(LiteRTRunner):
    """A .tflite file in LiteRT's plain kernels: no XNNPACK, no SIMD, no threads."""

    backend = "litert-reference"

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact, SLOW_SECONDS, kernels="reference")
