"""From what --cluster names to who does the jobs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from model_defs.errors import UnsupportedOption
from toolchain.cluster.pool import Pool, SerialPool

SERIAL = "serial"


def connect(name: str) -> AbstractContextManager[Pool]:
    """The pool of that name; "" is serial. Raises UnsupportedOption, ClusterFailed."""
    if name in ("", SERIAL):
        return nullcontext(SerialPool())
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise UnsupportedOption(
            f"--cluster {name} needs Dask, which is not installed",
            do="pip install 'mlship-toolchain[cluster]', or leave --cluster away",
        ) from error
    from toolchain.cluster import dask

    return dask.connect(name)
