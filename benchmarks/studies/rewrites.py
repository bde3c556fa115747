"""What each rewrite of the lowering is worth: a network with it and without it.

    python -m benchmarks.studies.rewrites [--rewrite NAME ...] [--rounds 7] [--runs 10]

The networks are those of `rewrite_nets`, timed side by side: one thread, a process a
file, in shuffled rounds. Writes benchmarks/results/rewrites.json and rewrites.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure.machine import processor
from benchmarks.measure.timing.rounds import times
from benchmarks.studies.rewrite_nets import NETS, SIZE
from converters.contents import disk_bytes

if TYPE_CHECKING:
    from converters.api import Export
    from converters.lowering.call import Target
    from converters.lowering.graph import Graph
    from converters.lowering.rewrites import Rewrite

RESULTS = Path(__file__).parents[1] / "results" / "rewrites.json"
PAGE = RESULTS.with_suffix(".md")
FUSED = "fused"
NEEDED = ("fuse-fake-quantize",)
"""Rewrites without which nothing is lowered: there is no time to compare with."""
WITH, WITHOUT = "with", "without"
Row = dict[str, Any]


def rewrites() -> Iterator[tuple[Target, str, tuple[Rewrite, ...], tuple[Rewrite, ...]]]:
    """(target, title, the rewrites with it, those without it) of each that a target has.

    Reflection padding on TF.js stands here too, the other way round: there it is not applied.
    """
    from converters.lowering.rewrites import REWRITES
    from converters.lowering.rewrites.pad_as_slices import PadAsSlices

    for target, every in REWRITES.items():
        for one in every:
            if one.name in NEEDED:
                continue
            if target == "tfjs" and isinstance(one, PadAsSlices):
                more = tuple(PadAsSlices() if r is one else r for r in every)
                yield target, f"{one.name} of reflections, not applied", more, every
            else:
                yield target, one.name, every, tuple(r for r in every if r is not one)
    yield "tfjs", FUSED, REWRITES["tfjs"], REWRITES["tfjs"]


def measure(name: str, target: Target, kept: Any, left: Any, rounds: int, runs: int) -> Row:
    """A row: medians over the rounds, and for a .tflite its partitions."""
    with tempfile.TemporaryDirectory() as folder:
        export = _exported(name, Path(folder))
        files = {
            WITH: _written(export, target, kept, Path(folder, WITH), fusing=True),
            WITHOUT: _written(export, target, left, Path(folder, WITHOUT), fusing=name != FUSED),
        }
        found, failed = times(files, rounds, runs)
        medians = {way: statistics.median(found[way]) for way in files if way in found}
        parts = {way: _partitions(path) for way, path in files.items()}
        bytes_of = {way: disk_bytes(path) for way, path in files.items()}
        return {"ms": medians, "partitions": parts, "bytes": bytes_of, "failed": failed}


def _exported(name: str, folder: Path) -> Export:
    """The network as ONNX, its weights drawn under seed 0."""
    from converters.capture import capture
    from converters.export import export
    from model_defs.spec import ModelSpec, TensorSpec

    net = NETS[name]
    image = TensorSpec("image", (1, 3, SIZE, SIZE), "image", low=0, high=1)
    result = TensorSpec("result", _result(name), "features", tolerance=1e-3)
    return export(capture(ModelSpec("net", net, (image,), (result,))), folder)


def _result(name: str) -> tuple[int, ...]:
    import torch

    return tuple(NETS[name]().eval()(torch.zeros(1, 3, SIZE, SIZE)).shape)


def _written(export: Export, target: Target, applied: Any, path: Path, *, fusing: bool) -> Path:
    """The file of an export after some rewrites."""
    from converters.lowering.graph import read_graph
    from converters.lowering.lower import lower

    graph: Graph = read_graph(export.onnx)
    for rewrite in applied:
        graph = rewrite(graph)
    lowered = lower(graph, export.inputs, export.outputs, target)
    if target == "tflite":
        from converters.tflite.convert import to_flatbuffer
        from converters.tflite.store import stored

        path.write_bytes(stored(to_flatbuffer(lowered), lowered, "float32"))
        return path
    from converters.tfjs.convert import save
    from converters.tfjs.fuse import fused
    from converters.tfjs.share import shared
    from converters.tfjs.storing import Storing
    from converters.tfjs.write import written

    whole = shared(fused(lowered.graph) if fusing else lowered.graph)
    save(written(whole, lowered.inputs, lowered.outputs, Storing("float32")), path)
    return path


def _partitions(path: Path) -> str:
    from converters.tflite.partitions import partitions

    return "" if path.is_dir() else str(partitions(path))


def page(result: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# What each rewrite is worth",
        "",
        f"{result['machine']}, one thread; CPU milliseconds, medians of shuffled rounds. Networks "
        "of [rewrite_nets.py](../rewrite_nets.py).",
        "`ratio` is the time without over the time with it: above 1, it is faster. LiteRT runs "
        "XNNPACK, TF.js WebAssembly in Node.",
        "Remake: `python -m benchmarks.studies.rewrites`.",
        "",
        "| target | rewrite | with | without | ratio | kB with | kB without | XNNPACK without |",
        "|---|---|---:|---:|---:|---:|---:|---|",
        *(_line(row) for row in result["rows"]),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    ms, sizes = row["ms"], (f"{row['bytes'][way] / 1e3:.0f}" for way in (WITH, WITHOUT))
    ways = [f"{ms[way]:.1f}" if way in ms else "does not run" for way in (WITH, WITHOUT)]
    ratio = f"{ms[WITHOUT] / ms[WITH]:.2f}x" if len(ms) == 2 else "-"
    cells = [row["target"], row["rewrite"], *ways, ratio, *sizes, row["partitions"][WITHOUT]]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure, then write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rewrite", action="append", choices=NETS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=int, default=10)
    asked = parser.parse_args()
    known = json.loads(RESULTS.read_text())["rows"] if asked.rewrite else []
    rows = {(row["target"], row["rewrite"]): row for row in known}
    for target, title, kept, left in rewrites():
        name = title.split()[0]
        if not asked.rewrite or name in asked.rewrite:
            row = measure(name, target, kept, left, asked.rounds, asked.runs)
            rows[target, title] = {"target": target, "rewrite": title, **row}
            print(_line(rows[target, title]), file=sys.stderr)
    order = [(target, title) for target, title, *_ in rewrites()]
    result = {"machine": processor(), "rows": [rows[key] for key in order if key in rows]}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    PAGE.write_text(page(result))


if __name__ == "__main__":
    main()
