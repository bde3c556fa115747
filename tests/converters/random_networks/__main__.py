"""`python -m tests.converters.random_networks`: thousands of networks, in batches, resumed.

    python -m tests.converters.random_networks                  3000, or what is left of them
    python -m tests.converters.random_networks --batches 15     300
    python -m tests.converters.random_networks --only 7 --redo  one batch again

A batch is drawn from its number alone. What came of each is a line of the state file, so that a
run that was stopped goes on where it was; ends with 1 where any network is wrong, or too many are
refused.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from converters.formats import FORMATS
from tests.converters.random_networks.draw import DEPTH, described, drawn
from tests.converters.random_networks.judge import Judge

SIZE = 20
"""Networks that are converted as one."""
BATCHES = 150
RECIPES = ("fp32", "fp32", "weights-int8", "equalize")
"""Of each batch by its number; after any of them files compute what PyTorch does, to rounding."""
REFUSED = 0.005
"""The share of networks times formats that may be refused: with the line, and what to do."""
STATE = Path("dist/random-networks.jsonl")


def main() -> int:
    asked = _arguments()
    warnings.simplefilter("ignore")
    asked.state.parent.mkdir(parents=True, exist_ok=True)
    done = {} if asked.redo else known(asked.state)
    numbers = asked.only or [n for n in range(asked.batches) if n not in done]
    with Judge() as judge:
        for number in numbers:
            record = judged(number, judge)
            done[number] = record
            with asked.state.open("a", encoding="utf-8") as file:
                file.write("\n" + json.dumps(record))  # before it, for the line may be cut off
            print(_line(record, list(done.values()), asked.batches), flush=True)
    return summary(done.values())


def summary(records: Collection[dict[str, Any]]) -> int:
    """Prints what came of all; 1 where it is not good."""
    wrong = [one for record in records for one in record["wrong"]]
    refused = [one for record in records for one in record["refused"]]
    nets = sum(record["nets"] for record in records)
    seconds = sum(record["cpu"] for record in records) / max(nets, 1)
    share = len(refused) / max(nets * len(FORMATS), 1)
    print(
        f"{nets} networks, {len(wrong)} times wrong, {len(refused)} times refused ({share:.2%}), "
        f"{seconds:.2f} CPU seconds each"
    )
    for one in (*refused, *wrong):
        print(json.dumps(one, indent=1))
    return 1 if wrong or share > REFUSED else 0


def judged(
    number: int, judge: Judge, size: int = SIZE, depth: tuple[int, int] = DEPTH
) -> dict[str, Any]:
    """What came of a batch: how many networks, how long, which are wrong or refused, by what."""
    start, before = time.monotonic(), judge.seconds
    recipe = RECIPES[number % len(RECIPES)]
    batch = drawn(number, size, depth)
    found: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for one in judge.wrong(batch, recipe):
        network, x = batch[one.place]
        found[one.refused].append(
            {
                "batch": number,
                "place": one.place,
                "recipe": recipe,
                "kind": one.kind,
                "why": one.why,
                "input": tuple(x.shape),
                "layers": described(network),
            }
        )
    return {
        "batch": number,
        "nets": len(batch),
        "seconds": round(time.monotonic() - start, 1),
        "cpu": round(judge.seconds - before, 1),
        "wrong": found[False],
        "refused": found[True],
    }


def known(path: Path) -> dict[int, dict[str, Any]]:
    """The batches that the state file has; what was cut off while it was written is none."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[record["batch"]] = record
    return found


def _line(record: dict[str, Any], done: Sequence[dict[str, Any]], of: int) -> str:
    faults = [f"{len(record[kind])} {kind}" for kind in ("wrong", "refused") if record[kind]]
    mean = sum(one["seconds"] for one in done) / len(done)
    return (
        f"{len(done)}/{of} batch {record['batch']}: {record['nets']} networks, "
        f"{', '.join(faults) or 'all right'}, {record['seconds']} s ({record['cpu']} of CPU); "
        f"{max(0, of - len(done)) * mean / 60:.0f} min left"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.converters.random_networks")
    parser.add_argument("--batches", type=int, default=BATCHES, help=f"of {SIZE} networks each")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="these batches")
    parser.add_argument("--redo", action="store_true", help="those in the state file, too")
    parser.add_argument("--state", type=Path, default=STATE)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
