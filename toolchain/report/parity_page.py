"""A parity run as one page that holds everything in itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

from model_defs.spec import TensorSpec
from toolchain.parity.harness import Example, Outcome
from toolchain.parity.lines import Line, ran
from toolchain.report import pictures
from toolchain.report.parity_table import absences, failures, metric_text

TEMPLATE = Path(__file__).parent / "page.html"
DECADES = 3
"""How far below the tolerance the bars begin, in powers of ten."""


def page(outcomes: Sequence[Outcome]) -> str:
    """The page of a run: verdicts, problems, and the worst cases as pictures."""
    body = "".join(map(_section, outcomes))
    return render("Parity with PyTorch", _summary(outcomes) + body)


def render(title: str, body: str) -> str:
    """A title and a body in our template."""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(title=escape(title), body=body)


def _summary(outcomes: Sequence[Outcome]) -> str:
    bad = [outcome.subject.name for outcome in outcomes if not outcome.report.ok]
    rows = [row for outcome in outcomes for row in outcome.report.rows]
    counts = ", ".join(
        f"{sum(row.verdict == v for row in rows)} {v}" for v in ("passed", "failed", "skipped")
    )
    verdict = f"{len(bad)} of {len(outcomes)} bundles failed" if bad else "all bundles passed"
    kind = "failed" if bad else "passed"
    return (
        f'<p><span class="verdict {kind}">{verdict}</span> '
        f'<span class="faint">{counts} comparisons</span></p>'
    )


def _section(outcome: Outcome) -> str:
    subject, report = outcome.subject, outcome.report
    manifest = subject.bundle.manifest
    kind = "passed" if report.ok else "failed"
    size = f"{subject.bundle.artifact_bytes / 1e6:.2f} MB"
    facts = f"{manifest.artifact.path}, {size}, recipe {manifest.recipe.name}"
    seconds = sum(outcome.seconds.values())
    return (
        f'<h2>{escape(subject.name)} <span class="{kind}">{kind}</span></h2>'
        f'<p class="faint">{escape(facts)}, compared with {escape(subject.reference.name)} '
        f"in {seconds:.0f} s</p>"
        + _problems(failures(outcome))
        + _table(ran(report.rows))
        + "".join(f"<p class=faint>{escape(line)}</p>" for line in absences([outcome]))
        + "".join(_worst(outcome, example) for example in _shown(outcome))
    )


def _problems(sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="problems">{items}</ul>' if items else ""


def _table(found: Sequence[Line]) -> str:
    head = (
        "<th>backend</th><th>output</th><th class=number>cases</th><th>worst case</th>"
        "<th class=number>error</th><th class=number>tolerance</th><th></th>"
        "<th>worst metrics</th><th>verdict</th>"
    )
    body = "".join(map(_row, found))
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _row(line: Line) -> str:
    row = line.worst
    error = "" if row.error is None else f"{row.error:.1e}"
    tolerance = "" if row.tolerance is None else f"{row.tolerance:.0e}"
    metrics = ", ".join(metric_text(name, value) for name, value in line.metrics.items())
    why = f"<br><span class=faint>{escape(row.note)}</span>" if line.verdict == "skipped" else ""
    return (
        f"<tr><td>{escape(line.backend)}</td><td>{escape(line.output)}</td>"
        f"<td class=number>{line.passed}</td><td>{escape(row.case)}</td>"
        f"<td class=number>{error}</td><td class=number>{tolerance}</td>"
        f"<td class=bar>{_bar(line)}</td><td class=faint>{escape(metrics)}</td>"
        f'<td class="{line.verdict}">{line.verdict}{why}</td></tr>'
    )


def _bar(line: Line) -> str:
    """The error on a logarithmic scale; the mark is the tolerance, at three quarters."""
    row = line.worst
    if row.error is None or not row.tolerance:
        return ""
    share = math.log10(max(row.error / row.tolerance, 1e-9))
    width = min(100.0, max(0.0, (share + DECADES) / DECADES * 75))
    kind = "failed" if line.verdict == "failed" else ""
    return f'<div class="track {kind}"><i style="width:{width:.0f}%"></i><b></b></div>'


def _shown(outcome: Outcome) -> list[Example]:
    """Every failed output, and of those that passed the worst one of each output."""
    failed = [e for e in outcome.examples.values() if e.row.verdict == "failed"]
    best: dict[str, Example] = {}
    for example in outcome.examples.values():
        old = best.get(example.row.output)
        if example.row.verdict == "passed" and (old is None or _share(example) > _share(old)):
            best[example.row.output] = example
    names = {example.row.output for example in failed}
    return failed + [example for name, example in best.items() if name not in names]


def _share(example: Example) -> float:
    return (example.row.error or 0.0) / (example.row.tolerance or 1.0)


def _worst(outcome: Outcome, example: Example) -> str:
    row = example.row
    bundle = outcome.subject.bundle
    spec = next(t for t in bundle.outputs if t.name == row.output)
    tiles = [_tile(t, example.inputs[t.name], t.name) for t in bundle.inputs]
    tiles += [
        _tile(spec, example.want, "PyTorch"),
        _tile(spec, example.got, row.backend, like=example.want),
        _difference(example),
    ]
    what = f"{row.output} on {row.backend}, case {row.case}: {row.verdict}"
    shown = "".join(tile for tile in tiles if tile)
    return f'<div class="worst"><h3>{escape(what)}</h3><div class="pictures">{shown}</div></div>'


def _tile(spec: TensorSpec, values: object, caption: str, like: object = None) -> str:
    import numpy as np

    array = np.asarray(values)
    if array.ndim != 4:
        return ""
    uri = pictures.of_tensor(spec, array, None if like is None else np.asarray(like))
    return figure(uri, caption)


def _difference(example: Example) -> str:
    if example.want.ndim != 4:
        return ""
    uri, top = pictures.of_difference(example.want, example.got, example.row.tolerance or 0.0)
    return figure(uri, f"difference, darkest is {top:.2g}")


def figure(uri: str, caption: str) -> str:
    text = escape(caption)
    return f'<figure><img src="{uri}" alt="{text}"><figcaption>{text}</figcaption></figure>'
