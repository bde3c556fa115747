"""`mlship size`: where the bytes of a bundle are, on disk and on the wire."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.measure import treemap
from benchmarks.measure.size import SPEEDS, SizeRow, measure
from benchmarks.measure.treemap import Cell
from converters.api import Artifact
from model_defs import lookup
from model_defs.errors import BadBundle
from toolchain.build.build import Built, Say, build
from toolchain.build.on_demand import Wanted, is_bundle
from toolchain.bundle import bundle
from toolchain.bundle.bundle import Bundle
from toolchain.report import terminal

MOST_LAYERS = 12


def weigh(directory: Path) -> tuple[Bundle, SizeRow]:
    """A verified bundle and what its artifact weighs."""
    found = bundle.read(directory)
    artifact = Artifact.from_json(found.manifest["artifact"], found.directory)
    row = measure(artifact, int(found.manifest["model"]["parameters"]))
    return found, replace(row, ideal=stored_bytes(found) or row.ideal)


def stored_bytes(found: Bundle) -> int:
    """What the bundle's numbers take, with their scales and palettes; 0 where it does not say."""
    ledger = found.manifest["recipe"].get("ledger", [])
    return int(ledger[-1]["bytes"]) if ledger else 0


def weigh_all(names: Iterable[str], wanted: Wanted, say: Say) -> Iterator[tuple[Bundle, SizeRow]]:
    """Each bundle, and each target of each model, which is built first.

    Raises what building raises, BadBundle where a build was not equal to PyTorch.
    """
    for name in names:
        if is_bundle(name):
            yield weigh(Path(name))
            continue
        with tempfile.TemporaryDirectory(prefix="mlship-") as work:
            asked = (lookup.expand(name), wanted.targets, wanted.recipe)
            for one in build(*asked, weights=wanted.weights, out=Path(work), say=say):
                yield _weighed(one)


def _weighed(built: Built) -> tuple[Bundle, SizeRow]:
    """What was built for this alone, under its name: its folder is gone soon."""
    name = f"{built.model}-{built.target}"
    if built.error is not None:
        raise built.error
    if built.bundle is None:
        raise BadBundle(f"{name} is not equal to PyTorch", do=f"mlship build {built.model}")
    _, row = weigh(built.bundle.directory)
    return replace(built.bundle, directory=Path(name)), row


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


def show(rows: list[tuple[Bundle, SizeRow]]) -> None:
    """One line a bundle, then the largest layers of each."""
    right = ("disk", "on the wire", "bare numbers", "disk / bare", *SPEEDS)
    made = terminal.table("", "bundle", *right, right=right)
    for found, row in rows:
        way, count = next(iter(row.wire.items()))
        made.add_row(
            str(found.directory),
            terminal.size(row.disk),
            f"{terminal.size(count)} ({way})",
            terminal.size(row.ideal),
            f"{row.overhead:.1%}",
            *(f"{row.seconds(speed):.1f} s" for speed in SPEEDS),
        )
    terminal.show(made, *(_layers(found, row) for found, row in rows))
    for found, row in rows:
        for same in row.duplicates:
            names = ", ".join(item.name for item in same)
            wasted = terminal.size(same[0].bytes * (len(same) - 1))
            terminal.show(f"{found.directory}: {wasted} stored twice or more: {names}")


def _layers(found: Bundle, row: SizeRow) -> Any:
    kinds = ", ".join(f"{kind} {terminal.size(count)}" for kind, count in row.kinds.items())
    made = terminal.table(
        f"{found.name} for {found.target}", "layer", "bytes", "share", right=("bytes", "share")
    )
    for layer in row.layers[:MOST_LAYERS]:
        made.add_row(layer.name, terminal.size(layer.bytes), f"{layer.bytes / row.disk:.1%}")
    rest = row.layers[MOST_LAYERS:]
    if rest:
        count = sum(layer.bytes for layer in rest)
        label = f"[dim]{len(rest)} more layers"
        made.add_row(label, terminal.size(count), f"{count / row.disk:.1%}")
    made.caption, made.caption_justify = kinds, "left"
    return made


def page(rows: list[tuple[Bundle, SizeRow]]) -> str:
    """A self-contained HTML page with a treemap of each bundle."""
    sections = "\n".join(_section(found, row) for found, row in rows)
    return PAGE.replace("{sections}", sections)


def _section(found: Bundle, row: SizeRow) -> str:
    way, count = next(iter(row.wire.items()))
    facts = (
        f"<b>{terminal.size(row.disk)}</b> on disk, <b>{terminal.size(count)}</b> on the wire "
        f"({way}); {row.overhead:.1%} of its bare numbers' {terminal.size(row.ideal)}; "
        + ", ".join(f"{row.seconds(speed):.1f} s on {speed}" for speed in SPEEDS)
    )
    cells = [
        Cell(layer.name, terminal.size(layer.bytes), layer.bytes, "weights") for layer in row.layers
    ] + [
        Cell(kind, terminal.size(count), count, kind)
        for kind, count in row.kinds.items()
        if kind != "weights"
    ]
    title = html.escape(f"{found.name} for {found.target}")
    return f"<section><h2>{title}</h2><p>{facts}</p>{treemap.svg(cells)}</section>"


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>mlship size</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2.5rem auto; max-width: 1160px;
       color: #1d2530; background: #fff; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 0; }
p { margin: .2rem 0 .8rem; color: #4a5564; }
svg { width: 100%; display: block; border-radius: 4px; }
rect { stroke: #fff; stroke-width: 1; }
g:hover rect { filter: brightness(1.15); }
text { font: 11px ui-monospace, monospace; fill: #fff; pointer-events: none; }
.detail { opacity: .75; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 1em; }
</style>
<h1>Where the bytes are</h1>
<p>Area is bytes on disk. Hover over a rectangle for its name.
<span class="key" style="background:#3b6ea5"></span>weights by layer
<span class="key" style="background:#c2703d"></span>graph
<span class="key" style="background:#5f8f5a"></span>metadata
<span class="key" style="background:#8a8f98"></span>padding</p>
{sections}
</html>
"""
