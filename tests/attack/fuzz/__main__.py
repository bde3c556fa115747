"""Fuzzes the readers of files from outside, guided by coverage: python -m tests.attack.fuzz NAME.

Needs `pip install atheris`, on Linux. Ends with a line for each reader: how many inputs, how much
memory at the beginning and at the end; at the first crash, or input that takes over two seconds,
with where that input is kept. It belongs into the reader's corpus, once the reader is mended.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.attack.fuzz.targets import CORPORA, TARGETS, FuzzTarget

SECONDS = 2
"""What one input may take."""
GROWTH = 256
"""Megabytes that a run may grow by, caches of libraries and the fuzzer's corpus among them."""
LIMIT = 2048
"""Megabytes that it may have in all."""
IN_MEMORY = next((folder for folder in ("/dev/shm",) if Path(folder).is_dir()), None)
STATUS = re.compile(r"#(\d+)\s+(?:\w+)\s+cov: (\d+).*?rss: (\d+)Mb")


def fuzz(target: FuzzTarget, minutes: float, found: Path) -> bool:
    """Whether a reader stood; what broke it is put into the folder `found`."""
    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mlship-fuzz-", dir=IN_MEMORY) as work:
        corpus, files = Path(work, "corpus"), Path(work, "files")
        files.mkdir()
        shutil.copytree(CORPORA / target.name, corpus)
        flags = [
            f"-max_total_time={round(60 * minutes)}",
            f"-timeout={SECONDS}",
            f"-rss_limit_mb={LIMIT}",
            f"-max_len={target.most_bytes}",
            f"-artifact_prefix={found}/",
            str(corpus),
        ]
        command = [sys.executable, "-m", "tests.attack.fuzz.worker", target.name]
        start = time.monotonic()
        ran = subprocess.run(
            [*command, str(files), *flags], capture_output=True, text=True, errors="replace"
        )
        took = time.monotonic() - start
    said = [tuple(map(int, match.groups())) for match in STATUS.finditer(ran.stderr)]
    runs, covered, last = said[-1] if said else (0, 0, 0)
    first = next((rss for count, _, rss in said if count >= runs // 10), last)
    grew = last - first > GROWTH
    good = ran.returncode == 0 and not grew
    line = f"{target.name}: {runs} inputs in {took:.0f} s, {covered} branches, {first} to {last} MB"
    print(f"{line}: {'stood' if good else 'grew' if grew else 'fell'}", flush=True)
    if ran.returncode:
        print(ran.stdout[-3000:], ran.stderr[-3000:], f"kept in {found}", sep="\n", flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attack.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TARGETS)}; or all")
    parser.add_argument("--minutes", type=float, default=10, help="for each")
    parser.add_argument(
        "--found", type=Path, default=Path("mlship-fuzz"), help="for what breaks one"
    )
    asked = parser.parse_args()
    unknown = set(asked.names) - TARGETS.keys()
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(TARGETS)}")
    names = asked.names or list(TARGETS)
    stood = [fuzz(TARGETS[name], asked.minutes, asked.found / name) for name in names]
    return 0 if all(stood) else 1


if __name__ == "__main__":
    sys.exit(main())
