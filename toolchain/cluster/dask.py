"""Jobs on Dask distributed: a cluster is found by its name, and asked for a few jobs at a time."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from converters.processes import scratch
from model_defs.errors import ClusterFailed, UnsupportedOption
from toolchain.build.cache import environment
from toolchain.cluster import work
from toolchain.cluster.job import Failure, Job, JobOutcome
from toolchain.cluster.pool import Finished, Pool

KINDS = (
    "serial, local, local:4, tcp://host:8786, ssh:host,host, and with dask-jobqueue or "
    "dask-kubernetes installed slurm:20, pbs:20, kubernetes:20 and their like"
)
SLOT, MEMORY = "slot", "memory"
"""Resources of a worker: it does one job at a time, of those that its memory suffices for."""
AHEAD = 2
"""Jobs that wait at the scheduler, for each slot: the driver holds no more than these at once."""
Resources = Mapping[str, float]
FRESH = 5.0
WAIT = 20
"""Seconds for a first worker to come."""
DEATHS = 2
"""A job that has ended so many workers is left out."""

QUEUES: Mapping[str, str] = {
    "slurm": "dask_jobqueue:SLURMCluster",
    "pbs": "dask_jobqueue:PBSCluster",
    "sge": "dask_jobqueue:SGECluster",
    "lsf": "dask_jobqueue:LSFCluster",
    "oar": "dask_jobqueue:OARCluster",
    "htcondor": "dask_jobqueue:HTCondorCluster",
    "moab": "dask_jobqueue:MoabCluster",
    "kubernetes": "dask_kubernetes.operator:KubeCluster",
}
"""What other packages of Dask's start, as their own configuration files say."""


@dataclass(frozen=True)
class DaskPool:
    """The workers that a client's scheduler has; `do` is what they do with a job."""

    client: Any
    do: Callable[[Job, str], JobOutcome] = work.do
    _known: list[tuple[float, list[Resources]]] = field(default_factory=list)

    @property
    def slots(self) -> int:
        return max(1, sum(int(offer.get(SLOT, 1)) for offer in self.offers))

    @property
    def offers(self) -> list[Resources]:
        """What each worker has, as it was at most FRESH seconds ago: to ask takes long, of many."""
        now = time.monotonic()
        if not self._known or now - self._known[0][0] > FRESH:
            workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
            self._known[:] = [(now, [worker.get("resources") or {} for worker in workers])]
        return self._known[0][1]

    @property
    def address(self) -> str:
        return str(self.client.dashboard_link or "")

    def each(self, jobs: Iterable[Job]) -> Iterator[Finished]:
        self._check()
        waiting, running = iter(jobs), self._completed()
        asked: dict[str, Job] = {}

        def ask() -> None:
            while len(asked) < AHEAD * self.slots:
                job = next(waiting, None)
                if job is None:
                    return
                future = self._submit(job)
                asked[future.key] = job
                running.add(future)

        ask()
        try:
            for future, found in running:
                job = asked.pop(future.key)
                yield job, self._outcome(job, future, found)
                future.release()
                ask()
        finally:
            if asked:
                with contextlib.suppress(Exception):  # the scheduler may be gone
                    self.client.cancel([self.client.futures[k] for k in asked], force=True)

    def _completed(self) -> Any:
        """Futures as they end, with their results, which are on their way while others are used."""
        from distributed import as_completed

        return as_completed(loop=self.client.loop, with_results=True, raise_errors=False)

    def _check(self) -> None:
        with _reaching():
            self.client.wait_for_workers(1, timeout=WAIT)

    def _submit(self, job: Job) -> Any:
        demanded = {SLOT: 1.0, MEMORY: float(job.memory)}
        offered = self.offers
        # Of what no worker says that it has, nothing can be asked for: the job would wait for ever.
        wanted = {name: n for name, n in demanded.items() if n and any(name in o for o in offered)}
        if offered and not any(all(o.get(k, 0) >= n for k, n in wanted.items()) for o in offered):
            most = max(o.get(MEMORY, 0) for o in offered)
            raise ClusterFailed(
                f"{job.name} needs {job.memory / 1e9:.1f} GB, and no worker has more than "
                f"{most / 1e9:.1f} GB",
                do="give the workers more memory, or take fewer of them to a machine",
            )
        with _reaching():
            return self.client.submit(
                self.do, job, environment(), key=f"mlship-{job.key}", resources=wanted or None
            )

    def _outcome(self, job: Job, future: Any, found: Any) -> JobOutcome:
        from distributed import KilledWorker

        if isinstance(found, JobOutcome):
            return found
        if future.status in ("lost", "cancelled"):
            raise _lost()
        error = found[1] if isinstance(found, tuple) else found
        if not isinstance(error, KilledWorker):
            raise _lost() from error
        ended = getattr(error.last_worker, "address", "")
        what = f"{job.name} ended {DEATHS} workers that did it, and is left out"
        return JobOutcome(failure=Failure("ClusterFailed", what, where=ended, do=OF_DEATH))


