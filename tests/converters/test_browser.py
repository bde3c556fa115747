"""Browser backends: each computes what PyTorch does, and none believes a damaged model."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from click.testing import CliRunner
from own_models import tiny
from safetensors.numpy import load_file

from converters.api import Artifact
from converters.browser import BrowserRunner, browser_backends, host, open_runner
from converters.browser.host import Browser, shared_browser
from model_defs.errors import BackendUnavailable, BadArtifact, UnknownName
from toolchain.bundle import bundle
from toolchain.cli.main import main

BACKENDS = [(f, b) for f in ("tfjs", "tflite") for b in browser_backends(f)]
WASM = "tfjs-wasm-chromium"
TOLERANCES = {"tfjs-webgl-f16": 5e-3}
FLOAT32 = 1e-5


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bundle.Bundle]:
    """The tiny model's bundles in float32, by format."""
    root = tmp_path_factory.mktemp("browser")
    (root / "net.py").write_text(tiny())
    asked = [f"{root}/net.py:spec", "--target", "web", "--target", "android", "--recipe", "fp32"]
    result = CliRunner().invoke(main, ["build", *asked, "--out", str(root)])
    assert result.exit_code == 0, result.output
    return {"tfjs": bundle.read(root / "tiny-web"), "tflite": bundle.read(root / "tiny-android")}


def artifact_of(found: bundle.Bundle) -> Artifact:
    return found.artifact


