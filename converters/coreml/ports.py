"""Compares the ports of an artifact with the tensors that its package declares."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters import mil
from converters.api import Artifact, Port
from converters.mil.types import TensorType
from model_defs.errors import BadArtifact


def check_ports(artifact: Artifact, package: mil.Package) -> None:
    """BadArtifact unless the artifact's entry of the package has exactly the ports' tensors."""
    main = package.at(artifact.entry)
    types = {v.name: v.type for v in main.inputs}
    _check_types("input", artifact.inputs, types)
    computed = {r.name: r.type for o in main.block.operations for r in o.results} | types
    outputs = {name: computed[name] for name in main.outputs if name in computed}
    _check_types("output", artifact.outputs, outputs)


def _check_types(noun: str, ports: tuple[Port, ...], types: dict[str, Any]) -> None:
    if {p.stored_as for p in ports} != set(types):
        raise BadArtifact(
            f"{noun}s {', '.join(sorted(types))} are stored, "
            f"{', '.join(sorted(p.stored_as for p in ports))} declared"
        )
    for port in ports:
        stored = types[port.stored_as]
        if not isinstance(stored, TensorType) or stored.numpy != np.dtype(port.dtype):
            raise BadArtifact(f"{noun} '{port.name}' is stored as {stored}, not {port.dtype}")
        if not stored.admits(port.shape):
            raise BadArtifact(f"{noun} '{port.name}' is stored as {stored}, not {port.shape}")
