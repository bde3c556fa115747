"""`mlship inspect`: a bundle's manifest, and how its artifact will run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from toolchain.bundle.bundle import Bundle

if TYPE_CHECKING:
    from converters.tflite import Partitions


def facts(bundle: Bundle) -> dict[str, Any]:
    """The manifest; of a .tflite also how many parts XNNPACK runs, and what it does not run."""
    found = partitions_of(bundle)
    return bundle.manifest.to_json() | ({"partitions": asdict(found)} if found else {})


def partitions_of(bundle: Bundle) -> Partitions | None:
    """How XNNPACK cuts up a .tflite; None for another format."""
    if bundle.artifact.format != "tflite":
        return None
    from converters.tflite import partitions

    return partitions(bundle.artifact.path)
