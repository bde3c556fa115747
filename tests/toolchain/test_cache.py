"""The cache answers when nothing changed, and only then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file
from test_bundle import make

from model_defs.errors import BadConfig
from model_defs.installation import FOLDER
from tests.toolchain.manifests import resealed
from toolchain.build import cache
from toolchain.build.cache import CacheQuery
from toolchain.bundle import bundle
from toolchain.bundle.home import cache_home

ASKED = CacheQuery("tiny", "ios", "fp16")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text("layers = 3")
    return path


def stored(tmp_path: Path, source: Path) -> str:
    built = make(tmp_path / "out")
    key = cache.key("graph", {}, ASKED)
    cache.store(ASKED, frozenset([source]), key, built.directory)
    return key


def test_answers_the_same_request(tmp_path: Path, source: Path) -> None:
    stored(tmp_path, source)
    found = cache.find(ASKED)
    assert found is not None
    assert found.name == "tiny"


@pytest.mark.parametrize(
    "other",
    [
        CacheQuery("other", "ios", "fp16"),
        CacheQuery("tiny", "web", "fp16"),
        CacheQuery("tiny", "ios", "fp32"),
        CacheQuery("tiny", "ios", "fp16", "w.pt"),
        CacheQuery("tiny", "ios", "fp16", metric=True),
    ],
)
def test_does_not_answer_another_request(tmp_path: Path, source: Path, other: CacheQuery) -> None:
    stored(tmp_path, source)
    assert cache.find(other) is None


def test_does_not_answer_when_a_file_changed(tmp_path: Path, source: Path) -> None:
    stored(tmp_path, source)
    source.write_text("layers = 4")
    assert cache.find(ASKED) is None
    source.write_text("layers = 3")
    assert cache.find(ASKED) is not None


def test_does_not_answer_when_a_file_is_gone(tmp_path: Path, source: Path) -> None:
    stored(tmp_path, source)
    source.unlink()
    assert cache.find(ASKED) is None


def test_does_not_answer_in_another_environment(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(tmp_path, source)
    monkeypatch.setattr(cache, "environment", lambda: "another torch")
    assert cache.find(ASKED) is None


@pytest.mark.parametrize("damage", [b"weigh", b"WEIGHTS", None])
def test_a_damaged_object_is_removed_and_not_used(
    tmp_path: Path, source: Path, damage: bytes | None
) -> None:
    key = stored(tmp_path, source)
    file = cache_home() / "objects" / key / "tiny.bin"
    file.unlink() if damage is None else file.write_bytes(damage)
    assert cache.find(ASKED) is None
    assert not file.parent.exists()
    stored(tmp_path, source)
    assert cache.find(ASKED) is not None


def test_a_damaged_record_is_a_miss(tmp_path: Path, source: Path) -> None:
    stored(tmp_path, source)
    for record in (cache_home() / "requests").iterdir():
        record.write_text('{"inputs"')
    assert cache.find(ASKED) is None


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path / "file" / "cache"))
    stored(tmp_path, source)
    assert cache.find(ASKED) is None


def test_the_key_knows_everything_that_decides_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    variants: list[tuple[str, dict[str, Any], CacheQuery]] = [
        ("graph", {}, ASKED),
        ("other", {}, ASKED),
        ("graph", {"name": "other"}, ASKED),
        ("graph", {}, CacheQuery("tiny", "web", "fp16")),
        ("graph", {}, CacheQuery("tiny", "ios", "fp32")),
        ("graph", {}, CacheQuery("tiny", "ios", "fp16", metric=True)),
    ]
    keys = {cache.key(*variant) for variant in variants}
    monkeypatch.setattr(cache, "environment", lambda: "another torch")
    assert len(keys | {cache.key(*variants[0])}) == len(variants) + 1


def test_notices_every_file_that_was_read(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    text, tensors = tmp_path / "config.json", tmp_path / "w.safetensors"
    text.write_text("{}")
    save_file({}, tensors)
    with cache.recording() as found:
        text.read_text()
        load_file(tensors)
    assert {text, tensors} <= found
    assert not any(FOLDER / "model_defs" in path.parents for path in found)


def test_a_compiled_module_counts_as_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "layers_of_mine.py").write_text("WIDTH = 3")
    monkeypatch.syspath_prepend(str(tmp_path))
    with cache.recording() as found:
        import layers_of_mine  # noqa: F401
    assert tmp_path / "layers_of_mine.py" in found


def test_a_bundle_survives_the_cache_byte_for_byte(tmp_path: Path, source: Path) -> None:
    stored(tmp_path, source)
    found = cache.find(ASKED)
    assert found is not None
    assert bundle.read(tmp_path / "out").manifest == found.manifest


def test_a_module_in_memory_has_no_record_and_is_found_by_its_content(
    tmp_path: Path, source: Path
) -> None:
    unnamed = CacheQuery("", "ios", "fp16")
    key = cache.key("graph", {}, unnamed)
    cache.store(unnamed, frozenset([source]), key, make(tmp_path / "out").directory)
    assert cache.find(unnamed) is None
    assert not (cache_home() / "requests").exists()
    assert cache.open_object(key) is not None


def test_captures_add_one_audit_hook_to_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[object] = []
    monkeypatch.setattr("sys.addaudithook", added.append)
    cache._listen.cache_clear()
    for _ in range(3):
        with cache.recording():
            pass
    cache._listen.cache_clear()
    assert added == [cache._hook]


@pytest.mark.parametrize(("folder", "counts"), [("site-packages", True), ("_vendor", False)])
def test_packages_on_the_path_count_but_not_those_that_setuptools_carries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str, counts: bool
) -> None:
    before = cache.environment.__wrapped__()
    (tmp_path / folder / "wheel-1.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / folder)
    assert (cache.environment.__wrapped__() != before) is counts


def poisoned(folder: Path) -> None:
    """Another file in the place of the artifact, and a manifest that vouches for it."""
    (folder / "tiny.bin").write_bytes(b"POISONS")
    resealed(folder)


def test_an_object_that_somebody_sealed_again_is_named_and_not_used(
    tmp_path: Path, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = cache_home() / "objects" / stored(tmp_path, source)
    poisoned(folder)
    assert bundle.read(folder).name == "tiny"
    assert cache.find(ASKED) is None
    assert "built and proved again" in caplog.text
    assert str(folder) in caplog.text
    assert not folder.exists()


def other(tmp_path: Path, source: Path) -> str:
    """A second object, of another request, with another file."""
    query = CacheQuery("other", "ios", "fp16")
    key = cache.key("other", {}, query)
    cache.store(query, frozenset([source]), key, make(tmp_path / "o", b"another").directory)
    return key


def test_an_object_in_the_place_of_another_is_not_used(tmp_path: Path, source: Path) -> None:
    objects = cache_home() / "objects"
    mine, theirs = objects / stored(tmp_path, source), objects / other(tmp_path, source)
    for kind in ("", ".json"):
        mine.with_suffix(kind).rename(objects / "away")
        theirs.with_suffix(kind).rename(mine.with_suffix(kind))
        (objects / "away").rename(theirs.with_suffix(kind))
    assert bundle.read(mine).name == "tiny"
    assert cache.find(ASKED) is None


def test_a_link_in_the_place_of_an_object_is_removed_and_not_what_it_leads_to(
    tmp_path: Path, source: Path
) -> None:
    objects = cache_home() / "objects"
    mine, theirs = objects / stored(tmp_path, source), objects / other(tmp_path, source)
    mine.rename(tmp_path / "away")
    mine.symlink_to(theirs)
    assert cache.find(ASKED) is None
    assert not mine.is_symlink()
    assert bundle.read(theirs).name == "tiny"
    stored(tmp_path, source)
    assert cache.find(ASKED) is not None


def test_a_request_that_leads_to_another_object_is_not_followed(
    tmp_path: Path, source: Path
) -> None:
    """Neither by another's record in its place nor by an edited one."""
    stored(tmp_path, source)
    key = other(tmp_path, source)
    requests = cache_home() / "requests"
    mine = requests / f"{ASKED.digest}.json"
    theirs = requests / f"{CacheQuery('other', 'ios', 'fp16').digest}.json"
    good, data = mine.read_text(), json.loads(mine.read_text())
    mine.write_text(theirs.read_text())
    assert cache.find(ASKED) is None
    mine.write_text(json.dumps({**data, "key": key}))
    assert cache.find(ASKED) is None
    mine.write_text(good)
    assert cache.find(ASKED) is not None