def golden(found: bundle.Bundle, case: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    tensors = load_file(found.directory / "golden" / f"{case}.safetensors")
    inputs = {spec.name: tensors[spec.name] for spec in found.inputs}
    return inputs, {spec.name: tensors[spec.name] for spec in found.outputs}


@pytest.fixture
def copied(built: dict[str, bundle.Bundle], tmp_path: Path) -> Artifact:
    """The TF.js model in a folder of its own, to be damaged."""
    artifact = artifact_of(built["tfjs"])
    path = tmp_path / "model.tfjs"
    shutil.copytree(artifact.path, path)
    return replace(artifact, path=path)


def shard(artifact: Artifact) -> Path:
    (found,) = artifact.path.glob("*.bin")
    return found


def edit(artifact: Artifact, old: str, new: str) -> None:
    path = artifact.path / "model.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(("kind", "backend"), BACKENDS)
def test_computes_what_pytorch_does(
    built: dict[str, bundle.Bundle], kind: str, backend: str
) -> None:
    runner = open_runner(artifact_of(built[kind]), backend)
    for case in ("photo", "noise"):
        inputs, expected = golden(built[kind], case)
        outputs = runner.run(inputs)
        assert outputs.keys() == expected.keys()
        tolerance = TOLERANCES.get(backend, FLOAT32)
        np.testing.assert_allclose(outputs["shade"], expected["shade"], atol=tolerance, rtol=0)
    runner.close()


def test_forced_float16_is_less_exact_than_float32(built: dict[str, bundle.Bundle]) -> None:
    inputs, expected = golden(built["tfjs"], "noise")
    errors = {}
    for backend in ("tfjs-webgl", "tfjs-webgl-f16"):
        runner = open_runner(artifact_of(built["tfjs"]), backend)
        errors[backend] = np.abs(runner.run(inputs)["shade"] - expected["shade"]).max()
        runner.close()
    assert errors["tfjs-webgl-f16"] > 10 * errors["tfjs-webgl"]


def test_webassembly_has_simd_and_threads(built: dict[str, bundle.Bundle]) -> None:
    runner = open_runner(artifact_of(built["tfjs"]), WASM)
    assert runner.runtime.startswith("SIMD, threaded build")
    runner.close()


def test_all_backends_share_one_page(built: dict[str, bundle.Bundle]) -> None:
    before = shared_browser()
    runners = [open_runner(artifact_of(built["tfjs"]), WASM) for _ in range(2)]
    runners.append(open_runner(artifact_of(built["tflite"]), "litertjs"))
    inputs, expected = golden(built["tfjs"], "photo")
    for runner in [*runners, *runners]:
        np.testing.assert_allclose(runner.run(inputs)["shade"], expected["shade"], atol=FLOAT32)
    for runner in runners:
        runner.close()
    assert shared_browser() is before


def test_unknown_backends_are_refused(built: dict[str, bundle.Bundle]) -> None:
    with pytest.raises(UnknownName, match="did you mean 'tfjs-webgl'"):
        open_runner(artifact_of(built["tfjs"]), "tfjs-webgi")
    with pytest.raises(UnknownName, match="litertjs"):
        open_runner(artifact_of(built["tflite"]), "tfjs-webgl")


class Visited(BaseHTTPRequestHandler):
    """Counts its visitors."""

    visits = 0

    def do_GET(self) -> None:
        type(self).visits += 1
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Cross-Origin-Resource-Policy", "cross-origin")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *words: object) -> None:
        """Says nothing."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Visited)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("address", ["elsewhere", "http://example.com", "https://example.com"])
def test_the_page_reaches_no_other_server(
    copied: Artifact, elsewhere: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Visited, "visits", 0)
    url = elsewhere if address == "elsewhere" else address
    edit(copied, shard(copied).name, f"{url}/weights.bin")
    with pytest.raises(BadArtifact, match=r"blocked: the model asked for .*(weights|example)"):
        open_runner(copied, WASM)
    assert Visited.visits == 0


def test_a_model_cannot_read_outside_its_folder(copied: Artifact) -> None:
    (copied.path.parent / "secret.bin").write_bytes(shard(copied).read_bytes())
    edit(copied, shard(copied).name, "%2e%2e%2fsecret.bin")
    with pytest.raises(BadArtifact, match="missing"):
        open_runner(copied, WASM)


class TestLiars:
    def test_no_model(self, copied: Artifact) -> None:
        shutil.rmtree(copied.path)
        with pytest.raises(BadArtifact, match="does not exist"):
            open_runner(copied, WASM)

    def test_no_model_json(self, copied: Artifact) -> None:
        (copied.path / "model.json").unlink()
        with pytest.raises(BadArtifact, match=r"model.json is missing"):
            open_runner(copied, WASM)

    def test_a_missing_shard(self, copied: Artifact) -> None:
        name = shard(copied).name
        shard(copied).unlink()
        with pytest.raises(BadArtifact, match=f"{name} is missing"):
            open_runner(copied, WASM)

    def test_a_truncated_shard(self, copied: Artifact) -> None:
        data = shard(copied).read_bytes()
        shard(copied).write_bytes(data[:-8])
        with pytest.raises(BadArtifact, match=f"hold {len(data) - 8} bytes, the manifest says"):
            open_runner(copied, WASM)

    def test_truncated_json(self, copied: Artifact) -> None:
        path = copied.path / "model.json"
        path.write_text(path.read_text()[:500])
        with pytest.raises(BadArtifact, match="JSON"):
            open_runner(copied, WASM)

    def test_an_operation_that_is_none(self, copied: Artifact) -> None:
        edit(copied, '"op":"_FusedConv2D"', '"op":"Sigmund"')
        runner = None
        with pytest.raises(BadArtifact, match="Sigmund"):
            runner = open_runner(copied, WASM)
            runner.run({"image": np.zeros((1, 3, 32, 48), np.float32)})
        if runner:
            runner.close()

    @pytest.mark.parametrize("damage", ["garbage", "truncated"])
    def test_a_tflite_file_that_is_none(
        self, built: dict[str, bundle.Bundle], tmp_path: Path, damage: str
    ) -> None:
        artifact = artifact_of(built["tflite"])
        data = artifact.path.read_bytes()
        path = tmp_path / "bad.tflite"
        path.write_bytes(b"not a model" * 100 if damage == "garbage" else data[: len(data) // 2])
        with pytest.raises(BadArtifact):
            open_runner(replace(artifact, path=path), "litertjs")

    @pytest.mark.parametrize(("kind", "backend"), [("tfjs", WASM), ("tflite", "litertjs")])
    def test_other_names_and_layouts(
        self, built: dict[str, bundle.Bundle], kind: str, backend: str
    ) -> None:
        artifact = artifact_of(built[kind])
        (port,) = artifact.outputs
        renamed = replace(artifact, outputs=(replace(port, stored_as="other"),))
        with pytest.raises(BadArtifact, match="the file's outputs are"):
            open_runner(renamed, backend)
        turned = replace(artifact, outputs=(replace(port, shape=(1, 24, 16, 1)),))
        with pytest.raises(BadArtifact, match="output 'shade' is float32"):
            open_runner(turned, backend)

    def test_the_page_still_works_after_them_all(self, built: dict[str, bundle.Bundle]) -> None:
        runner = open_runner(artifact_of(built["tfjs"]), WASM)
        assert runner.run(golden(built["tfjs"], "photo")[0])
        runner.close()


class TestEnds:
    """What happens to Chromium is told, and the next runner gets a new one."""

    def test_a_page_that_crashes(self, built: dict[str, bundle.Bundle]) -> None:
        own = Browser()
        runner = BrowserRunner(artifact_of(built["tfjs"]), WASM, browser=own)
        for pid in renderers(own):
            os.kill(pid, signal.SIGKILL)
        inputs, _ = golden(built["tfjs"], "photo")
        with pytest.raises(BadArtifact, match="crashed"):
            runner.run(inputs)
        with pytest.raises(BadArtifact, match="gone|ended"):
            runner.run(inputs)
        runner.close()
        own.close()

    def test_a_model_that_takes_too_long(self, built: dict[str, bundle.Bundle]) -> None:
        own = Browser()
        runner = BrowserRunner(artifact_of(built["tfjs"]), WASM, browser=own)
        chromium = renderers(own)
        runner.seconds = 1e-4
        with pytest.raises(BadArtifact, match=r"did not answer within 0.0001 s"):
            runner.run(golden(built["tfjs"], "photo")[0])
        assert not own.alive
        assert chromium
        assert not any(alive(pid) for pid in chromium)

    def test_a_host_that_is_killed(self, built: dict[str, bundle.Bundle]) -> None:
        own = Browser()
        runner = BrowserRunner(artifact_of(built["tfjs"]), WASM, browser=own)
        chromium = renderers(own)
        os.kill(own._process.pid, signal.SIGKILL)
        own._process.wait()
        with pytest.raises(BadArtifact, match="gone|ended"):
            runner.run(golden(built["tfjs"], "photo")[0])
        own.close()
        deadline = time.monotonic() + 10
        while any(alive(pid) for pid in chromium) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not any(alive(pid) for pid in chromium)


def renderers(own: Browser) -> list[int]:
    """The processes below the host's that draw pages."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    below, found = [own._process.pid], []
    while below:
        pid = below.pop()
        below += children.get(pid, [])
        found.append(pid)
    return [p for p in found if b"--type=renderer" in Path(f"/proc/{p}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestUnavailable:
    """What is missing is named, with what to do."""

    @pytest.fixture
    def artifact(self, built: dict[str, bundle.Bundle]) -> Artifact:
        return artifact_of(built["tfjs"])

    def start(self, artifact: Artifact) -> BackendUnavailable:
        with pytest.raises(BackendUnavailable) as caught, contextlib.closing(Browser()) as own:
            BrowserRunner(artifact, WASM, browser=own)
        assert caught.value.do
        return caught.value

    def test_no_chromium(self, artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
        assert "/nowhere/chromium" in str(self.start(artifact))

    def test_no_chromium_on_the_path(
        self, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CHROMIUM", raising=False)
        monkeypatch.setattr(host, "BROWSERS", ("no-such-browser",))
        assert "apt-get install chromium" in str(self.start(artifact))

    def test_a_chromium_that_does_not_start(
        self, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CHROMIUM", "false")
        assert "does not start" in str(self.start(artifact))

    def test_no_packages(
        self, artifact: Artifact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(host, "NODE", tmp_path)
        assert "npm ci" in str(self.start(artifact))

    def test_no_node(
        self, artifact: Artifact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert "Node is not installed" in str(self.start(artifact))


def test_every_backend_has_a_script() -> None:
    scripts = {path.stem for path in (host.NODE / "frame").glob("*-*.mjs")} | {"litertjs"}
    assert scripts == {backend for _, backend in BACKENDS}


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((host.NODE / "package-lock.json").read_text())
    assert not [name for name, entry in lock["packages"].items() if "resolved" in entry]
