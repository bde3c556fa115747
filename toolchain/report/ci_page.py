"""A run of `mlship ci` as one page that holds everything in itself."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from html import escape

from model_defs.spec import TensorSpec
from toolchain.ci.checks import Check
from toolchain.ci.differences import LayerChange
from toolchain.ci.run import CiResult, CiRun
from toolchain.ci.snapshots import Snapshot
from toolchain.report import parity_page, pictures
from toolchain.report.ci_text import (
    SHOWN,
    TITLES,
    figure,
    headline,
    rows,
    side,
    tables,
    verdicts,
    worse,
)
from toolchain.report.parity_page import render

CLASSES = {"passed": "passed", "failed": "failed", "warned": "skipped", "skipped": "skipped"}
MOST_LAYERS = 10
WIDTH, ROW, LEFT, RIGHT = 1000, 34, 250, 190


def page(ran: CiRun) -> str:
    """What got worse, then a line a bundle, then everything that is known of each."""
    kind = {0: "passed", 1: "failed", 3: "skipped"}[ran.exit_code]
    verdict = f'<p><span class="verdict {kind}">{escape(headline(ran))}</span></p>'
    machine = f'<p class="faint">{escape(ran.state.machine)}</p>'
    sections = "".join(_section(ran, name) for name in verdicts(ran))
    top = verdict + machine + _worse(ran) + _bundles(ran) + _pictures(ran)
    return render("mlship ci", top + sections)


def _pictures(ran: CiRun) -> str:
    """Each picture that is not as its golden one: before, after and difference."""
    return "".join(_strip(one) for one in ran.snapshots if one.state != "same")


def _strip(one: Snapshot) -> str:
    tiles = []
    shape = (1, 1, 1, 1) if one.before is None else one.before.shape
    spec = one.spec or TensorSpec("gone", shape, "mask", low=one.low, high=one.high)
    if one.before is not None:
        tiles.append(parity_page.figure(pictures.of_tensor(spec, one.before), "golden"))
    if one.after is not None:
        like = one.after if one.before is None else one.before
        tiles.append(parity_page.figure(pictures.of_tensor(spec, one.after, like), "now"))
    if one.before is not None and one.after is not None and one.before.shape == one.after.shape:
        uri, top = pictures.of_difference(one.before, one.after, one.tolerance)
        tiles.append(parity_page.figure(uri, f"difference, darkest is {top:.2g}"))
    title = escape(f"{one.model}, {one.name}: {one.state}")
    return f'<div class="worst"><h3>{title}</h3><div class="pictures">{"".join(tiles)}</div></div>'


def _worse(ran: CiRun) -> str:
    items = "".join(_item(check) for check in worse(ran))
    return f'<ul class="problems">{items}</ul>' if items else ""


def _item(check: Check) -> str:
    layer = f'<br><span class="faint">{escape(check.layer)}</span>' if check.layer else ""
    name = f'<b class="{CLASSES[check.verdict]}">{escape(f"{check.bundle}, {check.name}")}</b>'
    return f"<li>{name}: {escape(check.why)}{layer}</li>"


def _bundles(ran: CiRun) -> str:
    head = "".join(f"<th class=number>{TITLES[key]}</th>" for key in SHOWN)
    lines = "".join(_line(ran, name, verdict) for name, verdict in rows(ran).items())
    return (
        f'<div class="scroll"><table><tr><th>bundle</th>{head}<th></th></tr>{lines}</table></div>'
    )


def _line(ran: CiRun, name: str, verdict: str) -> str:
    cells = ["-"] * len(SHOWN)
    if name in ran.results:
        cells = [figure(ran.results[name].difference, key) for key in SHOWN]
    numbers = "".join(f"<td class=number>{escape(cell)}</td>" for cell in cells)
    mark = f'<td class="{CLASSES[verdict]}">{verdict}</td>'
    return f'<tr><td><a href="#{escape(name)}">{escape(name)}</a></td>{numbers}{mark}</tr>'


def _section(ran: CiRun, name: str) -> str:
    verdict = verdicts(ran)[name]
    title = f'{escape(name)} <span class="{CLASSES[verdict]}">{verdict}</span>'
    checks = _checks([check for check in ran.checks if check.bundle == name])
    shown = _result(ran.results[name]) if name in ran.results else ""
    return f'<h2 id="{escape(name)}">{title}</h2>{checks}{shown}'


def _checks(checks: Iterable[Check]) -> str:
    head = (
        "<th>check</th><th class=number>before</th><th class=number>now</th>"
        "<th class=number>allowed</th><th></th><th>verdict</th>"
    )
    lines = "".join(map(_check, checks))
    return f'<div class="scroll"><table><tr>{head}</tr>{lines}</table></div>'


def _check(check: Check) -> str:
    kind = CLASSES[check.verdict]
    told = check.verdict != "skipped" or check.required  # at the top of the page
    why = "" if told else f'<br><span class="faint">{escape(check.why)}</span>'
    return (
        f"<tr><td>{escape(check.name)}</td><td class=number>{escape(check.before)}</td>"
        f"<td class=number>{escape(check.after)}</td><td class=number>{escape(check.allowed)}</td>"
        f'<td class=bar>{_bar(check)}</td><td class="{kind}">{check.verdict}{why}</td></tr>'
    )


def _bar(check: Check) -> str:
    """The share of what is allowed; the mark is the limit, at three quarters."""
    if check.share is None:
        return ""
    width = min(100.0, max(0.0, 75 * check.share))
    kind = "failed" if check.verdict == "failed" else ""
    return f'<div class="track {kind}"><i style="width:{width:.0f}%"></i><b></b></div>'


def _result(result: CiResult) -> str:
    charts = "".join(
        f'<div class="worst"><h3>{title}, what changed</h3>{_layer_chart(changes, what)}</div>'
        for title, what, changes in tables(result.difference)
    )
    return _latency(result) + charts


def _latency(result: CiResult) -> str:
    """The blocks of both runs as dots, and their medians, on one scale."""
    before, after = result.difference.before, result.difference.after
    if not after.blocks:
        return f"<p class=faint>latency: {escape(result.latency.why)}</p>"
    sides = [("now", after.blocks)]
    if before is not None and before.blocks and before.artifact != after.artifact:
        sides.insert(0, ("baseline", before.blocks))
    title = f"latency on {escape(after.runtime)}, ms"
    why = f"<p class=faint>{escape(result.latency.why)}</p>"
    return f'<div class="worst"><h3>{title}</h3>{why}{_dots(sides)}</div>'


def _dots(sides: Sequence[tuple[str, Sequence[float]]]) -> str:
    top = max(value for _, values in sides for value in values) * 1.05
    scale = (WIDTH - LEFT - RIGHT) / top
    parts = []
    for index, (name, values) in enumerate(sides):
        y = index * ROW + ROW / 2
        middle = statistics.median(values)
        parts.append(_text(0, y, name))
        parts += [
            f'<circle cx="{LEFT + v * scale:.1f}" cy="{y:.1f}" r="4" fill="var(--bar)" '
            f'fill-opacity="0.6"><title>{v:.3f} ms</title></circle>'
            for v in values
        ]
        x = LEFT + middle * scale
        parts.append(_stroke(x, y))
        parts.append(_text(WIDTH - RIGHT + 16, y, f"{middle:.2f} ms"))
    return _svg(len(sides) * ROW, parts)


def _layer_chart(changes: Sequence[LayerChange], what: str) -> str:
    """Two bars a layer, before above and after below, red where it grew."""
    shown = changes[:MOST_LAYERS]
    top = max(max(c.before or 0, c.after or 0) for c in shown)
    scale = (WIDTH - LEFT - RIGHT) / top if top else 0.0
    parts = []
    for index, change in enumerate(shown):
        y = index * ROW + ROW / 2
        colour = "var(--bad)" if change.delta > 0 else "var(--good)"
        parts.append(_text(0, y, _short(change.name)))
        parts.append(_rectangle(y - 10, (change.before or 0) * scale, "var(--bar)"))
        parts.append(_rectangle(y + 1, (change.after or 0) * scale, colour))
        said = f"{side(change.before, what)} → {side(change.after, what)}"
        parts.append(_text(WIDTH - RIGHT + 16, y, said))
    more = len(changes) - len(shown)
    rest = f"<p class=faint>and {more} layers more</p>" if more else ""
    return _svg(len(shown) * ROW, parts) + rest


def _short(name: str) -> str:
    return name if len(name) <= 34 else f"…{name[-33:]}"


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.0f}" y="{y + 4:.1f}">{escape(text)}</text>'


def _stroke(x: float, y: float) -> str:
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 11:.1f}" y2="{y + 11:.1f}" '
        'stroke="var(--ink)" stroke-width="2"/>'
    )


def _rectangle(y: float, width: float, colour: str) -> str:
    return (
        f'<rect x="{LEFT}" y="{y:.1f}" width="{max(width, 1):.1f}" height="9" rx="2" '
        f'fill="{colour}"/>'
    )


def _svg(height: float, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img">{"".join(parts)}</svg>'
