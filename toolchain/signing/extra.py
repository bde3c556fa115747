"""The extra `sign`: model-signing and what it needs are installed, or said to be missing."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator

from model_defs.errors import BackendUnavailable
from model_defs.installation import DISTRIBUTION

MODULES = ("cryptography", "OpenSSL", "model_signing", "cyclonedx", "in_toto_attestation")
INSTALL = f"pip install '{DISTRIBUTION}[sign]'"


def require() -> None:
    """Raises BackendUnavailable, which names the first module that is missing."""
    from importlib.util import find_spec

    for name in MODULES:
        if find_spec(name) is None:
            raise BackendUnavailable(f"signing needs {name}, which is not installed", do=INSTALL)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallows what model-signing prints and warns of: what matters we say ourselves."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
