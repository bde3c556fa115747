"""What the cache holds is shown, and what was used longest ago goes first."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from test_bundle import make

from tests.toolchain.projects import mlship
from toolchain.build import cache, cache_size
from toolchain.build.cache import CacheQuery
from toolchain.bundle.home import cache_home


def stored(tmp_path: Path, name: str, content: bytes = b"weights") -> str:
    """An object of the cache, by its key."""
    query = CacheQuery(name, "ios", "fp16")
    key = cache.key(name, {}, query)
    cache.store(query, frozenset(), key, make(tmp_path / name, content).directory)
    return key


def aged(key: str, seconds: float) -> None:
    for path in (cache_home() / "objects").glob(f"{key}*"):
        os.utime(path, (seconds, seconds))


def test_what_is_held_is_shown(tmp_path: Path) -> None:
    stored(tmp_path, "a")
    shown = mlship("cache")
    assert shown.exit_code == 0
    assert "bundles that were built" in shown.stdout
    assert f"of at most 10.00 GB in {cache_home()}" in shown.stdout
    data = json.loads(mlship("cache", "size", "--json").stdout)
    assert data["kinds"]["objects"]["entries"] == 1
    assert data["kinds"]["requests"]["entries"] == 1
    held = sum(p.stat().st_size for p in cache_home().rglob("*") if p.is_file())
    assert data["bytes"] == held
    assert mlship("cache", "path").stdout.strip() == str(cache_home())


def test_an_empty_cache_and_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path / "nowhere"))
    assert "0 B of at most" in mlship("cache").stdout
    assert "removed 0 entries" in mlship("cache", "clear").stdout


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    keys = [stored(tmp_path, name) for name in ("a", "b", "c")]
    for age, key in enumerate(keys):
        aged(key, 1e9 + age)
    assert cache.open_object(keys[0]) is not None  # used now
    size = cache_size.entries()[0].bytes
    held = sum(entry.bytes for entry in cache_size.entries())
    result = mlship("cache", "prune", "--to", f"{held - size} B")
    assert "removed 1 entries" in result.stdout
    assert cache.open_object(keys[1]) is None
    assert all(cache.open_object(key) for key in (keys[0], keys[2]))


def test_a_build_keeps_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aged(stored(tmp_path, "old", b"w" * 200_000), 1e9)
    monkeypatch.setenv("MLSHIP_CACHE_LIMIT", "250 kB")
    new = stored(tmp_path, "new", b"w" * 100_000)
    assert [*(cache_home() / "objects").iterdir()] != []
    assert cache.open_object(new) is not None
    assert sum(entry.bytes for entry in cache_size.entries()) < 250e3


def test_the_cache_is_counted_once_a_process_until_its_limit_may_be_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    honest = cache_size.entries

    def entries() -> list[cache_size.CacheEntry]:
        counted.append(1)
        return honest()

    monkeypatch.setattr(cache_size, "entries", entries)
    monkeypatch.setenv("MLSHIP_CACHE_LIMIT", "400 kB")
    keys = [stored(tmp_path, f"net{number}", b"w" * 60_000) for number in range(5)]
    assert len(counted) == 1
    for age, key in enumerate(keys):
        aged(key, 1e9 + age)
    keys += [stored(tmp_path, f"more{number}", b"w" * 60_000) for number in range(3)]
    assert len(counted) <= 3
    assert sum(entry.bytes for entry in honest()) <= 400e3
    assert cache.open_object(keys[0]) is None
    assert all(cache.open_object(key) for key in keys[-3:])


def test_only_what_is_ours_is_removed(tmp_path: Path) -> None:
    stored(tmp_path, "a")
    (cache_home() / "mine.txt").write_text("mine")
    (cache_home() / "objects" / "link").symlink_to(tmp_path)
    assert mlship("cache", "clear").exit_code == 0
    assert os.listdir(tmp_path / "a")
    assert (cache_home() / "mine.txt").exists()
    assert not [*(cache_home() / "objects").iterdir()]


@pytest.mark.parametrize(
    "words", [("prune", "--to", "much"), ("clear", "--to", "1 MB"), ("prune", "--to", "-1")]
)
def test_what_is_no_size_is_said(words: tuple[str, ...]) -> None:
    assert mlship("cache", *words).exit_code == 2


def test_a_limit_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSHIP_CACHE_LIMIT", "plenty")
    result = mlship("cache")
    assert result.exit_code == 2
    assert "MLSHIP_CACHE_LIMIT is 'plenty'" in result.stderr
