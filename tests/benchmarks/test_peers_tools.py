"""Every tool is pinned, and all are given the same network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.measure.commands import Failed, Ran
from benchmarks.measure.peers import install
from benchmarks.studies.peers import subjects, suite
from benchmarks.studies.peers.rows import PeerRow
from benchmarks.studies.peers.suite import ToolBuild
from benchmarks.studies.peers.tools import OURS, TOOLS
from converters.weights import read_weights
from model_defs import lookup
from model_defs.counting import count


@pytest.mark.parametrize("peer", install.PEERS)
def test_every_package_of_a_peer_is_pinned(peer: str) -> None:
    lines = install.pins(peer).read_text(encoding="utf-8").split("\n")[:-1]
    assert lines
    assert all("==" in line or "@ git+https" in line for line in lines)
    assert not any("file:" in line for line in lines)


def test_a_checkout_stands_in_for_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    assert any("@ git+https" in line for line in install.requirements("tinynn"))
    monkeypatch.setenv("TINYNN", "here")
    wanted = install.requirements("tinynn")
    assert "here" in wanted
    assert not any("git+" in line for line in wanted)
    assert "here" not in install.requirements("litert_torch")


@pytest.mark.parametrize("name", [tool.name for tool in TOOLS.values() if not tool.ours])
def test_a_tool_says_what_was_compared(name: str) -> None:
    assert re.fullmatch(r"\d+(\.\w+)+|[0-9a-f]{8}", TOOLS[name].version)


def test_every_environment_is_for_a_tool() -> None:
    assert {tool.peer for tool in TOOLS.values() if tool.peer} == set(install.PEERS)


def test_ours_is_one_a_platform() -> None:
    assert set(OURS) == {tool.target for tool in TOOLS.values()}
    assert len(OURS) == sum(tool.ours for tool in TOOLS.values())


@pytest.mark.parametrize("name", subjects.TIMM)
def test_timm_s_networks_are_what_mlship_builds_by_file(name: str) -> None:
    (address,) = lookup.expand(subjects.address(name))
    found, known = lookup.load(address), subjects.spec_of(name)
    assert (found.name, found.inputs, found.outputs) == (name, known.inputs, known.outputs)
    assert TOOLS["mlship"].made(name, Path()).name == f"{name}.tflite"


@pytest.mark.parametrize("name", subjects.TIMM)
def test_timm_s_networks_can_be_counted_without_numbers(name: str) -> None:
    found = count(subjects.spec_of(name))
    assert found.macs > found.parameters > 1e6


def test_tools_are_given_the_weights_that_ship() -> None:
    spec, module, example = subjects.given("portrait")
    stored = read_weights(spec.weights).tensors  # type: ignore[arg-type]
    state = module.state_dict()
    assert state.keys() == stored.keys()
    assert all(state[key].equal(stored[key]) for key in stored)
    assert [tuple(x.shape) for x in example] == [t.shape for t in spec.inputs]


def built(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, answer: object) -> PeerRow:
    """A tool's row, where its program does `answer`; onnx2tf took 3 s and 5 bytes before it."""

    def ran(*_: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        (folder / name / "model.json").write_text("model")
        return answer

    monkeypatch.setattr(suite, "run", ran)
    before = {"onnx2tf": ToolBuild(PeerRow(seconds=3.0, memory=5), folder)}
    return suite.built(TOOLS[name], "portrait", folder, before).row


def test_what_a_tool_needs_before_it_counts_as_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = built(monkeypatch, tmp_path, "TF.js converter", Ran("", 2.0, 4))
    assert row == PeerRow(seconds=5.0, memory=5, bytes=5)


def test_a_tool_that_fails_says_how_and_not_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = f"OSError: {tmp_path}/model.json, {install.FOLDER}/tinynn/a.py"
    row = built(monkeypatch, tmp_path, "TF.js converter", Failed(words))
    assert row == PeerRow(failed="OSError: model.json, tinynn/a.py")


def test_a_tool_that_ends_well_without_a_file_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = built(monkeypatch, tmp_path, "coremltools", Ran("", 2.0, 4))
    assert row == PeerRow(failed="it ended well and wrote no file")


def test_nothing_is_made_of_what_was_not_made(tmp_path: Path) -> None:
    before = {"onnx2tf": ToolBuild(PeerRow(failed="no"), tmp_path)}
    row = suite.built(TOOLS["TF.js converter"], "portrait", tmp_path, before).row
    assert row == PeerRow(failed="onnx2tf made nothing to convert")
