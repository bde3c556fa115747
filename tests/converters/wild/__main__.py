"""`python -m tests.converters.wild`: build the nets, keep their records, write WILD.md.

    python -m tests.converters.wild                 those without a record
    python -m tests.converters.wild --redo          all
    python -m tests.converters.wild --only rvm      these, again

A net whose library is not installed keeps the record that it has.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.converters.wild import limits, records
from tests.converters.wild.catalogue import NETS
from tests.converters.wild.records import Record
from tests.converters.wild.table import PAGE, page

MINUTES, GIGABYTES = 10.0, 10.0


def main() -> None:
    asked = _arguments()
    names = asked.only or [
        name for name in NETS if asked.redo or not (asked.records / f"{name}.json").exists()
    ]
    for count, name in enumerate(names, 1):
        print(f"{count}/{len(names)} {name}: ", end="", flush=True)
        if not NETS[name].is_here:
            print(f"{NETS[name].source} is not installed")
            continue
        record = _measured(name, asked.minutes, asked.gigabytes)
        records.store(record, asked.records)
        if asked.records == records.FOLDER:
            PAGE.write_text(page(records.known()), encoding="utf-8")
        print(_line(record), flush=True)
    known = records.known(asked.records)
    print(f"{sum(one.is_whole for one in known.values())} of {len(known)} right on all targets")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.converters.wild", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(NETS), metavar="NET")
    parser.add_argument("--redo", action="store_true", help="those that have a record, too")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="a net may take")
    parser.add_argument("--gigabytes", type=float, default=GIGABYTES, help="a net may take")
    parser.add_argument(
        "--records", type=Path, default=records.FOLDER, help="another folder, and no page"
    )
    return parser.parse_args()


def _measured(name: str, minutes: float, gigabytes: float) -> Record:
    """The record of a net, made in a process of its own, with a cache of its own."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "MLSHIP_CACHE": f"{folder}/cache", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, "-m", "tests.converters.wild.measure", name, folder]
        ended = limits.run(command, env, 60 * minutes, gigabytes)
        path = Path(folder) / f"{name}.json"
        if ended.why or not path.exists():
            return records.failed(name, NETS[name].version, ended.why, ended.seconds)
        return replace(records.load(path), memory=ended.peak)


def _line(record: Record) -> str:
    parts = [f"{record.seconds:.0f} s"]
    for target, one in record.outcomes.items():
        parts.append(
            f"{target} {one.verdict} {one.error:.0e}"
            if not one.said
            else f"{target} {one.verdict}: {one.said[:160]}"
        )
    return "; ".join(parts)


if __name__ == "__main__":
    main()
