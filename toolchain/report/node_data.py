"""A blamed bundle as node data, which Model Explorer draws onto a .tflite file's graph.

The format is its `ModelNodeData`: graph id -> results by tensor name, and colours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from toolchain.debug.blame import BackendBlame

GRAPH = "main"
"""What TFLite's converter calls a file's only graph."""
GRADIENT = (
    {"stop": 0, "bgColor": "#f7f8f9", "textColor": "#1c1e21"},
    {"stop": 0.5, "bgColor": "#fde0a0", "textColor": "#1c1e21"},
    {"stop": 1, "bgColor": "#be2d3c", "textColor": "#ffffff"},
)


def node_data(blamed: Iterable[BackendBlame]) -> dict[str, Any]:
    """The error that each tensor adds, in per cent of its largest number: the worst backend's."""
    worst: dict[str, float] = {}
    for backend in blamed:
        for layer in backend.layers:
            added = 100 * layer.added if np.isfinite(layer.added) else 100.0
            worst[layer.stored_as] = max(worst.get(layer.stored_as, 0.0), added)
    results = {name: {"value": round(value, 6)} for name, value in worst.items()}
    return {GRAPH: {"results": results, "gradient": list(GRADIENT)}}
