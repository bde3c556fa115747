"""A command that is killed leaves the old or the new: `python -m tests.attack kills` tries 200."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.kills import VICTIMS, Trials, whole

BY_NAME = {victim.name: victim for victim in VICTIMS}


@pytest.mark.parametrize("name", ["sign"])
def test_what_a_killed_command_wrote_is_old_or_new_and_whole(name: str, tmp_path: Path) -> None:
    trials = Trials(BY_NAME[name], tmp_path / "trials")
    for counts in (trials.at_each_rename(2), trials.at_random(1)):
        assert not counts.fell
        assert counts.kills + counts.ended
    assert not trials.left()


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.json", b'{"a": 1'), ("a.html", b"<html>"), ("a.pt", b"PK"), ("a.safetensors", b"\x08")],
)
def test_half_a_file_is_seen(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    try:
        good = whole(tmp_path / name)
    except Exception:  # whatever the reader says
        good = False
    assert not good
