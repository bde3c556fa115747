"""The one folder for everything that is kept between runs and can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home() -> Path:
    """$MLSHIP_CACHE, or mlship in the user's cache folder."""
    given = os.environ.get("MLSHIP_CACHE")
    if given is not None:
        return Path(given)
    from platformdirs import user_cache_path

    return user_cache_path("mlship")
