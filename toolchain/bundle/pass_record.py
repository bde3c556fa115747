"""What a pass did to a program, as a manifest keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PassRecord:
    """A program after a pass.

    `bytes` is what its numbers take as they are to be stored, with their scales and palettes.
    `moved` is the largest change of an output from the model's, in tolerances, on a photograph.
    `metrics` is empty where nobody asked.
    """

    after: str
    bytes: int
    parameters: int
    macs: int
    moved: float
    metrics: Mapping[str, float] = field(default_factory=dict)
