"""A cache that machines share: whole, bound to its keys, never believed; servers that fail."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from model_defs.errors import BadConfig
from tests.toolchain.projects import mlship
from tests.toolchain.test_matrix import NETS
from toolchain.build import produce, remote
from toolchain.bundle import bundle

TEAM = "a secret of the team's own"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_given_up", set())


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine that has built a net, and written it to a shared folder."""
    folder = tmp_path_factory.mktemp("remote")
    (folder / "nets.py").write_text(NETS)
    with pytest.MonkeyPatch.context() as patch:
        machine(folder, patch, folder / "first", write=True)
        built(folder, folder / "dist")
    return folder


def machine(
    folder: Path, patch: pytest.MonkeyPatch, home: Path, *, key: str = TEAM, write: bool = False
) -> None:
    """A machine with a cache and a key of its own, unless it has the team's."""
    address = f"file://{folder}/shared"
    patch.setenv("MLSHIP_CACHE", str(home / "cache"))
    patch.setenv("MLSHIP_DATA", str(home / "data"))
    patch.setenv(remote.READ, address)
    patch.setenv(remote.WRITE, address if write else "")
    patch.setenv("MLSHIP_CACHE_KEY", key)


def built(folder: Path, out: Path) -> Any:
    net = folder / "nets.py:net"
    result = mlship("build", net, "--target", "android", "--recipe", "fp32", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)[0]


def archive(folder: Path) -> Path:
    (found,) = (folder / "shared" / "objects").glob("*.zip")
    return found


