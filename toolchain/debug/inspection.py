"""`mlship inspect`: a bundle's manifest, and how its artifact will run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from converters import formats
from converters.format import resolve
from toolchain.bundle.bundle import Bundle

if TYPE_CHECKING:
    from converters.tflite.partitions import Partitions


def facts(bundle: Bundle) -> dict[str, Any]:
    """The manifest; of a .tflite also how many parts XNNPACK runs, and what it does not run."""
    found = partitions_of(bundle)
    return bundle.manifest.to_json() | ({"partitions": asdict(found)} if found else {})


def partitions_of(bundle: Bundle) -> Partitions | None:
    """How a delegate cuts up an artifact; None where its format has none."""
    of_file = formats.find(bundle.artifact.format).partitions
    if of_file is None:
        return None
    found: Partitions = resolve(of_file)(bundle.artifact.path)
    return found
