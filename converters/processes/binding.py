"""How runners bind tensors: by the names that a file declares, checked against its ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from converters.api import Port, Tensors
from model_defs.errors import BadArtifact

Declared = Mapping[str, tuple[tuple[int, ...], str]]
"""Shape and numpy type of the tensors that a file declares, by name."""


def check_ports(noun: str, ports: Sequence[Port], declared: Declared) -> None:
    """BadArtifact unless the file's names, shapes and types are exactly those of the ports."""
    names = sorted(port.stored_as for port in ports)
    if names != sorted(declared):
        raise BadArtifact(f"the file's {noun}s are {sorted(declared)}, not {names}")
    for port in ports:
        shape, kind = declared[port.stored_as]
        if (shape, kind) != (port.shape, port.dtype):
            raise BadArtifact(
                f"{noun} '{port.name}' is {kind} {shape} in the file, not {port.dtype} {port.shape}"
            )


def take_inputs(ports: Sequence[Port], inputs: Tensors) -> dict[str, np.ndarray]:
    """The inputs as stored, by their stored names; BadArtifact for any missing or extra."""
    if set(inputs) != {port.name for port in ports}:
        names = sorted(port.name for port in ports)
        raise BadArtifact(f"given inputs {sorted(inputs)}, the model has {names}")
    return {port.stored_as: port.to_stored(inputs[port.name]) for port in ports}
