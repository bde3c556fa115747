"""TFLite files: what is written, what runs them, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from converters.api import Artifact, Port
from converters.tflite.convert import convert as to_tflite
from converters.tflite.partitions import Partitions, partitions
from converters.tflite.runner import open_runner as open_tflite
from model_defs.errors import BadArtifact, CannotWrite, UnsupportedOperation
from tests.converters import mutate_tf
from tests.converters.tf_checks import Case, case, operations, tflite_outputs, worst


class TwoHeads(nn.Module):
    """Two inputs, two outputs of one shape, strides, skips: enough to get everything wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(5, 16, 3, stride=2, padding=1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.one, self.two = nn.Conv2d(16, 3, 1), nn.Conv2d(16, 3, 1)

    def forward(self, x: torch.Tensor, x1: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.first(torch.cat([x, x1], 1)).relu()
        y = nn.functional.interpolate(y + self.second(y).relu(), scale_factor=2)
        return self.one(y), self.two(y).sigmoid()


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Case:
    torch.manual_seed(0)
    inputs = [torch.rand(1, 3, 12, 16), torch.rand(1, 2, 12, 16)]
    return case(tmp_path_factory.mktemp("heads"), TwoHeads(), inputs, ["logits", "mask"])


@pytest.fixture
def artifact(heads: Case, tmp_path: Path) -> Artifact:
    return to_tflite(heads.export, tmp_path)


def test_numbers_are_pytorchs(heads: Case, artifact: Artifact) -> None:
    assert worst(tflite_outputs(artifact, heads.inputs), heads.outputs) <= 1e-6


def test_ports_are_nhwc_with_the_specs_names(artifact: Artifact) -> None:
    assert artifact.inputs[0] == Port("x", "x", (1, 12, 16, 3), (0, 2, 3, 1))
    assert [port.name for port in artifact.outputs] == ["logits", "mask"]
    assert {port.shape for port in artifact.outputs} == {(1, 12, 16, 3)}


def test_a_convolutional_network_has_no_transpose_and_one_partition(artifact: Artifact) -> None:
    assert operations(artifact.path) == [
        *("CONCATENATION", "PAD", "CONV_2D", "CONV_2D", "ADD"),
        *("CONCATENATION", "RESHAPE", "CONCATENATION", "RESHAPE"),
        *("CONV_2D", "CONV_2D", "LOGISTIC"),
    ]
    assert partitions(artifact.path) == Partitions(1, ())


def test_partitions_name_what_xnnpack_does_not_run(tmp_path: Path) -> None:
    class Indexed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * 2).argmax(1).float() * 0.5

    found = case(tmp_path, Indexed(), [torch.rand(1, 3, 4, 4)])
    parts = partitions(to_tflite(found.export, tmp_path).path)
    assert (parts.count, parts.fallen) == (2, ("ARG_MAX", "CAST"))


@pytest.mark.parametrize(("sizes", "operation"), [((3, 3), "SPLIT"), ((1, 2, 3), "SLICE")])
def test_a_split_stays_in_the_partition(
    sizes: tuple[int, ...], operation: str, tmp_path: Path
) -> None:
    class Parts(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first, *others = (x * 2).split(sizes, 1)
            return torch.cat([*others, first * 3], 1)

    found = case(tmp_path, Parts(), [torch.rand(1, 6, 4, 4)])
    artifact = to_tflite(found.export, tmp_path)
    assert operation in operations(artifact.path)
    assert partitions(artifact.path) == Partitions(1, ())
    assert worst(tflite_outputs(artifact, found.inputs), found.outputs) <= 1e-6


def test_a_constant_that_is_an_output_stays_float32(tmp_path: Path) -> None:
    """XNNPACK runs no DEQUANTIZE of a constant that makes an output, and none but it."""

    class Given(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            anchors = torch.linspace(0, 1, 12).half().float()
            self.register_buffer("anchors", anchors.reshape(1, 3, 2, 2))
            self.register_buffer("table", torch.ones(1, 3, 4, 4) / 4)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return self.anchors, x + self.table, x[..., :2, :2] * self.anchors

    names = ["given", "y", "small"]
    found = case(tmp_path, Given(), [torch.rand(1, 3, 4, 4)], names, precision="float16")
    artifact = to_tflite(found.export, tmp_path)
    assert worst(tflite_outputs(artifact, found.inputs), found.outputs) == 0


@pytest.mark.parametrize("channels", [1, 2])
def test_one_number_behind_a_transposed_convolution_is_a_bias_of_each_channel(
    channels: int, tmp_path: Path
) -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(3, channels, 3, stride=2, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.up(x) - 0.3).relu()

    found = case(tmp_path, Shifted(), [torch.rand(1, 3, 4, 4)])
    artifact = to_tflite(found.export, tmp_path)
    assert worst(tflite_outputs(artifact, found.inputs), found.outputs) <= 1e-6


def test_a_constant_of_several_operations_stays_in_the_partition(tmp_path: Path) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
            self.second.bias = self.first.bias

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert self.first.bias is not None
            shown = (x * 2 + self.first.bias.view(1, 3, 1, 1)).relu()
            return self.second(self.first(shown))

    torch.manual_seed(0)
    found = case(tmp_path, Shared(), [torch.rand(1, 3, 9, 9)], precision="float16")
    artifact = to_tflite(found.export, tmp_path)
    assert partitions(artifact.path) == Partitions(1, ())
    assert worst(tflite_outputs(artifact, found.inputs), found.outputs) <= 1e-2


@pytest.mark.parametrize(("width", "count"), [(2, 1), (40, 2)])
def test_a_small_constant_padding_stays_in_the_partition(
    width: int, count: int, tmp_path: Path
) -> None:
    class Bordered(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.pad(x * 2, (0, 1, width, 0), value=0.7) * 3

    found = case(tmp_path, Bordered(), [torch.rand(1, 3, 4, 200)])
    artifact = to_tflite(found.export, tmp_path)
    parts = partitions(artifact.path)
    assert (parts.count, "PADV2" in parts.fallen) == (count, count > 1)
    assert artifact.path.stat().st_size < 20_000
    assert worst(tflite_outputs(artifact, found.inputs), found.outputs) <= 1e-6


def test_float16_halves_the_file_and_stays_close(heads: Case, tmp_path: Path) -> None:
    full = to_tflite(heads.export, tmp_path).path.stat().st_size
    artifact = to_tflite(replace(heads.export, precision="float16"), tmp_path)
    error = worst(tflite_outputs(artifact, heads.inputs), heads.outputs)
    assert 1e-6 < error < 2e-3
    assert artifact.path.stat().st_size < 0.75 * full
    assert partitions(artifact.path) == Partitions(1, ())


def test_float16_keeps_epsilons_and_what_it_cannot_hold_in_float32(tmp_path: Path) -> None:
    class Extremes(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / (x.abs() + 1e-9) + x * torch.tensor([1e6, 1.0]).view(1, 2, 1, 1)

    found = case(tmp_path, Extremes(), [torch.rand(1, 2, 4, 4) * 1e-3], precision="float16")
    outputs = tflite_outputs(to_tflite(found.export, tmp_path), found.inputs)
    assert worst(outputs, found.outputs) <= 1e-5


CONVERT = """
import json, sys, time
time.time = lambda: 4e9
from pathlib import Path
from converters.{format} import convert
from converters.api import Export
export = Export.from_json(json.load(open(sys.argv[1])))
convert.convert(export, Path(sys.argv[2]))
assert not {{"torch", "keras"}} & set(sys.modules), "a conversion loads what it does not need"
"""


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_another_process_folder_and_day_give_the_same_bytes(
    heads: Case, tmp_path: Path, precision: str
) -> None:
    import json

    export = replace(heads.export, precision=precision)
    here = to_tflite(export, tmp_path).path.read_bytes()
    (tmp_path / "export.json").write_text(json.dumps(export.to_json()))
    (tmp_path / "there").mkdir()
    subprocess.run(
        [sys.executable, "-c", CONVERT.format(format="tflite"), "export.json", "there"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "there" / "model.tflite").read_bytes() == here


def test_a_perturbed_weight_shows(heads: Case, artifact: Artifact) -> None:
    mutate_tf.perturb_tflite(artifact.path)
    assert worst(tflite_outputs(artifact, heads.inputs), heads.outputs) > 1e-2


def test_a_truncated_file_is_a_bad_artifact(artifact: Artifact) -> None:
    mutate_tf.truncate(artifact.path)
    with pytest.raises(BadArtifact, match=r"LiteRT ended|is not a model"):
        open_tflite(artifact)


def test_an_empty_file_is_a_bad_artifact(artifact: Artifact) -> None:
    mutate_tf.truncate(artifact.path, keep=0)
    with pytest.raises(BadArtifact, match="is not a model"):
        open_tflite(artifact)


def test_a_missing_file_is_a_bad_artifact(artifact: Artifact) -> None:
    artifact.path.unlink()
    with pytest.raises(BadArtifact, match="does not exist"):
        open_tflite(artifact)


def test_a_port_that_the_file_lacks_is_a_bad_artifact(artifact: Artifact) -> None:
    ports = (replace(artifact.outputs[0], stored_as="other"), artifact.outputs[1])
    with pytest.raises(BadArtifact, match="outputs are"):
        open_tflite(replace(artifact, outputs=ports))


def test_nchw_for_nhwc_is_a_bad_artifact(artifact: Artifact) -> None:
    port = Port("logits", "logits", (1, 3, 12, 16), (0, 1, 2, 3))
    with pytest.raises(BadArtifact, match=r"\(1, 12, 16, 3\) in the file"):
        open_tflite(replace(artifact, outputs=(port, artifact.outputs[1])))


def test_another_type_is_a_bad_artifact(artifact: Artifact) -> None:
    port = replace(artifact.inputs[0], dtype="int32")
    with pytest.raises(BadArtifact, match="float32"):
        open_tflite(replace(artifact, inputs=(port, artifact.inputs[1])))


def test_a_missing_input_is_refused(heads: Case, artifact: Artifact) -> None:
    runner = open_tflite(artifact)
    with pytest.raises(BadArtifact, match="given inputs"):
        runner.run({"x": heads.inputs["x"]})
    runner.close()


def test_outputs_of_one_shape_are_bound_by_name(heads: Case, artifact: Artifact) -> None:
    swapped = replace(
        artifact,
        outputs=(
            replace(artifact.outputs[0], name="mask"),
            replace(artifact.outputs[1], name="logits"),
        ),
    )
    outputs = tflite_outputs(swapped, heads.inputs)
    np.testing.assert_allclose(outputs["mask"], heads.outputs["logits"], atol=1e-6)


def test_a_folder_that_does_not_exist_cannot_be_written(heads: Case, tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="cannot write"):
        to_tflite(heads.export, tmp_path / "missing")


def test_what_nobody_can_lower_is_refused_by_name(tmp_path: Path) -> None:
    import onnx

    node = onnx.helper.make_node("Det", ["x"], ["y"], "decoder/det")
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node],
        "net",
        [onnx.helper.make_tensor_value_info("x", kind, [1, 2, 3, 3])],
        [onnx.helper.make_tensor_value_info("y", kind, [1, 2])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    onnx.save(model, tmp_path / "model.onnx")
    from converters.api import Export
    from model_defs.spec import TensorSpec

    export = Export(
        tmp_path,
        (TensorSpec("x", (1, 2, 3, 3), "features"),),
        (TensorSpec("y", (1, 2), "features", tolerance=1e-5),),
        "float32",
    )
    with pytest.raises(UnsupportedOperation, match=r"^Det: not among.*onnx2tf") as caught:
        to_tflite(export, tmp_path)
    assert "decoder/det" in caught.value.where
