"""What `mlship blame` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.debug.blame import BackendBlame, Blame, LayerError
from toolchain.report import plain, terminal

if TYPE_CHECKING:
    from rich.table import Table


def show(blamed: Sequence[Blame], top: int) -> None:
    """The stages, and of each backend the layers that add most."""
    for one in blamed:
        terminal.show(_stages(one))
        for backend in one.backends:
            if backend.layers:
                terminal.show(_layers(one, backend, top))
            else:
                plain.say(f"{backend.backend}: skipped, {backend.skipped}")
        for sentence in verdict(one):
            plain.say(sentence, fg=None if one.exit_code == 0 else "red")


def verdict(one: Blame) -> list[str]:
    """What parts first, a sentence for each backend; or that nothing does."""
    name = one.subject.name
    found = [f"{name}: {fault.sentence}" for fault in one.constants]
    if one.stage is not None:
        layer = f", first in {one.stage.layer}" if one.stage.layer else ""
        found.append(f"{name}: PyTorch and the bundle part at: {one.stage.name}{layer}")
    for backend in one.backends:
        if backend.first is not None:
            found.append(f"{name} on {backend.backend}: {_accusation(backend.first)}")
    if found or one.exit_code == 3:
        return found or [f"{name}: no backend showed its values"]
    return [f"{name}: no layer is to blame"]


def _accusation(layer: LayerError) -> str:
    note = layer.note or f"off by {layer.added:.2g} of its largest value"
    return f"{layer.name} at {_short(layer.source)} is to blame: {note}"


def _stages(one: Blame) -> Table:
    made = terminal.table(
        f"{one.subject.name}, case {one.case}: what each stage adds",
        *("stage", "output", "error", "tolerance", "verdict"),
        right=("error", "tolerance"),
    )
    for stage in one.stages:
        mark = terminal.MARKS["failed" if stage.parted else "passed"]
        cells = (f"{stage.error:.1e}", f"{stage.tolerance:.1e}")
        note = f" {stage.note}{f' in {stage.layer}' if stage.layer else ''}".rstrip()
        made.add_row(stage.name, stage.output, *cells, terminal.styled(mark, note))
    return made


def _layers(one: Blame, backend: BackendBlame, top: int) -> Table:
    count = len(backend.layers)
    made = terminal.table(
        f"{one.subject.name} on {backend.backend}: "
        f"the {min(top, count)} of {count} layers that add most error",
        *("layer", "source", "added", "total", ""),
        right=("added", "total"),
    )
    for layer in sorted(backend.ranked, key=lambda x: not x.off)[:top]:
        mark = terminal.styled(("off", "red"), f" {layer.note}") if layer.off else ""
        cells = (_short(layer.source), f"{layer.added:.1e}", f"{layer.total:.1e}")
        made.add_row(layer.name, *cells, mark)
    return made


def _short(source: str) -> str:
    """A line of code from here, where it lies below this folder."""
    return source.removeprefix(f"{Path.cwd()}/")
