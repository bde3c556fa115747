"""What the executor costs: 10,000 jobs that sleep, on 200 workers that are threads.

    python -m tests.cluster.simulation [--jobs 10000] [--workers 200] [--seconds 2]

Writes benchmarks/results/cluster.json. The overhead is the time beyond what the sleeping alone
takes; the driver's memory is sampled while it runs, so that one sees whether it grows.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.cluster.results import keep

SAMPLES = 10
PROCESSES = 4
"""That the workers' threads are in: one process for all would measure itself."""
ELSEWHERE = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "60s",
    "distributed.admin.system-monitor.disk": False,
}
"""What a worker does on its own machine, beside its jobs: here 200 would do it in one process."""


def resident() -> float:
    """MB of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def simulate(jobs: int, workers: int, seconds: float) -> dict[str, Any]:
    """Runs the jobs; the overhead, and the driver's memory after each tenth of them."""
    import logging

    import dask.config
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with (
        dask.config.set(ELSEWHERE),
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=PROCESSES,
            threads_per_worker=workers // PROCESSES,
            dashboard_address=None,
            resources={"slot": workers // PROCESSES},
            memory_limit=0,
            local_directory=folder,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        # Room for the scheduler's own work, before the clock runs.
        list(_done(client, range(-workers, 0), 0.0))
        begun, memory = time.perf_counter(), [resident()]
        for count, _ in enumerate(_done(client, range(jobs), seconds), 1):
            if count % (jobs // SAMPLES) == 0:
                memory.append(resident())
        took = time.perf_counter() - begun
    least = jobs * seconds / workers
    return {
        "jobs": jobs,
        "workers": workers,
        "seconds of each": seconds,
        "took": round(took, 2),
        "least": round(least, 2),
        "overhead": round(took / least - 1, 4),
        "driver and workers, MB": [round(mb, 1) for mb in memory],
    }


def _done(client: Any, numbers: range, seconds: float) -> Iterator[Any]:
    from toolchain.cluster.dask import DaskPool
    from toolchain.cluster.job import Job
    from toolchain.cluster.pool import Run

    jobs = (
        Job(f"job {n}", "rehearsal", {"value": n, "seconds": seconds}, keep=False) for n in numbers
    )
    return Run(DaskPool(client, _sleep), "simulation").each(jobs)


def _sleep(job: Any, environment: str) -> Any:
    from toolchain.cluster.job import JobOutcome

    del environment
    time.sleep(job.arguments["seconds"])
    return JobOutcome(value=job.arguments["value"], seconds=job.arguments["seconds"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=2.0)
    asked = parser.parse_args(arguments)
    found = simulate(asked.jobs, asked.workers, asked.seconds)
    keep("simulation", found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
