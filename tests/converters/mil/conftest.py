"""coremltools, loaded once for all tests of the interpreter."""

from __future__ import annotations

from typing import Any

import pytest

from converters.coreml import coremltools


@pytest.fixture(scope="session")
def ct() -> Any:
    return coremltools()
