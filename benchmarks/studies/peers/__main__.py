"""Ours beside other tools, on this machine.

    python -m benchmarks.measure.peers.install            # once: the peers' environments
    python -m benchmarks.studies.peers [--model NAME ...] [--missing] [--rounds 9] [--seconds 4]

Every tool builds every model, float32, in a process of its own; the files are compared with
PyTorch in float64 and timed side by side on one thread. Results are merged into
benchmarks/results/peers.json by model, as each is done; peers.md, its plots and the README's table
are made from it: --page makes these alone.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.measure.timing.session import Mode
from benchmarks.studies.peers import page, rows
from benchmarks.studies.peers.subjects import names
from benchmarks.studies.peers.suite import measured

FEWEST = 3
RUNS = 10


def main() -> None:
    """Measure the models, then write what is made of the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", action="append", choices=names(), help="all, if not given")
    parser.add_argument("--missing", action="store_true", help="only models with rows missing")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each file, for all rounds")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    asked = parser.parse_args()
    mode = Mode("peers", asked.rounds, RUNS, 0, asked.seconds, min(FEWEST, asked.rounds))
    entries = rows.load()
    for model in () if asked.page else asked.model or names():
        if asked.missing and not rows.missing(entries.get(model)):
            continue
        entries[model] = measured(model, mode)
        entries = {name: entries[name] for name in names() if name in entries}
        rows.save(entries)
        print(f"{model}: done", file=sys.stderr)
    page.write(entries)


if __name__ == "__main__":
    main()
