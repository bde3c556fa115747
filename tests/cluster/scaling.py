"""40 builds by one worker and by two, each on a processor of its own, in turns.

    python -m tests.cluster.scaling [--builds 40] [--rounds 2]

Writes the ratio of the two times into benchmarks/results/cluster.json. The machine has to be idle.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.cluster.results import keep

NET = """
import torch
from torch import nn
from mlship import ModelSpec, TensorSpec


class Net(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        layers = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
        for _ in range(6):
            layers += [nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(16, 1, 1))

    def forward(self, image):
        return self.layers(image).sigmoid()


image = TensorSpec("image", (1, 3, 64, 64), "image", low=0, high=1)
out = TensorSpec("out", (1, 1, 64, 64), "map", low=0, high=1, tolerance=0.02)
"""


def pinned(dask_worker: Any) -> None:
    """The worker, and all that it starts, on one processor."""
    number = int(str(dask_worker.name))
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[number]})


def timed(root: Path, workers: int, builds: int, run: str) -> float:
    """Seconds of the builds, from when the workers are ready."""
    from toolchain.cluster.connect import connect
    from toolchain.recipes import targets
    from toolchain.sweep.matrix import MatrixRequest, matrix
    from toolchain.sweep.table import Table

    os.environ["MLSHIP_CACHE"] = str(root / run)
    models = tuple(f"{root / 'nets.py'}:net{n}" for n in range(builds))
    warm = MatrixRequest((f"{root / 'nets.py'}:warm",), ("fp32",), targets.find(("android",)))
    request = MatrixRequest(models, ("fp32",), targets.find(("android",)))
    with connect(f"local:{workers}") as pool:
        pool.client.run(pinned)  # type: ignore[attr-defined]
        for _ in range(workers):  # each has imported all that it needs
            for row in matrix(warm, pool, Table(None)):
                assert row.exit_code == 0, row.problem
            shutil.rmtree(root / run / "jobs")
        begun = time.perf_counter()
        rows = matrix(request, pool, Table(None))
        took = time.perf_counter() - begun
    assert all(row.exit_code == 0 for row in rows), [row.problem for row in rows]
    shutil.rmtree(root / run)
    return took


def main() -> int:
    """1 where two workers take more than 0.6 of what one takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--builds", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    found: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        nets = [
            f'net{n} = ModelSpec("net{n}", lambda: Net({n}), (image,), (out,))'
            for n in range(asked.builds)
        ]
        warm = 'warm = ModelSpec("warm", lambda: Net(-1), (image,), (out,))'
        (root / "nets.py").write_text("\n".join([NET, *nets, warm]))
        for turn in range(asked.rounds):
            for workers in (1, 2) if turn % 2 == 0 else (2, 1):
                found[workers].append(timed(root, workers, asked.builds, f"{turn}-{workers}"))
                print(f"{workers} workers: {found[workers][-1]:.1f} s", flush=True)
    ratio = statistics.median(found[2]) / statistics.median(found[1])
    seconds = {str(n): [round(s, 1) for s in own] for n, own in found.items()}
    keep("scaling", {"builds": asked.builds, "seconds": seconds, "ratio": round(ratio, 3)})
    print(f"two workers take {ratio:.2f} of the time of one")
    return 0 if ratio <= 0.6 else 1


if __name__ == "__main__":
    sys.exit(main())
