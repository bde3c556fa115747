"""Fuzzes one reader until it falls: python -m tests.attack.fuzz.worker NAME FOLDER FLAG...

The folder is for the files that the reader is given; the flags are libFuzzer's, its corpus among
them.
"""

from __future__ import annotations

import random
import resource
import sys
from pathlib import Path

import atheris

from tests.attack.fuzz.mutations import of_its_form
from tests.attack.fuzz.targets import TARGETS

ADDRESSES = 12 << 30
"""Bytes that it may ask for, so that a reader without bounds does not end the machine."""


def main() -> None:
    name, folder, *flags = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    target = TARGETS[name]
    # Readers import when they are called: a seed loads all that is to be watched.
    with atheris.instrument_imports(include=list(target.watched)):
        for seed in target.seeds:
            target(Path(folder), seed.read_bytes())

    def one(data: bytes) -> None:
        target(Path(folder), data)

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        """Every other mutation keeps the form of JSON, which bytes by chance do not."""
        chance = random.Random(seed)
        kept = of_its_form(data, chance) if chance.random() < 0.5 else None
        if kept is None or len(kept) > most:
            return bytes(atheris.Mutate(data, most))
        return kept

    atheris.Setup([sys.argv[0], *flags], one, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