OF_DEATH = "it may need more memory than they have; do it alone, without --cluster, to see why"


def _lost() -> ClusterFailed:
    return ClusterFailed(
        "the scheduler of the cluster is gone",
        do="start it and run this again: what was done is kept",
    )


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    """What Dask raises where the scheduler is no more, or no worker comes, as our own error."""
    from concurrent.futures import CancelledError

    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    try:
        yield
    except KilledWorker:
        raise
    except (CancelledError, CommClosedError) as error:
        raise _lost() from error
    except (TimeoutError, OSError) as error:
        raise ClusterFailed(
            f"no worker of the cluster answers: {error}",
            do="dask worker ADDRESS --nthreads 1 --resources slot=1 starts one",
        ) from error


@contextlib.contextmanager
def connect(name: str) -> Iterator[Pool]:
    """The pool of a cluster of that name. Raises UnsupportedOption, ClusterFailed."""
    import dask.config
    from distributed import Client

    settings = {
        "distributed.scheduler.allowed-failures": DEATHS - 1,
        "distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": work.THREADS,
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.logging.distributed": "critical",
    }
    # What Dask says of workers that come and go is no concern of whoever waits for a table.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with dask.config.set(settings), contextlib.ExitStack() as stack:
        with _reaching():
            cluster = _cluster(name, stack.enter_context(scratch.temporary()))
            if not isinstance(cluster, str):
                stack.enter_context(cluster)
            client = stack.enter_context(Client(cluster, timeout=WAIT, set_as_default=False))
        yield DaskPool(client)


def _cluster(name: str, folder: Path) -> Any:
    """An address, or a cluster that this process has started; `folder` is for what it keeps."""
    kind, _, rest = name.partition(":")
    if kind in ("tcp", "tls") and rest.startswith("//"):
        return name
    if kind == "local":
        return _local(_count(name, rest, os.cpu_count() or 1), folder)
    if kind == "ssh" and rest:
        from distributed import SSHCluster

        hosts = [host for host in rest.split(",") if host]
        options = {"nthreads": work.THREADS, "resources": f"{SLOT}=1"}
        return SSHCluster([hosts[0], *hosts], worker_options=options)
    if kind in QUEUES:
        return _queued(kind, _count(name, rest, 1))
    raise UnsupportedOption(f"there is no cluster '{name}'", do=f"name one of {KINDS}")


def _count(name: str, text: str, default: int) -> int:
    if not text:
        return default
    if not text.isdecimal() or not int(text):
        raise UnsupportedOption(f"'{name}' says no number of workers", do="write it as local:4")
    return int(text)


def _local(count: int, folder: Path) -> Any:
    from distributed import LocalCluster
    from distributed.system import MEMORY_LIMIT

    return LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        resources={SLOT: 1, MEMORY: MEMORY_LIMIT / count},
        local_directory=str(folder),
    )


def _queued(kind: str, count: int) -> Any:
    module, name = QUEUES[kind].split(":")
    try:
        found = getattr(import_module(module), name)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise UnsupportedOption(
            f"--cluster {kind} needs {package}, which is not installed", do=f"pip install {package}"
        ) from error
    cluster = found()
    cluster.scale(count)
    return cluster
