"""What a saved program computes in between."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from converters import mil
from converters.api import Artifact
from converters.coreml.names import core_ml_layers, plain_name
from converters.intermediates.guide import Guide, Observed


def watch(artifact: Artifact, guide: Guide, precision: str = "exact") -> Iterator[Observed]:
    """Every value of the saved program whose name is one of PyTorch's."""
    layers = core_ml_layers(guide.traced)
    stored = {p.stored_as: p.to_stored(guide.inputs[p.name]) for p in artifact.inputs}
    trace: dict[str, np.ndarray] = {}
    mil.open_package(artifact.path).at(artifact.entry).interpreter(precision).run(stored, trace)
    for name, array in trace.items():
        layer = layers.pop(plain_name(name), None)
        if layer is not None and array.dtype.kind == "f":
            yield Observed(layer.value, name, array.astype(np.float32))


def watch_weights_only(artifact: Artifact, guide: Guide) -> Iterator[Observed]:
    """The same, in float32."""
    return watch(artifact, guide, "weights-only")
