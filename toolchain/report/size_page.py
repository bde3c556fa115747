"""Weighed bundles as a page: a treemap of each one's bytes."""

from __future__ import annotations

import html

from benchmarks.measure import treemap
from benchmarks.measure.size import SPEEDS, SizeRow
from benchmarks.measure.treemap import Cell
from toolchain.bundle.bundle import Bundle
from toolchain.report import terminal


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
