"""What happens where a job is done: one at a time in each process, heard, and never raising."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from threading import Lock

from converters.processes import scratch
from converters.progress import Say
from model_defs.errors import REPORT_IT, ClusterFailed, MlshipError, said
from toolchain.build import cache
from toolchain.bundle.files import file_digest
from toolchain.bundle.home import cache_home
from toolchain.cluster.job import WORK, Failure, Job, JobOutcome, Json

THREADS = 1
"""Of PyTorch's in a job, wherever it is done: their number decides the last bits of a training."""

_one = Lock()
"""Which files are read is noted for the whole process, so it does one job at a time."""


def do(job: Job, environment: str = "") -> JobOutcome:
    """Does a job. Raises nothing: what goes wrong is said in what comes of it.

    `environment` is the asker's: who has another mlship, or other packages, does not work for it.
    """
    with _one:
        log, begun = Log(), time.perf_counter()
        value, failure, inputs = None, None, {}
        try:
            with log.listening(), _threads(THREADS):
                _check(environment)
                with cache.recording() as read:
                    value = _function(job.kind)(job.arguments, log.say)
                inputs = {str(path): file_digest(path) for path in sorted(_lasting(read))}
        except MlshipError as error:
            kind = type(error).__name__
            failure = Failure(kind, error.what, error.where, error.do, error.exit_code)
        except Exception as error:  # ours, or a library's: no reason to lose the other jobs
            log.add(traceback.format_exc())
            failure = Failure("InternalError", f"{job.name} failed: {said(error)}", do=REPORT_IT)
        return JobOutcome(value, failure, inputs, time.perf_counter() - begun, _who(), log.text)


def _check(environment: str) -> None:
    if environment and environment != cache.environment():
        raise ClusterFailed(
            f"{_who()} has another mlship, Python or package than the machine that asks",
            do="install the same versions on all of them",
        )


def _function(kind: str) -> Callable[[Mapping[str, Json], Say], Json]:
    module, name = WORK[kind].split(":")
    found: Callable[[Mapping[str, Json], Say], Json] = getattr(import_module(module), name)
    return found


def _lasting(read: Iterable[Path]) -> list[Path]:
    """Without files of the cache, and those that this run has made for itself."""
    passing = (f"{cache_home().absolute()}{os.sep}", f"{scratch.folder()}{os.sep}")
    return [path for path in read if not str(path).startswith(passing)]


def _who() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Log(logging.Handler):
    """What a job says, with the seconds since it began: its stages, and what mlship warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.begun = time.perf_counter()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def add(self, text: str) -> None:
        self.lines.append(f"{time.perf_counter() - self.begun:8.1f} s  {text}")

    def say(self, what: str, stage: str) -> None:
        if stage:
            self.add(f"{what}: {stage}")

    def emit(self, record: logging.LogRecord) -> None:
        self.add(record.getMessage())

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """It hears warnings while this is open."""
        logger = logging.getLogger("mlship")
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)


def rehearse(arguments: Mapping[str, Json], say: Say) -> Json:
    """Sleeps for `seconds` and answers `value`: by it is measured what jobs cost beside their work.

    `die` ends the process that does it, `fail` is what it says when it fails.
    """
    say("rehearsal", "sleeping")
    time.sleep(float(arguments.get("seconds", 0)))
    if arguments.get("die"):
        os._exit(9)
    if arguments.get("fail"):
        raise RuntimeError(str(arguments["fail"]))
    return arguments.get("value")
