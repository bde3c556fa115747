"""The server beside Chromium answers its own page and nobody else, and stays in its folders."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from converters.browser.host import NODE

STARTED = """
import { Server } from './server.mjs';
const server = await Server.start();
server.inputs = Buffer.from('tensors');
server.share(process.argv[1]);
console.log(JSON.stringify([server.page, server.origin]));
process.stdin.on('data', () => console.log(JSON.stringify(server.outputs.toString())));
process.stdin.on('end', () => process.exit(0));
"""


class Served:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        page, origin = self._line()
        self.host = origin.removeprefix("http://")
        self.word = page.removeprefix(f"{origin}/").rstrip("/")

    def _line(self) -> list[str]:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    @property
    def outputs(self) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        return str(self._line())

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
        """The answer to a path as it is written, dots and all."""
        connection = http.client.HTTPConnection(self.host, timeout=20)
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": self.host, **headers}.items():
            connection.putheader(name, value)
        body = b"theirs" if method == "POST" else b""
        connection.putheader("Content-Length", str(len(body)))
        with contextlib.closing(connection):
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def raw(self, line: bytes) -> bytes:
        """What a request line brings, that no library would send."""
        name, port = self.host.split(":")
        with socket.create_connection((name, int(port)), timeout=20) as connection:
            connection.sendall(line + b"\r\nHost: " + self.host.encode() + b"\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(64)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "model"
    (folder / "part").mkdir(parents=True)
    (folder / "part" / "model.json").write_text("{}")
    (folder.parent / "secret.txt").write_text("secret")
    (folder / "link").symlink_to(folder.parent / "secret.txt")
    return folder


@pytest.fixture(scope="module")
def served(shared: Path) -> Iterator[Served]:
    node = shutil.which("node")
    assert node
    command = [node, "--input-type=module", "-e", STARTED, "--", str(shared)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=NODE, text=True, **pipes) as process:  # type: ignore[call-overload]
        yield Served(process)
        assert process.stdin is not None
        process.stdin.close()


def test_its_page_is_answered(served: Served) -> None:
    assert served.get(f"/{served.word}/")[0] == 200
    assert served.get(f"/{served.word}/frame/litertjs")[0] == 200
    assert served.get(f"/{served.word}/model/1/part/model.json") == (200, b"{}")
    assert served.get(f"/{served.word}/inputs") == (200, b"tensors")
    status, script = served.get(f"/{served.word}/script/serve.mjs")
    assert status == 200
    assert b"performance.now" in script


@pytest.mark.parametrize(
    "path",
    [
        "script/..%2f..%2fhost.mjs",
        "script/%2e%2e/server.mjs",
        "script/../../server.mjs",
        "tfjs/..%2f..%2f..%2f..%2fpackage.json",
        "litert/%2fetc%2fpasswd",
        "model/1/..%2fsecret.txt",
        "model/1/part%2f..%2f..%2fsecret.txt",
        "model/1/link",
        "model/1/%00",
        "model/1/",
        "model/2/model.json",
        "constructor/",
        "__proto__/x",
        "script/nothing.mjs",
    ],
)
def test_no_path_leads_out_of_its_folders(path: str, served: Served) -> None:
    status, body = served.get(f"/{served.word}/{path}")
    assert status in (403, 404), body
    assert b"secret" not in body.replace(b"secret.txt", b"")


@pytest.mark.parametrize("path", ["/", "/inputs", "/script/serve.mjs", "/0/inputs", "/model/1/x"])
def test_who_does_not_know_its_word_is_refused(path: str, served: Served) -> None:
    assert served.get(path) == (403, b"")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "localhost"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_another_host_or_origin_is_refused(headers: dict[str, str], served: Served) -> None:
    assert served.get(f"/{served.word}/inputs", **headers) == (403, b"")


def test_answers_are_taken_from_its_page_alone(served: Served) -> None:
    assert served.get("/outputs", "POST")[0] == 403
    assert served.get(f"/{served.word}/outputs", "POST", Origin="http://evil.example")[0] == 403
    assert served.get(f"/{served.word}/outputs")[0] == 404  # nobody sends with GET
    assert served.outputs == ""
    own = served.get(f"/{served.word}/outputs", "POST", Origin=f"http://{served.host}")
    assert own[0] == 200
    assert served.outputs == "theirs"


@pytest.mark.parametrize(
    "line",
    [
        b"GET //[ HTTP/1.1",
        b"GET /%ff HTTP/1.1",
        b"GET * HTTP/1.1",
        b"\x00\xff",
        b"GET http://[ HTTP/1.1",
    ],
)
def test_it_survives_any_request_line(line: bytes, served: Served) -> None:
    assert b" 200 " not in served.raw(line)
    assert served.get(f"/{served.word}/")[0] == 200


@pytest.mark.parametrize("asked", [b"CONNECT x:1", b"GET /", b"POST /outputs"])
@pytest.mark.parametrize(
    "header", [b"Upgrade: websocket\r\nConnection: Upgrade", b"Content-Length: 9"]
)
def test_it_survives_who_asks_and_is_gone(asked: bytes, header: bytes, served: Served) -> None:
    """The connection is reset, so that the answer has nowhere to go."""
    name, port = served.host.split(":")
    request = asked + b" HTTP/1.1\r\nHost: " + served.host.encode() + b"\r\n" + header + b"\r\n\r\n"
    for _ in range(40):
        with socket.create_connection((name, int(port)), timeout=20) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(request)
    assert served.get(f"/{served.word}/")[0] == 200
