"""`mlship size`: where the bytes of a bundle are, on disk and on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.measure.size import SPEEDS, SizeRow, measure
from converters.processes import scratch
from converters.progress import Say
from model_defs import lookup
from toolchain.build.build import build
from toolchain.build.on_demand import Named, Wanted, is_bundle
from toolchain.build.request import BuildRequest, Built
from toolchain.bundle import bundle
from toolchain.bundle.bundle import Bundle


def measure_bundle(directory: Path) -> tuple[Bundle, SizeRow]:
    """A verified bundle and what its artifact weighs."""
    found = bundle.read(directory)
    row = measure(found.artifact, found.manifest.model.parameters)
    return found, replace(row, ideal=stored_bytes(found) or row.ideal)


def stored_bytes(found: Bundle) -> int:
    """What the bundle's numbers take, with their scales and palettes; 0 where it does not say."""
    report = found.manifest.recipe.pass_report
    return report[-1].bytes if report else 0


def measure_all(
    names: Iterable[Named], wanted: Wanted, say: Say
) -> Iterator[tuple[Bundle, SizeRow]]:
    """Each bundle, and each target of each model, which is built first.

    Raises what building raises, ParityFailed where a build was not equal to PyTorch.
    """
    for name in names:
        if isinstance(name, str) and is_bundle(name):
            yield measure_bundle(Path(name))
            continue
        with scratch.temporary() as work:
            models = lookup.expand(name) if isinstance(name, str) else (name,)
            asked = (models, wanted.targets, wanted.recipe, wanted.weights, work)
            for one in build(BuildRequest(*asked, trust_pickle=wanted.trust_pickle), say):
                yield _measured(one)


def _measured(built: Built) -> tuple[Bundle, SizeRow]:
    """What was built for this alone, under its name: its folder is gone soon."""
    name = f"{built.model}-{built.target}"
    shipped = built.shipped()
    _, row = measure_bundle(shipped.directory)
    return replace(shipped, directory=Path(name)), row


def to_json(found: Bundle, row: SizeRow) -> dict[str, Any]:
    """Everything that the tables show, and every layer."""
    return {
        "bundle": str(found.directory),
        "disk": row.disk,
        "wire": row.wire,
        "ideal": row.ideal,
        "overhead": row.overhead,
        "kinds": row.kinds,
        "download_seconds": {speed: row.seconds(speed) for speed in SPEEDS},
        "layers": [{"name": layer.name, "bytes": layer.bytes} for layer in row.layers],
        "duplicates": [
            {"bytes": same[0].bytes, "names": [item.name for item in same]}
            for same in row.duplicates
        ],
    }
