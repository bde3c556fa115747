"""The records as a page: `converters/WILD.md`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.converters.wild.catalogue import NETS
from tests.converters.wild.records import EXACT, NOISE, Outcome, Record

PAGE = Path(__file__).parents[3] / "converters" / "WILD.md"
SOURCES = {"segmentation-models-pytorch": "smp"}
"""How a library is called in a cell, where not by its name."""

HEAD = f"""# Nets that nobody changed for us

Architectures of libraries, and of papers, with random weights whose statistics are away from
identity, as they are: `mlship.convert(net, example, targets="all", recipe="fp32")`. Each file is
run on inputs that the build did not see (LiteRT, TF.js on WASM, the interpreter of Core ML
programs) and compared with PyTorch in float64; an error is the largest one as a share of the
output's range. PyTorch's own float32 beside it rounds, too. More than {EXACT:g}, or {NOISE:g} times
PyTorch's own if that is more, is wrong. RT-DETR puts its scores in order: it is fed what leaves no
two of the best within rounding of each other. Partitions are XNNPACK's, and behind them what fell
out of them. A build is of all three targets at once, proofs included: seconds on the clock, seconds
of processors, and the memory of all processes. Widths and pictures are small, depths are whole.
The machine has two cores and did other work meanwhile, which the clock shows. None of it ran on a
phone.

Made by `python -m tests.converters.wild`, from `tests/converters/wild/records`.
"""
COLUMNS = (
    *("net", "from", "input", "parameters", "clock", "processors", "memory"),
    *("iOS", "error", "Android", "error", "partitions", "web", "error", "PyTorch's own"),
)
NUMBERS = COLUMNS[3:]


def page(records: Mapping[str, Record]) -> str:
    """The whole page, of the records of nets that the catalogue has, in its order."""
    ours = [records[name] for name in NETS if name in records]
    lines = [HEAD, *_summary(ours), ""]
    lines.append(f"| {' | '.join(COLUMNS)} |")
    numbers = len(NUMBERS)
    lines.append(f"|{'---|' * (len(COLUMNS) - numbers)}{'---:|' * numbers}")
    lines += [f"| {' | '.join(_cells(one))} |" for one in ours]
    lines += _refusals(ours)
    return "\n".join(lines) + "\n"


def _summary(records: list[Record]) -> list[str]:
    whole = sum(one.is_whole for one in records)
    outcomes = [one for record in records for one in record.outcomes.values()]
    wrong = sum(one.verdict == "wrong" for one in outcomes)
    shipped = sum(one.verdict == "wrong" and not one.said for one in outcomes)
    return [
        f"**{whole} of {len(records)}** are right on all three targets; wrong files: {wrong}, of "
        f"which the proof of the build let {shipped} through."
    ]


def _cells(record: Record) -> list[str]:
    net = NETS[record.net]
    source = SOURCES.get(net.source, net.source)
    shapes = ", ".join("x".join(map(str, one.shape)) for one in net.taken)
    ios, android, web = (record.outcomes[target] for target in ("ios", "android", "web"))
    return [
        record.net,
        f"{source} {record.version}: {net.title}".replace(" :", ":"),
        shapes,
        f"{record.parameters / 1e6:.2f} M",
        f"{record.seconds:.1f} s",
        f"{record.processor:.1f} s",
        f"{record.memory:.1f} GB",
        *_result(ios),
        *_result(android),
        _partitions(android),
        *_result(web),
        f"{record.own:.0e}",
    ]


def _result(outcome: Outcome) -> tuple[str, str]:
    if outcome.verdict == "right":
        return f"{outcome.megabytes:.2f} MB", f"{outcome.error:.0e}"
    return outcome.verdict, ""


def _partitions(outcome: Outcome) -> str:
    if outcome.verdict != "right":
        return ""
    return f"{outcome.partitions}" + (f"; {outcome.outside}" if outcome.outside else "")


def _refusals(records: list[Record]) -> list[str]:
    """What is not right, with the words that a user reads; the same words of all targets once."""
    lines = []
    for record in records:
        said: dict[str, list[str]] = {}
        for target, one in record.outcomes.items():
            if one.verdict != "right":
                said.setdefault(one.said, []).append(target)
        for words, targets in said.items():
            lines.append(
                f"| {record.net} | {', '.join(targets)} | {words.replace('|', '&#124;')} |"
            )
    if not lines:
        return []
    return [
        "",
        "## What is not built",
        "",
        "| net | targets | in its words |",
        "|---|---|---|",
        *lines,
    ]