def test_what_another_machine_wrote_is_not_believed_without_its_secret(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSHIP_DATA", str(tmp_path / "one"))
    stored(tmp_path, source)
    assert cache.find(ASKED) is not None
    assert (tmp_path / "one" / "cache.key").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("MLSHIP_DATA", str(tmp_path / "two"))
    assert cache.find(ASKED) is None


def test_machines_that_share_a_secret_share_a_cache(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSHIP_CACHE_KEY", "of the whole team")
    monkeypatch.setenv("MLSHIP_DATA", str(tmp_path / "one"))
    stored(tmp_path, source)
    monkeypatch.setenv("MLSHIP_DATA", str(tmp_path / "two"))
    assert cache.find(ASKED) is not None
    monkeypatch.setenv("MLSHIP_CACHE_KEY", "of another team, say")
    assert cache.find(ASKED) is None


def test_a_secret_of_a_few_letters_is_none(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSHIP_CACHE_KEY", "abc")
    with pytest.raises(BadConfig, match="MLSHIP_CACHE_KEY has 3 characters"):
        stored(tmp_path, source)


def test_a_damaged_secret_is_made_anew_and_a_folder_in_its_place_is_no_error(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, put in (("cut", lambda p: p.write_bytes(b"x")), ("folder", Path.mkdir)):
        monkeypatch.setenv("MLSHIP_DATA", str(tmp_path / name))
        monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path / f"cache of {name}"))
        (tmp_path / name).mkdir()
        put(tmp_path / name / "cache.key")
        stored(tmp_path, source)
        assert cache.find(ASKED) is not None


def test_processes_that_begin_at_once_agree_on_the_secret(tmp_path: Path) -> None:
    code = "from toolchain.build.signature import signature; print(signature('here'))"
    environment = {**os.environ, "MLSHIP_DATA": str(tmp_path / "new")}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        for _ in range(8)
    ]
    assert len({process.communicate()[0] for process in running}) == 1
    assert os.listdir(tmp_path / "new") == ["cache.key"]


@pytest.mark.parametrize("kind", ["requests", "objects"])
@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_record_that_never_ends_is_not_read(
    kind: str, put: Callable[[Path], None], tmp_path: Path, source: Path
) -> None:
    stored(tmp_path, source)
    (record,) = (cache_home() / kind).glob("*.json")
    record.unlink()
    put(record)
    assert cache.find(ASKED) is None
