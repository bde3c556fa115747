"""TF.js models: what is written, what runs them, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from converters.api import Artifact, Port, Program
from converters.capture import capture
from converters.export import export
from converters.tfjs import runner
from converters.tfjs.convert import convert as to_tfjs
from converters.tfjs.runner import open_runner as open_tfjs
from model_defs.errors import BackendUnavailable, BadArtifact, CannotWrite
from model_defs.spec import ModelSpec, TensorSpec
from tests.converters import mutate_tf
from tests.converters.test_tflite import CONVERT, TwoHeads
from tests.converters.tf_checks import Case, case, tfjs_outputs, worst
from toolchain.passes.weights_uint8 import WeightsUint8


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Case:
    torch.manual_seed(0)
    inputs = [torch.rand(1, 3, 12, 16), torch.rand(1, 2, 12, 16)]
    return case(tmp_path_factory.mktemp("heads"), TwoHeads(), inputs, ["logits", "mask"])


@pytest.fixture
def artifact(heads: Case, tmp_path: Path) -> Artifact:
    return to_tfjs(heads.export, tmp_path)


def model(artifact: Artifact) -> dict:
    return json.loads((artifact.path / "model.json").read_text())


def program_of(module: nn.Module, shape: tuple[int, ...]) -> Program:
    torch.manual_seed(0)
    image = TensorSpec("image", shape, "image", low=0, high=1)
    result = TensorSpec("result", tuple(module(torch.zeros(shape)).shape), "map", tolerance=0.1)
    return capture(ModelSpec("net", lambda: module, (image,), (result,)))


def read_back(artifact: Artifact, name: str) -> np.ndarray:
    """A weight as tfjs reads it: float64 arithmetic on its codes, rounded to float32."""
    (group,) = model(artifact)["weightsManifest"]
    data = b"".join((artifact.path / shard).read_bytes() for shard in group["paths"])
    offset = 0
    for entry in group["weights"]:
        stored = entry.get("quantization", entry)
        kind, count = np.dtype(stored["dtype"]), int(np.prod(entry["shape"]))
        if entry["name"] == name:
            codes = np.frombuffer(data, kind, count, offset)
            if "quantization" not in entry:
                return codes
            return (codes.astype(np.float64) * stored["scale"] + stored["min"]).astype(np.float32)
        offset += count * kind.itemsize
    raise KeyError(name)


def test_numbers_are_pytorchs(heads: Case, artifact: Artifact) -> None:
    assert worst(tfjs_outputs(artifact, heads.inputs), heads.outputs) <= 1e-6


def test_ports_are_nhwc_with_the_specs_names(artifact: Artifact) -> None:
    assert artifact.inputs[0] == Port("x", "x", (1, 12, 16, 3), (0, 2, 3, 1))
    assert [port.name for port in artifact.outputs] == ["logits", "mask"]
    assert list(model(artifact)["signature"]["inputs"]) == ["x", "x1"]


def test_convolutions_are_fused_with_bias_and_activation(artifact: Artifact) -> None:
    nodes = model(artifact)["modelTopology"]["node"]
    assert [node["op"] for node in nodes if node["op"] not in ("Const", "Placeholder")] == [
        *("ConcatV2", "_FusedConv2D", "_FusedConv2D", "AddV2", "ResizeNearestNeighbor"),
        *("_FusedConv2D", "_FusedConv2D", "Identity", "Identity"),
    ]


def test_attention_is_written_as_wasm_runs_it_natively(tmp_path: Path) -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(6, 24)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            query, key, value = self.qkv(x).view(2, 10, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
            return (query @ key.transpose(2, 3)).softmax(-1) @ value

    found = case(tmp_path, Attention(), [torch.rand(2, 10, 6)])
    artifact = to_tfjs(found.export, tmp_path)
    nodes = {node["name"]: node for node in model(artifact)["modelTopology"]["node"]}
    kinds = [node["op"] for node in nodes.values()]
    assert (kinds.count("MatMul"), kinds.count("BatchMatMulV2")) == (1, 2)  # one matrix, and two
    (split,) = (node for node in nodes.values() if node["op"] == "Split")
    reshape = nodes[split["input"][1]]
    assert read_back(artifact, reshape["input"][1]).tolist() == [20, 3, 8]  # not five axes
    assert worst(tfjs_outputs(artifact, found.inputs), found.outputs) <= 1e-6


def test_what_tfjs_assumes_by_itself_is_not_written(artifact: Artifact) -> None:
    nodes = model(artifact)["modelTopology"]["node"]
    attributes = [node["attr"] for node in nodes if node["op"] == "_FusedConv2D"]
    assert not any("use_cudnn_on_gpu" in found for found in attributes)
    padded = [found["explicit_paddings"] for found in attributes if "explicit_paddings" in found]
    assert all(found["list"]["i"] for found in padded)


def test_a_result_that_others_read_is_not_fused_away(tmp_path: Path) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return y.relu() + y

    found = case(tmp_path, Shared(), [torch.rand(1, 3, 6, 6)])
    artifact = to_tfjs(found.export, tmp_path)
    assert "Relu" in [node["op"] for node in model(artifact)["modelTopology"]["node"]]
    assert worst(tfjs_outputs(artifact, found.inputs), found.outputs) <= 1e-6


def test_the_topology_names_a_producer(artifact: Artifact) -> None:
    assert model(artifact)["modelTopology"]["versions"]["producer"] > 0


def test_shards_hold_four_megabytes_at_most(tmp_path: Path) -> None:
    wide = nn.Sequential(nn.Flatten(), nn.Linear(1200, 1000))
    found = case(tmp_path, wide, [torch.rand(1, 3, 20, 20)])
    artifact = to_tfjs(found.export, tmp_path)
    shards = sorted(artifact.path.glob("*.bin"))
    assert [shard.name for shard in shards] == ["group1-shard1of2.bin", "group1-shard2of2.bin"]
    assert shards[0].stat().st_size == 4 * 1024 * 1024
    assert worst(tfjs_outputs(artifact, found.inputs), found.outputs) <= 1e-5


def test_float16_halves_the_weights_and_stays_close(heads: Case, tmp_path: Path) -> None:
    artifact = to_tfjs(replace(heads.export, precision="float16"), tmp_path)
    error = worst(tfjs_outputs(artifact, heads.inputs), heads.outputs)
    assert 1e-6 < error < 2e-3
    stored = {
        spec.get("quantization", spec)["dtype"]
        for group in model(artifact)["weightsManifest"]
        for spec in group["weights"]
        if len(spec["shape"]) == 4
    }
    assert stored == {"float16"}


def test_float16_keeps_epsilons_and_what_it_cannot_hold_in_float32(tmp_path: Path) -> None:
    class Extremes(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / (x.abs() + 1e-9) + x * torch.tensor([1e6, 1.0]).view(1, 2, 1, 1)

    found = case(tmp_path, Extremes(), [torch.rand(1, 2, 4, 4) * 1e-3], precision="float16")
    outputs = tfjs_outputs(to_tfjs(found.export, tmp_path), found.inputs)
    assert worst(outputs, found.outputs) <= 1e-5


def test_a_constant_on_no_grid_stays_float32_and_is_named(tmp_path: Path) -> None:
    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(16, 32, 3), nn.Conv2d(16, 32, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            kernel = torch.cat((self.first.weight, 3 * self.second.weight))
            return nn.functional.conv2d(x, kernel)

    program = WeightsUint8()(program_of(Joined(), (1, 16, 8, 8)))
    artifact = to_tfjs(export(program, tmp_path), tmp_path)
    assert len(artifact.notes) == 1
    assert "0.04 MB in float32, on no grid" in artifact.notes[0]


def test_a_stale_shard_of_an_earlier_build_is_removed(heads: Case, artifact: Artifact) -> None:
    stale = artifact.path / "group1-shard9of9.bin"
    stale.write_bytes(b"old")
    to_tfjs(heads.export, artifact.path.parent)
    assert not stale.exists()


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_another_process_folder_and_day_give_the_same_bytes(
    heads: Case, tmp_path: Path, precision: str
) -> None:
    export = replace(heads.export, precision=precision)
    here = to_tfjs(export, tmp_path).path
    (tmp_path / "export.json").write_text(json.dumps(export.to_json()))
    (tmp_path / "there").mkdir()
    subprocess.run(
        [sys.executable, "-c", CONVERT.format(format="tfjs"), "export.json", "there"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
    there = tmp_path / "there" / "tfjs_model"
    assert [f.name for f in sorted(here.iterdir())] == [f.name for f in sorted(there.iterdir())]
    assert all(f.read_bytes() == (there / f.name).read_bytes() for f in here.iterdir())


def test_a_perturbed_weight_shows(heads: Case, artifact: Artifact) -> None:
    mutate_tf.perturb_tfjs(artifact.path)
    assert worst(tfjs_outputs(artifact, heads.inputs), heads.outputs) > 1e-2


def test_a_truncated_shard_is_a_bad_artifact(artifact: Artifact) -> None:
    mutate_tf.truncate(artifact.path / "group1-shard1of1.bin")
    with pytest.raises(BadArtifact, match="bytes, the manifest says"):
        open_tfjs(artifact)


def test_a_missing_shard_is_a_bad_artifact(artifact: Artifact) -> None:
    (artifact.path / "group1-shard1of1.bin").unlink()
    with pytest.raises(BadArtifact, match="no such file"):
        open_tfjs(artifact)


def test_malformed_json_is_a_bad_artifact(artifact: Artifact) -> None:
    mutate_tf.truncate(artifact.path / "model.json")
    with pytest.raises(BadArtifact, match="JSON"):
        open_tfjs(artifact)


def test_an_operation_that_tfjs_lacks_is_a_bad_artifact(heads: Case, artifact: Artifact) -> None:
    path = artifact.path / "model.json"
    path.write_text(path.read_text().replace('"AddV2"', '"Frobnicate"'))
    with pytest.raises(BadArtifact, match="Frobnicate"):
        tfjs_outputs(artifact, heads.inputs)


def test_nchw_for_nhwc_is_a_bad_artifact(artifact: Artifact) -> None:
    port = Port("logits", "logits", (1, 3, 12, 16), (0, 1, 2, 3))
    with pytest.raises(BadArtifact, match=r"\(1, 12, 16, 3\) in the file"):
        open_tfjs(replace(artifact, outputs=(port, artifact.outputs[1])))


def test_outputs_of_one_shape_are_bound_by_name(heads: Case, artifact: Artifact) -> None:
    swapped = replace(
        artifact,
        outputs=(
            replace(artifact.outputs[0], name="mask"),
            replace(artifact.outputs[1], name="logits"),
        ),
    )
    outputs = tfjs_outputs(swapped, heads.inputs)
    np.testing.assert_allclose(outputs["mask"], heads.outputs["logits"], atol=1e-6)


def test_one_process_runs_many_times(heads: Case, artifact: Artifact) -> None:
    opened = open_tfjs(artifact)
    first, second = opened.run(heads.inputs), opened.run(heads.inputs)
    opened.close()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_runner_that_hangs_is_ended(artifact: Artifact) -> None:
    with pytest.raises(BadArtifact, match=r"did not answer within 0\.001 s"):
        runner.NodeRunner(artifact, seconds=0.001)


def test_without_node_the_backend_is_unavailable(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BackendUnavailable, match="Node is not installed"):
        open_tfjs(artifact)


def test_without_its_packages_the_backend_says_npm_ci(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runner, "NODE", tmp_path)
    with pytest.raises(BackendUnavailable, match="tfjs-backend-wasm is not installed") as caught:
        open_tfjs(artifact)
    assert "npm ci" in caught.value.do


def test_the_lock_file_names_no_registry() -> None:
    lock = (runner.NODE / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert "://registry" not in lock


def test_a_file_in_the_way_cannot_be_overwritten(heads: Case, tmp_path: Path) -> None:
    (tmp_path / "tfjs_model").write_text("in the way")
    with pytest.raises(CannotWrite, match="cannot write"):
        to_tfjs(heads.export, tmp_path)