@pytest.fixture
def second(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another machine, with a copy of what is shared that can be damaged."""
    shutil.copy(first / "nets.py", tmp_path)
    shutil.copytree(first / "shared", tmp_path / "shared")
    machine(tmp_path, monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets that were converted here."""
    done: list[str] = []
    convert = produce.convert

    def counted(prepared: Any, target: Any, *rest: Any) -> Any:
        done.append(target.name)
        return convert(prepared, target, *rest)

    monkeypatch.setattr(produce, "convert", counted)
    return done


def test_what_the_team_built_is_taken(first: Path, second: Path, conversions: list[str]) -> None:
    found = built(second, second / "dist")
    assert found["cached"]
    assert conversions == []
    one, other = (bundle.read(at / "dist" / "net-android") for at in (first, second))
    assert one.manifest.digest == other.manifest.digest
    archive(second).unlink()
    assert built(second, second / "again")["cached"], "it is in the machine's own cache now"


def test_of_another_key_it_is_proved_again_and_not_converted(
    first: Path, second: Path, conversions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(second, monkeypatch, second, key="")
    found = built(second, second / "dist")
    assert not found["cached"]
    assert found["ok"]
    assert conversions == []
    one, other = (bundle.read(at / "dist" / "net-android") for at in (first, second))
    assert one.manifest.files["net.tflite"] == other.manifest.files["net.tflite"]
    assert built(second, second / "again")["cached"], "once on each machine"


def repacked(path: Path, change: Any) -> None:
    """The archive, with `change` made to its files by name."""
    with zipfile.ZipFile(path) as old:
        files = {name: old.read(name) for name in old.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w") as new:
        for name, content in files.items():
            new.writestr(name, content)


def damaged_file(files: dict[str, bytes]) -> None:
    name = "bundle/net.tflite"
    files[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])


def another_manifest(files: dict[str, bytes]) -> None:
    files["bundle/manifest.json"] = files["bundle/manifest.json"].replace(b'"fp32"', b'"fp16"')


def no_record(files: dict[str, bytes]) -> None:
    del files["record.json"]


def a_path_out(files: dict[str, bytes]) -> None:
    files["bundle/../../outside"] = b"x"


def an_extra_file(files: dict[str, bytes]) -> None:
    files["bundle/extra"] = b"x"


def a_link(files: dict[str, bytes]) -> None:
    del files["bundle/net.tflite"]


@pytest.mark.parametrize(
    "change", [damaged_file, another_manifest, no_record, a_path_out, an_extra_file, a_link]
)
def test_what_is_damaged_is_named_and_built(
    change: Any, second: Path, conversions: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    repacked(archive(second), change)
    with caplog.at_level(logging.WARNING):
        found = built(second, second / "dist")
    assert not found["cached"]
    assert conversions == ["android"]
    assert "is not used" in caplog.text
    assert not list(second.rglob("outside"))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_what_is_truncated_is_named_and_built(
    share: float, second: Path, conversions: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    content = archive(second).read_bytes()
    archive(second).write_bytes(content[: int(len(content) * share)])
    with caplog.at_level(logging.WARNING):
        assert not built(second, second / "dist")["cached"]
    assert conversions == ["android"]
    assert "is not used" in caplog.text


def test_a_lie_that_is_signed_by_nobody_fails_its_proof(
    second: Path,
    conversions: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another net under this one's key, with digests that are right."""
    (second / "nets.py").write_text(NETS.replace("manual_seed(1)", "manual_seed(2)"))
    here = archive(second)
    with monkeypatch.context() as patch:
        machine(second, patch, second / "liar", key="", write=True)
        built(second, second / "liar" / "dist")
    (theirs,) = (p for p in (second / "shared" / "objects").glob("*.zip") if p != here)
    shutil.move(theirs, here)
    (second / "nets.py").write_text(NETS)
    machine(second, monkeypatch, second / "victim", key="")
    with caplog.at_level(logging.WARNING):
        found = built(second, second / "dist")
    assert found["ok"]
    assert conversions[-1] == "android"
    assert "is not used" in caplog.text


def test_nothing_is_written_without_leave(first: Path, second: Path) -> None:
    shutil.rmtree(second / "shared")
    built(second, second / "dist")
    assert not (second / "shared").exists()


def test_an_object_that_is_there_stays(first: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        machine(first, patch, tmp_path, write=True)
        before = archive(first).stat().st_mtime_ns
        built(first, tmp_path / "dist")
    assert archive(first).stat().st_mtime_ns == before


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that speaks S3, and a bucket on it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    for name, value in (
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="team")
    yield "s3://team/mlship"
    server.stop()


@pytest.mark.filterwarnings("ignore")  # of boto's own, about its own future
def test_a_server_that_speaks_s3(
    s3: str, tmp_path: Path, conversions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    for name, write, converted in (("ci", s3, 1), ("laptop", "", 1)):
        machine(tmp_path, monkeypatch, tmp_path / name)
        monkeypatch.setenv(remote.READ, s3)
        monkeypatch.setenv(remote.WRITE, write)
        built(tmp_path, tmp_path / name / "dist")
        assert len(conversions) == converted
    one, other = (bundle.read(tmp_path / n / "dist" / "net-android") for n in ("ci", "laptop"))
    assert one.manifest.digest == other.manifest.digest


@pytest.mark.parametrize("address", ["nowhere", "s4://bucket/x", "://"])
def test_an_address_that_is_none(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(remote.READ, address)
    with pytest.raises(BadConfig, match=remote.READ):
        remote.fetch("objects/x", tmp_path / "x")


class Dying(BaseHTTPRequestHandler):
    """Answers nothing, or half."""

    def do_GET(self) -> None:
        if "slow" in self.path:
            threading.Event().wait(5)
            return
        if "half" in self.path:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"PK" * 100)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Dying)
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_address[1]}"
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize("kind", ["slow", "half", "gone"])
def test_a_server_that_fails_costs_time_and_is_given_up(
    kind: str,
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(remote.READ, f"{server}/{kind}")
    if kind == "gone":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv(remote.READ, "s3://team/mlship")
    monkeypatch.setenv(remote.PATIENCE, "1")
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            assert not remote.fetch("objects/x", tmp_path / str(number))
    assert caplog.text.count("not used any more") == 1
    assert not list(tmp_path.iterdir())
