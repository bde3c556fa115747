"""Attacks mlship, counts what came of it, and writes docs/attacks.md: python -m tests.attack.

    manifests   1000 that were edited and sealed again through the reader, 50 by each command
    faults      87 in bundles: by the lock, by the model, by the bundle itself
    kills       200 at random moments and at each rename, of seven commands
    builds      concurrent ones with one cache and one folder, some of them killed

Takes an hour and a half on two cores; `make test` runs a part of each. Ends with 1 where one fell.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import functools
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from click.testing import CliRunner
from own_models import TWO, Two, tiny

from model_defs.errors import BadBundle
from model_defs.installation import FOLDER
from tests.attack.faults import all_of
from tests.attack.judging import FaultJudge
from tests.attack.kills import VICTIMS, Trials, orphans
from tests.attack.manifests import mutants
from toolchain.bundle import bundle as bundles
from toolchain.bundle import manifest
from toolchain.cli.main import main as mlship

PAGE = FOLDER / "docs" / "attacks.md"
RESULTS = Path(__file__).with_name("results.json")
LONGEST = 2.0
"""Seconds that a refusal may take."""
KILLED = (2, 4)
"""Of five builds, those that are not left to end."""
COMMANDS = ("inspect", "parity", "size", "audit", "blame", "eval", "bench")


@dataclass
class Row:
    """What came of one kind of attack on a commit; `fell` names what did, a line each."""

    part: str
    what: str
    tried: int
    held: str
    fell: list[str]
    commit: str = ""


def built(root: Path) -> Two:
    """The bundles of the model `two`."""
    (root / "net.py").write_text(TWO)
    os.environ["MLSHIP_CACHE"] = str(root / "cache")
    model = f"{root}/net.py:spec"
    done = CliRunner().invoke(mlship, ["build", model, "--target", "all", "--out", str(root)])
    assert done.exit_code == 0, done.output
    targets = ("ios", "android", "web")
    return Two(model, root / "cache", {t: bundles.read(root / f"two-{t}") for t in targets})


def of_manifests(two: Two, root: Path, count: int) -> Iterator[Row]:
    """Through the reader, then by each command, which may not even import PyTorch to refuse."""
    good = two.bundles["android"].manifest.to_json()
    read, refused, fell = 0, 0, []
    for number, text in enumerate(mutants(good, 20 * count, seed=1)):
        start = time.monotonic()
        try:
            manifest.parse(text, "manifest.json")
            read += 1
        except BadBundle:
            refused += 1
        except Exception as error:
            fell.append(f"manifest {number}: {type(error).__name__}: {error}")
        if time.monotonic() - start > LONGEST:
            fell.append(f"manifest {number}: took more than {LONGEST:g} s")
    said = f"{refused} refused, {read} read"
    yield Row("manifests", "edited and sealed again, by the reader", 20 * count, said, fell)
    folder = root / "manifests"
    shutil.copytree(two.bundles["android"].directory, folder)
    for command in COMMANDS:
        codes: collections.Counter[int] = collections.Counter()
        fell = []
        for number, text in enumerate(mutants(good, count, seed=len(command))):
            (folder / "manifest.json").write_text(text)
            start = time.monotonic()
            done = CliRunner().invoke(mlship, [command, str(folder)])
            took = time.monotonic() - start
            codes[done.exit_code] += 1
            if done.exit_code not in (0, 1, 2, 3):
                fell.append(f"{command} {number}: exit code {done.exit_code}")
            if done.exit_code == 2 and took > LONGEST and number:  # the first imports
                fell.append(f"{command} {number}: a refusal took {took:.1f} s")
        said = ", ".join(f"{codes[code]} with exit code {code}" for code in sorted(codes))
        yield Row("manifests", f"the same, by `mlship {command}`", count, said, fell)


def of_faults(two: Two, root: Path) -> Iterator[Row]:
    judge, found = FaultJudge(two), all_of(two)
    by: dict[str, list[bool]] = {"verify": [], "parity --model": [], "inspect": []}
    fell: dict[str, list[str]] = {name: [] for name in by}
    for number, fault in enumerate(found):
        folder = judge.faulty(fault, root / "fault")
        seen = (
            ("verify", judge.locked(folder), True),
            ("parity --model", judge.by_model(folder), fault.computes),
            ("inspect", judge.inspected(folder), fault.seen),
        )
        shutil.rmtree(folder)
        for name, caught, must in seen:
            by[name].append(caught)
            if must and not caught:
                fell[name].append(f"{fault.name} ({fault.target})")
        print(f"fault {number + 1} of {len(found)}", end="\r", file=sys.stderr)
    for name, caught in by.items():
        wanted = {"parity --model": "that computes another thing", "inspect": "it can know of"}
        musts = {"verify": len(found), "parity --model": sum(f.computes for f in found)}
        must = musts.get(name, sum(f.seen for f in found))
        said = f"{sum(caught)} caught; each {wanted.get(name, '')} is ({must})".replace("  ", " ")
        yield Row("faults", f"in bundles, by `mlship {name}`", len(found), said, fell[name])


def of_kills(root: Path, count: int, names: list[str]) -> Iterator[Row]:
    for victim in [one for one in VICTIMS if one.name in names or not names]:
        trials = Trials(victim, root / victim.name)
        renames = trials.at_each_rename()
        share = max(1, round((count - len(VICTIMS)) / len(VICTIMS)))
        rest = trials.at_random(share)
        left = [f"left behind: {name}" for name in trials.left()]
        kills, ended = renames.kills + rest.kills, renames.ended + rest.ended
        said = f"{kills} killed, {renames.kills} of them at a rename; {ended} had ended"
        fell = [*renames.fell, *rest.fell, *left]
        yield Row("kills", f"of `mlship {victim.words[0]}`", kills + ended, said, fell)
        shutil.rmtree(root / victim.name)


def of_builds(root: Path, count: int) -> Iterator[Row]:
    """Concurrent builds of two models into one folder with one cache, two of five killed."""
    folder, rng = root / "builds", random.Random(0)
    killed: collections.Counter[int] = collections.Counter()
    (folder / "tmp").mkdir(parents=True)
    for name, body in (("a.py", "x"), ("b.py", "x * 1.25")):
        (folder / name).write_text(tiny(body))
    environment = {
        **os.environ,
        "PYTHONPATH": str(FOLDER),
        "MLSHIP_CACHE": str(folder / "cache"),
        "TMPDIR": str(folder / "tmp"),
    }

    def run(number: int) -> str:
        model = f"{'ab'[number % 2]}.py:spec"
        command = [sys.executable, "-m", "toolchain.cli.main", "build", model, "--target", "all"]
        command += ["--fresh"] * (number % 5 in KILLED)  # so that it is not over at once
        with subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            if number % 5 in KILLED:
                try:
                    process.communicate(timeout=rng.uniform(1, 8))
                except subprocess.TimeoutExpired:
                    how = rng.choice((signal.SIGKILL, signal.SIGTERM))
                    os.kill(process.pid, how)
                    killed[how] += 1
                process.communicate()
                return ""
            _, said = process.communicate()
            text = said.decode(errors="replace")[-300:]
            return f"build {number}: exit code {process.returncode}: {text}" * bool(
                process.returncode
            )

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        fell = [said for said in pool.map(run, range(count)) if said]
    for target in ("ios", "android", "web"):
        try:
            bundles.read(folder / "dist" / f"tiny-{target}")
        except BadBundle as error:
            fell.append(f"tiny-{target}: {error.what}")
    fell += orphans(folder / "tmp")
    fell += [f"build: {said}" for said in [run(0)] if said]  # sweeps what was killed
    fell += [f"left in TMPDIR: {name}" for name in os.listdir(folder / "tmp")]
    hidden = [p.name for p in (folder / "dist").iterdir() if p.name.startswith(".")]
    fell += [f"left beside the bundles: {name}" for name in hidden]
    ways = f"{killed[signal.SIGKILL]} were killed, {killed[signal.SIGTERM]} asked to end"
    said = f"{ways}, {count - killed.total()} ended by themselves"
    yield Row(
        "builds", "four at once, for all targets, one folder and one cache", count, said, fell
    )


def page(rows: list[Row], when: str) -> str:
    """The table."""
    lines = [
        f"| {r.part}: {r.what} | {r.tried} | {r.held} | {len(r.fell) or 'none'} | {r.commit} |"
        for r in rows
    ]
    fallen = list(itertools.chain.from_iterable(row.fell for row in rows))
    more = ["", "What fell:", "", *(f"- {said}" for said in fallen)] if fallen else []
    head = (
        "# What attacks on mlship came to\n\n"
        "Made by `make attack`: see [what mlship trusts](trust.md) for what each is about, and\n"
        "`tests/attack/` for how. Readers of files are fuzzed besides, by `make fuzz`.\n\n"
        f"Last run: {when}.\n\n"
        "| attack | tried | what came of it | fell | commit |\n|---|---:|---|---:|---|\n"
    )
    return head + "\n".join([*lines, *more]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", nargs="*", help="Only these; all if none.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--victims", nargs="*", default=[], help="Kills: only of these commands.")
    parser.add_argument("--manifests", type=int, default=50, help="By each command.")
    parser.add_argument("--builds", type=int, default=50)
    asked = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=FOLDER, capture_output=True, text=True
    ).stdout.strip()
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        os.environ["MLSHIP_DATA"] = str(root / "data")
        two = functools.cache(lambda: built(root))
        parts: dict[str, Callable[[], Iterator[Row]]] = {
            "manifests": lambda: of_manifests(two(), root, asked.manifests),
            "faults": lambda: of_faults(two(), root),
            "kills": lambda: of_kills(root, asked.kills, asked.victims),
            "builds": lambda: of_builds(root, asked.builds),
        }
        chosen = asked.part or list(parts)
        found = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
        rows = {(r["part"], r["what"]): Row(**r) for r in found}
        for name in chosen:
            for row in parts[name]():
                fell = f"{len(row.fell)} FELL" if row.fell else "held"
                said = f"{row.what}: {row.tried}: {row.held}: {fell}"
                print(said, *row.fell, sep="\n  ", flush=True)
                rows[row.part, row.what] = replace(row, commit=commit)
                # At once: an hour's run that is stopped has measured what it has measured.
                _keep(sorted(rows.values(), key=lambda one: [*parts].index(one.part)))
    return int(any(row.fell for row in rows.values()))


def _keep(rows: list[Row]) -> None:
    when = f"{datetime.now(UTC):%Y-%m-%d}"
    data = {"when": when, "rows": [asdict(row) for row in rows]}
    RESULTS.write_text(json.dumps(data, indent=1) + "\n")
    PAGE.write_text(page(rows, when), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
