"""A run of `mlship ci` in words and tables: what its page, its Markdown and the terminal share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks.measure.budgets import LIMITS
from benchmarks.measure.templates import legible
from toolchain.ci.checks import Check, amount
from toolchain.ci.differences import Difference, LayerChange
from toolchain.ci.run import CiRun

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = ("wire", "latency", "parity")
TITLES = {"wire": "on the wire", "latency": "latency", "parity": "of tolerance"}
MOST_LAYERS = 8
SAME = {"wire": 0.002, "latency": 0.02, "parity": 0.1}
"""The share by which a figure may differ and be shown as the same."""


def headline(ran: CiRun) -> str:
    """`2 of 31 checks failed`, or that all passed; and what was not checked."""
    count = {v: sum(c.verdict == v for c in ran.checks) for v in ("failed", "warned", "skipped")}
    total = len(ran.checks)
    if count["failed"]:
        return f"{count['failed']} of {total} checks failed"
    if ran.exit_code == 3:
        unmade = sum(c.verdict == "skipped" and c.required for c in ran.checks)
        return f"{unmade} of {total} checks could not be made"
    warned = f", {count['warned']} with a warning" if count["warned"] else ""
    return f"all {total - count['skipped']} checks passed{warned}"


def worse(ran: CiRun) -> list[Check]:
    """What a person has to look at: failures, then warnings, then what could not be checked."""
    order = ("failed", "warned", "skipped")
    found = [c for c in ran.checks if c.verdict in order and (c.required or c.verdict != "skipped")]
    return sorted(found, key=lambda c: order.index(c.verdict))


def verdicts(ran: CiRun) -> dict[str, str]:
    """The worst verdict of each bundle; what need not be checked does not count."""
    order = ("failed", "warned", "skipped", "passed")
    found: dict[str, str] = {}
    for check in ran.checks:
        counts = check.verdict != "skipped" or check.required
        worst = found.get(check.bundle, "passed")
        found[check.bundle] = min(worst, check.verdict if counts else worst, key=order.index)
    return found


def rows(ran: CiRun) -> dict[str, str]:
    """The verdicts of what has figures, or did not pass: golden pictures have none."""
    return {k: v for k, v in verdicts(ran).items() if k in ran.results or v != "passed"}


def cells(ran: CiRun, name: str) -> list[str]:
    """A bundle's figures that people ask for, before and after."""
    if name not in ran.results:
        return ["-"] * len(SHOWN)
    return [figure(ran.results[name].difference, key) for key in SHOWN]


def figure(changed: Difference, key: str) -> str:
    """`1.39 MB`, or `1.39 MB → 1.46 MB (+5.1%)` where it changed."""
    after = changed.after.figures.get(key)
    if after is None:
        return "-"
    show = LIMITS[key].unit.show
    before = changed.before.figures.get(key) if changed.before else None
    if before is None or abs(after - before) <= SAME[key] * abs(before):
        return show(after)
    growth = f" ({after / before - 1:+.1%})" if before and key != "parity" else ""
    return f"{show(before)} → {show(after)}{growth}"


def tables(changed: Difference) -> Iterator[tuple[str, str, tuple[LayerChange, ...]]]:
    """(title, unit, changes) of what there is to show of layers; times only of another file."""
    before = changed.before
    same = before is not None and before.artifact == changed.after.artifact
    if changed.bytes:
        yield "bytes by layer", "bytes", changed.bytes
    if changed.milliseconds and not same:
        yield "milliseconds by layer", "ms", changed.milliseconds


def side(value: float | None, what: str) -> str:
    return "-" if value is None else amount(value, what)


def workflow_commands(ran: CiRun) -> Iterator[str]:
    """GitHub's workflow commands, which mark the project's file."""
    kinds = {"failed": "error", "warned": "warning", "skipped": "notice"}
    for check in worse(ran):
        title = _escaped(f"{check.bundle}: {check.name}").replace(",", "%2C").replace(":", "%3A")
        said = _escaped(f"{check.why}{f'; {check.layer}' if check.layer else ''}")
        yield f"::{kinds[check.verdict]} file=mlship.toml,title={title}::{said}"


def _escaped(text: str) -> str:
    return legible(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def terminal_table(ran: CiRun) -> Table:
    """The table that `mlship ci` prints: a line a bundle."""
    from toolchain.report import terminal

    right = tuple(TITLES[key] for key in SHOWN)
    made = terminal.table("", "bundle", *right, "verdict", right=right)
    for name, verdict in rows(ran).items():
        made.add_row(name, *cells(ran, name), terminal.styled(terminal.MARKS[verdict]))
    return made
