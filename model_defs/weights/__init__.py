"""Trained weights, one file a net, and where they are; `cards` says how they came to be."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def path_of(name: str) -> Path:
    """Where a net's weights are, or would be."""
    return FOLDER / f"{name}.safetensors"
