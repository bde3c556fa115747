"""A manifest that somebody edited and sealed again is refused, or means what it says."""

from __future__ import annotations

import json
import time

import pytest

from model_defs.errors import BadBundle
from tests.attack.manifests import mutants
from tests.toolchain.manifests import contents
from toolchain.bundle.manifest import FileEntry, complete, parse

LONGEST = 2.0
"""Seconds that one manifest may take."""


def good() -> dict[str, object]:
    files = {"tiny.bin": FileEntry(sha256="0" * 64, bytes=7)}
    return complete(contents(), files).to_json()


@pytest.mark.parametrize("part", range(4))
def test_a_thousand_are_read_or_refused(part: int) -> None:
    read = refused = 0
    for text in mutants(good(), 250, seed=part):
        start = time.perf_counter()
        try:
            parse(text, "manifest.json")
            read += 1
        except BadBundle:
            refused += 1
        assert time.perf_counter() - start < LONGEST
    assert read > 5
    assert refused > 200


def test_the_good_one_is_read() -> None:
    assert parse(json.dumps(good()), "manifest.json").model.name == "tiny"
