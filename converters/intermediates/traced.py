"""A captured graph, run one operation at a time, with values of another runtime in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from converters.graph.captured import CapturedGraph, GraphCall

Seen = Callable[[str, Tensor], Tensor]
"""Shown each value that was computed, gives the one to go on with."""


class Traced:
    """The graph of an export; its values have the names that they have in a Core ML program."""

    def __init__(self, captured: CapturedGraph) -> None:
        self._captured = captured
        self.layers = tuple(captured.layers())

    @property
    def outputs(self) -> tuple[str, ...]:
        """The values that the module returns, in its order."""
        return tuple(node.name for node in self._captured.outputs)

    def run(self, inputs: Sequence[np.ndarray], seen: Seen) -> None:
        """Compute every value in order; each float tensor is shown, and replaced by the answer."""
        made = {layer.value for layer in self.layers}
        given = [torch.from_numpy(np.ascontiguousarray(array)) for array in inputs]

        def shown(call: GraphCall) -> Any:
            name = call.node.name
            return seen(name, call.result) if name in made else call.result

        self._captured.run(given, shown)

    def values(self, inputs: Sequence[np.ndarray], names: set[str]) -> dict[str, np.ndarray]:
        """PyTorch's own values of these names."""
        found: dict[str, np.ndarray] = {}

        def keep(name: str, value: Tensor) -> Tensor:
            if name in names:
                found[name] = value.numpy().copy()
            return value

        self.run(inputs, keep)
        return found
