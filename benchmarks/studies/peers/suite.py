"""One model, all tools: built one after another, compared with PyTorch, timed side by side."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.measure.commands import Failed, run
from benchmarks.measure.machine import processor
from benchmarks.measure.peers.install import FOLDER as PEERS_FOLDER
from benchmarks.measure.timing.peaks import PEAK_SIZE
from benchmarks.measure.timing.process import TimedFile
from benchmarks.measure.timing.runtimes import PEAKS
from benchmarks.measure.timing.session import Mode, measure
from benchmarks.measure.timing.times import Session
from benchmarks.studies.peers.judge import DoubleReference, judge, truth
from benchmarks.studies.peers.rows import ModelFigures, PeerRow
from benchmarks.studies.peers.subjects import spec_of
from benchmarks.studies.peers.tools import TOOLS, Tool
from converters.contents import disk_bytes
from model_defs.counting import count
from model_defs.errors import MlshipError
from model_defs.installation import FOLDER as CHECKOUT

PEAK = "peak-1"


@dataclass(frozen=True)
class ToolBuild:
    """A tool's row so far, and where there is a file that runs, what it is fed."""

    row: PeerRow
    file: Path
    fed: Mapping[str, np.ndarray] | None = None


def measured(model: str, mode: Mode) -> ModelFigures:
    """Build, judge and time the files of all tools for one model."""
    with tempfile.TemporaryDirectory(prefix="mlship-peers-") as work:
        macs, known = count(spec_of(model)).macs, truth(model)
        made: dict[str, ToolBuild] = {}
        for tool in TOOLS.values():
            _say(model, f"building with {tool.name}")
            made[tool.name] = built(tool, model, Path(work), made)
        for name, one in made.items():
            _say(model, f"comparing {name}")
            made[name] = compared(TOOLS[name], one, known)
        session = timed(made, mode, model)
        rows = {name: with_times(name, one.row, session) for name, one in made.items()}
    peak = session.times[PEAK].blocks
    return ModelFigures(
        processor(),
        macs,
        round(PEAK_SIZE**3 / sorted(peak)[len(peak) // 2] / 1e6, 1),
        rows,
        {tool.name: tool.version for tool in TOOLS.values() if not tool.ours},
    )


def _say(model: str, what: str) -> None:
    print(f"{model}: {what}", file=sys.stderr, flush=True)


def built(tool: Tool, model: str, folder: Path, made: Mapping[str, ToolBuild]) -> ToolBuild:
    """A cold build in a process of its own, with an empty cache; the row says how it failed.

    What a tool needs another for counts as its own.
    """
    (folder / tool.name).mkdir()
    source = made[tool.source].row if tool.source else PeerRow(seconds=0.0, memory=0)
    file = tool.made(model, folder)
    if source.seconds is None or source.memory is None:
        return ToolBuild(PeerRow(failed=f"{tool.source} made nothing to convert"), file)
    try:
        ran = run(tool.command(model, folder), {"MLSHIP_CACHE": str(folder / "cache" / tool.name)})
    except Failed as error:
        return ToolBuild(PeerRow(failed=without_paths(str(error), folder)), file)
    if not file.exists():
        return ToolBuild(PeerRow(failed="it ended well and wrote no file"), file)
    seconds = round(ran.seconds + source.seconds, 2)
    return ToolBuild(PeerRow(seconds, max(ran.memory, source.memory), disk_bytes(file)), file)


def without_paths(text: str, folder: Path) -> str:
    """Words about files here, without where here is."""
    places = (folder, PEERS_FOLDER, CHECKOUT, Path(sys.prefix))
    for place in (*places, *(p.resolve() for p in places)):
        text = text.replace(f"{place}/", "")
    return text


def compared(tool: Tool, made: ToolBuild, known: DoubleReference) -> ToolBuild:
    """With its error, and what it is fed; or with why it does not run."""
    if made.row.failed:
        return made
    try:
        error, fed = judge(tool, made.file, known)
    except MlshipError as caught:
        return replace(made, row=replace(made.row, failed=f"the file does not run: {caught.what}"))
    return ToolBuild(replace(made.row, error=float(f"{error:.3g}")), made.file, fed)


def timed(made: Mapping[str, ToolBuild], mode: Mode, model: str) -> Session:
    """All files that run, on the same inputs, beside a product of matrices."""
    entries = {
        name: TimedFile(TOOLS[name].runtime, one.file, one.fed)
        for name, one in made.items()
        if TOOLS[name].timed and one.fed is not None
    }
    peak = {PEAK: TimedFile(PEAKS[PEAK], Path())}
    return measure(entries | peak, mode, say=lambda what, stage: _say(model, f"{what} {stage}"))


def with_times(name: str, row: PeerRow, session: Session) -> PeerRow:
    """A row with what its file took, or with why that could not be told."""
    if name in session.failed:
        return replace(row, failed=f"the file does not run: {session.failed[name]}")
    if name not in session.times:
        return row
    found = session.times[name]
    blocks = tuple(round(ms, 3) for ms in found.blocks)
    return replace(row, blocks_ms=blocks, peak=found.peak, own=found.own_memory)
