"""What `mlship audit` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.debug.audit import Audited
from toolchain.report import plain, terminal

if TYPE_CHECKING:
    from rich.table import Table


def show(audited: Sequence[Audited]) -> None:
    """What was found in each bundle."""
    for one in audited:
        cases = f"{len(one.subject.inputs)} cases"
        if one.findings:
            terminal.show(_table(one, cases))
            for advice in dict.fromkeys(f"{f.kind}: {f.advice}" for f in one.findings):
                plain.say(advice)
        else:
            plain.say(f"{one.subject.name}: nothing overflows or vanishes in float16, {cases}")
        if one.note:
            plain.say(f"note: {one.note}")
        for hint in one.hints:
            plain.say(f"placement hint: {hint}")
        for warning in one.warnings:
            plain.say(f"warning: {warning}")


def _table(one: Audited, cases: str) -> Table:
    from converters.mil.audit import BREAKS

    made = terminal.table(
        f"{one.subject.name} in float16, {cases}",
        *("finding", "value", "tensor", "operation", "module", "line"),
        right=("value",),
    )
    for f in one.findings:
        colour = "red" if f.kind in BREAKS else "yellow"
        source = f.source.removeprefix(f"{Path.cwd()}/")
        cells = (f"{f.value:.3g}", f.tensor, f.operation, f.module, source)
        made.add_row(f"[{colour}]{f.kind}[/]", *cells)
    return made
