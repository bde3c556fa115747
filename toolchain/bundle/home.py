"""The two folders that are kept between runs: what can be made again, and what cannot."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home() -> Path:
    """$MLSHIP_CACHE, or mlship in the user's cache folder: all of it can be made again."""
    given = os.environ.get("MLSHIP_CACHE")
    if given is not None:
        return Path(given)
    from platformdirs import user_cache_path

    return user_cache_path("mlship")


def data_home() -> Path:
    """$MLSHIP_DATA, or mlship in the user's data folder: this machine's own, never shared."""
    given = os.environ.get("MLSHIP_DATA")
    if given is not None:
        return Path(given)
    from platformdirs import user_data_path

    return user_data_path("mlship")
