"""coremltools, imported in a third of its time and kept quiet."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any


def coremltools() -> Any:
    """The coremltools module, imported in 4 s instead of 12 s and without its harmless warnings.

    TensorFlow is made unimportable first: coremltools would load all of it to support a
    frontend that is not used here. Hence only for a process of its own.
    """
    sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    import coremltools as ct

    return ct


@contextlib.contextmanager
def quiet() -> Iterator[list[str]]:
    """Keeps coremltools' progress bars and noise off the terminal.

    Yields the names of operations that failed to convert, which it only logs.
    """
    failed: list[str] = []

    class Failures(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            failed.extend(re.findall(r"converting '([^']+)' op", record.getMessage()))

    logger, handler = logging.getLogger("coremltools"), Failures()
    propagates, logger.propagate = logger.propagate, False
    others, logger.handlers = logger.handlers, [handler]
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield failed
    finally:
        logger.handlers, logger.propagate = others, propagates
