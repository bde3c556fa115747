"""What a build costs, beside the same build by another checkout of this repository.

    python -m benchmarks.studies.builds CHECKOUT [--model depth --target android --rounds 5]

In each round both checkouts build the model in the recipe fp16 with an empty cache, and then in
`small` with the cache that is then there: a net's first build, and its second recipe. They take
turns; each round gives one ratio of wall and of CPU seconds (of all processes of the build), ours
over the other's. Results go to benchmarks/results/builds.json and builds.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measure.machine import processor

RESULTS = Path(__file__).parents[1] / "results"
OURS = Path(__file__).parents[2]
BUILDS = {"first build, fp16": "fp16", "second recipe, small": "small"}


class Seconds(NamedTuple):
    """Of the clock, and of all processors together."""

    wall: float
    cpu: float


def built(checkout: Path, model: str, target: str) -> dict[str, Seconds]:
    """The seconds of each of BUILDS, one after the other, with a cache that was empty."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "PYTHONPATH": str(checkout),
            "MLSHIP_CACHE": str(Path(folder, "cache")),
        }
        for title, recipe in BUILDS.items():
            asked = ("--target", target, "--recipe", recipe, "--out", str(Path(folder, recipe)))
            start, before = time.perf_counter(), _cpu()
            subprocess.run(
                [sys.executable, str(checkout / "mlship.py"), "build", model, *asked],
                env=environment,
                cwd=folder,
                check=True,
                capture_output=True,
            )
            found[title] = Seconds(time.perf_counter() - start, _cpu() - before)
    return found


def _cpu() -> float:
    """CPU seconds of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def row(ours: list[Seconds], theirs: list[Seconds]) -> dict[str, dict[str, float]]:
    """Medians, and the median and the range of the rounds' ratios, for wall and for CPU."""
    found = {}
    for what in Seconds._fields:
        a = [getattr(one, what) for one in ours]
        b = [getattr(one, what) for one in theirs]
        ratios = [x / y for x, y in zip(a, b, strict=True)]
        found[what] = {
            "ours_s": round(statistics.median(a), 1),
            "theirs_s": round(statistics.median(b), 1),
            "ratio": round(statistics.median(ratios), 2),
            "low": round(min(ratios), 2),
            "high": round(max(ratios), 2),
        }
    return found


def page(result: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# What a build costs",
        "",
        f"This repository beside its commit {result['commit']}, on {result['machine']}: "
        f"{result['rounds']} rounds in turns. The ratio is the median of the rounds' own, with "
        "their range. Made by `python -m benchmarks.studies.builds CHECKOUT`.",
        "",
        "| build | seconds of | before | now | ratio | range |",
        "|---|---|---:|---:|---:|---|",
    ]
    for title, row in result["builds"].items():
        for what, one in row.items():
            lines.append(
                f"| {title} | {what} | {one['theirs_s']} | {one['ours_s']} | {one['ratio']:.2f} "
                f"| {one['low']:.2f} to {one['high']:.2f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--model", default="depth")
    parser.add_argument("--target", default="android")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rounds: dict[Path, list[dict[str, Seconds]]] = {OURS: [], options.checkout.resolve(): []}
    for number in range(options.rounds):
        for checkout in list(rounds)[:: 1 if number % 2 else -1]:
            rounds[checkout].append(built(checkout, options.model, options.target))
            print(checkout.name, rounds[checkout][-1], file=sys.stderr)
    ours, theirs = rounds.values()
    commit = ["git", "-C", str(options.checkout), "log", "-1", "--format=%h of %cs"]
    result = {
        "machine": processor(),
        "rounds": options.rounds,
        "commit": subprocess.run(commit, check=True, capture_output=True, text=True).stdout.strip(),
        "builds": {
            f"{options.model} for {options.target}, {title}": row(
                [one[title] for one in ours], [one[title] for one in theirs]
            )
            for title in BUILDS
        },
    }
    (RESULTS / "builds.json").write_text(json.dumps(result, indent=2) + "\n")
    (RESULTS / "builds.md").write_text(page(result))


if __name__ == "__main__":
    main()
