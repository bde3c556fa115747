"""`make quick`: its list is of files that are there, and none of its tests builds a net."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.processes.worker import Worker
from tests.conftest import QUICK

ROOT = Path(__file__).resolve().parent.parent


def test_every_file_of_the_list_is_there() -> None:
    assert [name for name in sorted(QUICK) if not (ROOT / name).is_file()] == []
    assert len(QUICK) > 30


def test_a_quick_test_that_starts_a_converter_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"take test_quick.py out of quick.txt"):
        Worker("tflite")
