"""A run of `mlship ci` as Markdown, for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.measure.templates import legible
from toolchain.ci.checks import Check
from toolchain.ci.differences import Difference
from toolchain.ci.run import CiRun
from toolchain.report.ci_text import (
    MOST_LAYERS,
    SHOWN,
    TITLES,
    cells,
    headline,
    rows,
    side,
    tables,
    worse,
)


def markdown(ran: CiRun) -> str:
    """The whole run; what got worse comes first."""
    parts = [f"## mlship: {headline(ran)}", ""]
    parts += [_item(check) for check in worse(ran)]
    parts += ["", *_bundles(ran), ""]
    for result in ran.results.values():
        parts += _layers(result.difference)
    parts += ["<details><summary>All checks</summary>", "", *_all(ran.checks), "", "</details>"]
    parts += ["", f"<sub>{plain(ran.state.machine)}{_since(ran)}</sub>"]
    return "\n".join(parts) + "\n"


def _since(ran: CiRun) -> str:
    if ran.baseline is None:
        return "; no baseline yet: `mlship ci --update-baseline`"
    same = ran.baseline.fingerprint == ran.state.fingerprint
    return "" if same else f"; the baseline is of {plain(ran.baseline.machine)}"


def _item(check: Check) -> str:
    where = f". {_capital(plain(check.layer))}" if check.layer else ""
    name = plain(f"{check.bundle}, {check.name}")
    return f"- **{name}** {check.verdict}: {plain(check.why)}{where}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _bundles(ran: CiRun) -> Iterator[str]:
    """One line a bundle: the figures that people ask for, before and after."""
    yield f"| bundle | | {' | '.join(TITLES[key] for key in SHOWN)} |"
    yield "|---|---|" + "---:|" * len(SHOWN)
    for name, verdict in rows(ran).items():
        yield _row(plain(name), _bold(verdict), *cells(ran, name))


def _bold(verdict: str) -> str:
    return verdict if verdict == "passed" else f"**{verdict}**"


def _layers(changed: Difference) -> Iterator[str]:
    for title, what, changes in tables(changed):
        yield f"<details><summary>{plain(changed.after.bundle)}: {title}</summary>"
        yield ""
        yield "| layer | before | after |"
        yield "|---|---:|---:|"
        for change in changes[:MOST_LAYERS]:
            before, after = side(change.before, what), side(change.after, what)
            yield _row(_code(change.name), before, after)
        if len(changes) > MOST_LAYERS:
            yield f"| {len(changes) - MOST_LAYERS} more | | |"
        yield from ("", "</details>", "")


def _all(checks: Sequence[Check]) -> Iterator[str]:
    yield "| bundle | check | before | now | allowed | |"
    yield "|---|---|---:|---:|---:|---|"
    for check in checks:
        note = f": {check.why}" if check.verdict == "skipped" else ""
        texts = (check.bundle, check.name, check.before, check.after, check.allowed)
        yield _row(*map(plain, (*texts, f"{check.verdict}{note}")))


def plain(text: str) -> str:
    """A text that Markdown shows as it is: no HTML, link or picture, no other line or cell."""
    return re.sub(r"([\\`\[\]|])", r"\\\1", escape(_one_line(text), quote=False))


def _code(name: str) -> str:
    """A name in the type of code, where only the bars of a table need a backslash."""
    return "`" + _one_line(name).replace("`", "'").replace("|", r"\|") + "`"


def _one_line(text: str) -> str:
    return " ".join(legible(text).splitlines())


def _row(*texts: str) -> str:
    return f"| {' | '.join(texts)} |"
