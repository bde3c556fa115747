"""What a .tflite file computes in between."""

from __future__ import annotations

from collections.abc import Iterator

from converters.api import Artifact
from converters.intermediates.guide import Guide, Observed, as_pytorch
from converters.tflite.names import FUSED, PREFIX, whole
from converters.tflite.runner import intermediates


def watch(artifact: Artifact, guide: Guide, kernels: str = "xnnpack") -> Iterator[Observed]:
    """Every tensor of the file that our lowering named."""
    found = intermediates(artifact, guide.inputs, kernels)
    known = guide.origins("tflite")
    place = {name: index for index, name in enumerate(known)}
    ports = {p.stored_as: p.name for p in artifact.outputs}
    for name, array in found.items():
        every = [PREFIX + part for part in whole(name).split(FUSED)]
        parts = [part for part in every if part in known]
        if name in ports:
            yield from as_pytorch((ports[name], (0, 2, 3, 1)), name, array, guide)
        elif parts:
            last = max(parts, key=place.__getitem__)
            yield from as_pytorch(known[last], name, array, guide)


def watch_reference(artifact: Artifact, guide: Guide) -> Iterator[Observed]:
    """The same, in LiteRT's plain kernels."""
    return watch(artifact, guide, "reference")
