"""A sweep whose workers, scheduler and driver are killed at random: the rerun ends with the same.

    python -m tests.cluster.kills [--kills 10]

Each time one of them is killed with SIGKILL, and what was killed is started again. At the end the
sweep is run once more: its table has to be that of an undisturbed sweep, and no job that was kept
before is done again. Writes what it found into benchmarks/results/cluster.json.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from model_defs.installation import FOLDER
from tests.cluster.results import keep
from toolchain.sweep.row import TIMES

TASK = Path(__file__).parents[1] / "toolchain" / "sweep_task.py.txt"
SWEEP = """
task = "{task}:make_task"
targets = ["android"]
scenes = 8
time = false
[train]
steps = 12
batch = 4
held_out = 16
[vary.train]
rate = [0.001, 0.003, 0.01, 0.03]
[vary.model]
width = [4, 8, 16]
[halving]
first = 4
factor = 2
"""


class Cluster:
    """A scheduler and two workers, each a process of its own."""

    def __init__(self, home: Path, port: int) -> None:
        self.home, self.address = home, f"tcp://127.0.0.1:{port}"
        self.port = port
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Starts what does not run."""
        commands = {
            "scheduler": ["scheduler", "--port", str(self.port), "--no-dashboard"],
            **{f"worker {n}": self._worker(n) for n in (1, 2)},
        }
        for name, command in commands.items():
            process = self.processes.get(name)
            if process is None or process.poll() is not None:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "distributed.cli.dask_" + command[0], *command[1:]],
                    env=environment(self.home),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )

    def _worker(self, number: int) -> list[str]:
        how = ["--nthreads", "1", "--resources", "slot=1", "--no-dashboard", "--death-timeout", "8"]
        folder = ["--local-directory", str(self.home / f"worker-{number}")]
        return ["worker", self.address, "--no-nanny", *how, *folder]

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


def environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")]),
        "MLSHIP_CACHE": str(home / "cache"),
        "MLSHIP_DATA": str(home / "data"),
    }


def driver(home: Path, out: str, cluster: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(FOLDER / "mlship.py"), "sweep", str(home / "sweep.toml")]
    return subprocess.Popen(
        [*command, "--out", str(home / out), "--cluster", cluster],
        env=environment(home),
        stdout=subprocess.DEVNULL,
        stderr=(home / f"{out}.log").open("ab"),
    )


def table(folder: Path) -> list[dict[str, str]]:
    """The table without times."""
    with (folder / "table.csv").open(newline="") as file:
        return [
            {name: cell for name, cell in row.items() if name.split()[-1] not in TIMES}
            for row in csv.DictReader(file)
        ]


def kept(home: Path) -> set[str]:
    return {path.stem for path in (home / "cache" / "jobs").glob("*.json")}


def prepared(root: Path, name: str) -> Path:
    home = root / name
    home.mkdir()
    shutil.copy(TASK, root / "squares.py")
    (home / "sweep.toml").write_text(SWEEP.format(task=root / "squares.py"))
    return home


def main() -> int:
    """1 where the table is another, or what was done is done again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    drawn, killed = random.Random(asked.seed), []
    with tempfile.TemporaryDirectory() as folder:
        calm = prepared(Path(folder), "calm")
        assert driver(calm, "out", "serial").wait() == 0
        home = prepared(Path(folder), "stormy")
        cluster = Cluster(home, 18786)
        try:
            running = None
            while len(killed) < asked.kills:
                cluster.start()
                if running is None or running.poll() is not None:
                    if running is not None and running.returncode == 0:  # it came to its end
                        shutil.rmtree(home / "cache")
                    running = driver(home, "out", cluster.address)
                time.sleep(drawn.uniform(4, 14))
                victim = drawn.choice(["driver", "scheduler", "worker 1", "worker 2"])
                process = running if victim == "driver" else cluster.processes[victim]
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    killed.append(victim)
                    print(f"killed the {victim}; {len(kept(home))} jobs are kept", flush=True)
            running.kill()
            before = kept(home)
            stamps = {path: path.stat().st_mtime_ns for path in (home / "cache" / "jobs").iterdir()}
            cluster.start()
            last = driver(home, "last", cluster.address)
            code = last.wait(600)
        finally:
            cluster.stop()
        again = [p.stem for p, stamp in stamps.items() if p.stat().st_mtime_ns != stamp]
        same = code == 0 and table(home / "last") == table(calm / "out")
    found = {
        "kills": {name: killed.count(name) for name in sorted(set(killed))},
        "jobs kept before the last run": len(before),
        "of them done again": len(again),
        "the table is that of an undisturbed sweep": same,
    }
    keep("kills", found)
    print(found)
    return 0 if same and not again else 1


if __name__ == "__main__":
    sys.exit(main())
