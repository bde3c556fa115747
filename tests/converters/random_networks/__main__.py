"""`python -m tests.converters.random_networks`: thousands of networks, in batches, resumed.

    python -m tests.converters.random_networks                  3000, or what is left of them
    python -m tests.converters.random_networks --batches 15     300
    python -m tests.converters.random_networks --only 7 --redo  one batch again

A batch is drawn from its number alone. What came of each is a line of the state file, so that a
run that was stopped goes on where it was; ends with 1 where any network is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from tests.converters.random_networks.draw import described, drawn
from tests.converters.random_networks.judge import Judge

SIZE = 20
"""Networks that are converted as one."""
BATCHES = 150
RECIPES = ("fp32", "fp32", "weights-int8", "equalize")
"""Of each batch by its number; after any of them files compute what PyTorch does, to rounding."""
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
            print(_line(record, len(done), asked.batches), flush=True)
    wrong = [one for record in done.values() for one in record["wrong"]]
    nets = sum(record["nets"] for record in done.values())
    print(f"{nets} networks, {len(wrong)} times wrong or refused")
    for one in wrong:
        print(json.dumps(one, indent=1))
    return 1 if wrong else 0


def judged(number: int, judge: Judge, size: int = SIZE) -> dict[str, Any]:
    """What came of a batch: how many networks, how long, and which are wrong on what."""
    start = time.monotonic()
    recipe = RECIPES[number % len(RECIPES)]
    batch = drawn(number, size)
    wrong = [
        {
            "batch": number,
            "place": one.place,
            "recipe": recipe,
            "kind": one.kind,
            "why": one.why,
            "input": tuple(batch[one.place][1].shape),
            "layers": described(batch[one.place][0]),
        }
        for one in judge.wrong(batch, recipe)
    ]
    seconds = round(time.monotonic() - start, 1)
    return {"batch": number, "nets": len(batch), "seconds": seconds, "wrong": wrong}


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


def _line(record: dict[str, Any], done: int, of: int) -> str:
    said = f"{len(record['wrong'])} wrong" if record["wrong"] else "all right"
    what = f"{record['nets']} networks, {said}, {record['seconds']} s"
    return f"{done}/{of} batch {record['batch']}: {what}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.converters.random_networks")
    parser.add_argument("--batches", type=int, default=BATCHES, help=f"of {SIZE} networks each")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="these batches")
    parser.add_argument("--redo", action="store_true", help="those in the state file, too")
    parser.add_argument("--state", type=Path, default=STATE)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
