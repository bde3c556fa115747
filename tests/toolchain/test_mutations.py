"""Parity, fed with artifacts that were tampered with: each must fail and say why."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from converters import formats
from converters.api import Artifact, Port, Program
from converters.capture import capture
from converters.export import export
from converters.processes.worker import Worker
from converters.reference import ReferenceRunner
from model_defs.errors import MlshipError
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.bundle.parity_report import ParityReport, ParityRow
from toolchain.data import cases
from toolchain.parity import compare
from toolchain.parity.reference import Reference

SIDE = 8
IMAGE = TensorSpec("image", (1, 3, SIDE, SIDE), "image", low=0, high=1)
FORMATS = ("coreml", "tflite", "tfjs")


def output(name: str) -> TensorSpec:
    """As many channels as rows and columns: NCHW and NHWC have the same shape."""
    return TensorSpec(name, (1, SIDE, SIDE, SIDE), "map", low=0, high=1, tolerance=0.01)


class TwoHeads(nn.Module):
    """(1, 3, 8, 8) -> two maps of (1, 8, 8, 8), computed with stride, padding and two kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.left = nn.ConvTranspose2d(16, SIDE, 4, stride=2, padding=1)
        self.right = nn.Conv2d(16, SIDE * 4, 1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.down(image).relu()
        return self.left(x).sigmoid(), self.shuffle(self.right(x)).sigmoid()


@dataclass(frozen=True)
class Proof:
    """An artifact, and what is needed to judge it again."""

    program: Program
    artifact: Artifact
    inputs: dict[str, dict[str, np.ndarray]]
    expected: dict[str, dict[str, np.ndarray]]

    def judge(self, artifact: Artifact | None = None) -> ParityReport:
        """The report on an artifact; one that cannot be opened fails with the error's words."""
        outputs = (output("left"), output("right"))
        try:
            runner = formats.open_runner(artifact or self.artifact)
        except MlshipError as error:
            row = ParityRow("-", "-", "left", "failed", None, None, note=error.what)
            return ParityReport((row,), ("-",))
        try:
            known = Reference(self.inputs, self.expected, outputs, program=self.program)
            held = replace(known, question="faithful")
            rows = compare.check(runner, [held])
        finally:
            runner.close()
        return ParityReport(rows, (runner.backend,), ("faithful",))


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Proof]:
    """One small model in every format, float32."""
    root = tmp_path_factory.mktemp("originals")
    spec = ModelSpec("heads", TwoHeads, (IMAGE,), (output("left"), output("right")))
    program = capture(spec)
    exported = export(program, root / "export")
    inputs = cases.build(spec.inputs)
    reference = ReferenceRunner(program)
    expected = {case: reference.run(tensors) for case, tensors in inputs.items()}
    proofs = {}
    for name in FORMATS:
        (root / name).mkdir()
        with Worker(name) as worker:
            proofs[name] = Proof(program, worker.convert(exported, root / name), inputs, expected)
    return proofs


@pytest.fixture(params=FORMATS)
def proof(request: pytest.FixtureRequest, originals: dict[str, Proof], tmp_path: Path) -> Proof:
    """A copy that may be tampered with."""
    return copied(originals[request.param], tmp_path)


def copied(original: Proof, folder: Path) -> Proof:
    import shutil

    path = folder / original.artifact.path.name
    copy = shutil.copytree if original.artifact.path.is_dir() else shutil.copy
    copy(original.artifact.path, path)
    return replace(original, artifact=replace(original.artifact, path=path))


def weight_file(artifact: Artifact) -> Path:
    """The file that holds the weights."""
    if artifact.format == "tflite":
        return artifact.path
    pattern = "**/weight.bin" if artifact.format == "coreml" else "*.bin"
    (path,) = artifact.path.glob(pattern)
    return path


def edit_weight(artifact: Artifact, change: Callable[[float], float]) -> None:
    """Change one number of the kernel of `right`, found by its value in the file's bytes."""
    torch.manual_seed(0)
    module = TwoHeads()
    with torch.no_grad():
        liveliest = int(module.down(torch.full(IMAGE.shape, 0.5)).mean(dim=(0, 2, 3)).argmax())
    value = module.right.weight.detach().numpy()[3, liveliest, 0, 0]
    path = weight_file(artifact)
    data = path.read_bytes()
    old, new = value.tobytes(), np.float32(change(float(value))).tobytes()
    assert data.count(old) == 1, "the weight is not stored once, as float32"
    path.write_bytes(data.replace(old, new))


def test_an_honest_artifact_passes(proof: Proof) -> None:
    report = proof.judge()
    assert report.ok, report.problems


def test_one_perturbed_weight_fails(proof: Proof) -> None:
    edit_weight(proof.artifact, lambda w: w + 0.25)
    report = proof.judge()
    assert not report.ok
    assert any("'right'" in p and "times the tolerance" in p for p in report.problems)
    assert not any("'left'" in p for p in report.problems)


def test_a_nan_in_the_weights_fails(proof: Proof) -> None:
    edit_weight(proof.artifact, lambda w: float("nan"))
    assert any("NaN" in p for p in proof.judge().problems)


def swap(ports: tuple[Port, ...]) -> tuple[Port, ...]:
    first, second = ports
    return (
        replace(first, stored_as=second.stored_as),
        replace(second, stored_as=first.stored_as),
    )


def test_swapped_outputs_fail(proof: Proof) -> None:
    swapped = replace(proof.artifact, outputs=swap(proof.artifact.outputs))
    report = proof.judge(swapped)
    assert any("'left'" in p and "times the tolerance" in p for p in report.problems)
    assert any("'right'" in p and "times the tolerance" in p for p in report.problems)


def test_the_other_layout_of_the_same_shape_fails(proof: Proof) -> None:
    other = (0, 2, 3, 1) if proof.artifact.format == "coreml" else (0, 1, 2, 3)
    ports = tuple(replace(port, axes=other) for port in proof.artifact.outputs)
    report = proof.judge(replace(proof.artifact, outputs=ports))
    assert any("times the tolerance" in p for p in report.problems)


def test_the_other_layout_of_another_shape_fails(proof: Proof) -> None:
    ports = tuple(replace(port, shape=(1, SIDE, SIDE * SIDE)) for port in proof.artifact.outputs)
    assert not proof.judge(replace(proof.artifact, outputs=ports)).ok


def test_a_missing_output_fails(proof: Proof) -> None:
    ports = (proof.artifact.outputs[0], replace(proof.artifact.outputs[1], stored_as="gone"))
    report = proof.judge(replace(proof.artifact, outputs=ports))
    assert any("gone" in p or "missing" in p for p in report.problems), report.problems


def test_a_truncated_artifact_fails(proof: Proof) -> None:
    path = weight_file(proof.artifact)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert not proof.judge().ok


@pytest.mark.parametrize(("operation", "argument"), [("conv", "pad"), ("conv", "strides")])
def test_a_flipped_attribute_of_a_core_ml_program_fails(
    originals: dict[str, Proof], tmp_path: Path, operation: str, argument: str
) -> None:
    from tests.converters.mil.mil_mutation import flip_constant

    proof = copied(originals["coreml"], tmp_path)
    flip_constant(proof.artifact.path, operation, argument)
    report = proof.judge()
    assert not report.ok
    assert all(operation in p for p in report.problems), report.problems


def test_a_flipped_attribute_of_a_tfjs_model_fails(
    originals: dict[str, Proof], tmp_path: Path
) -> None:
    proof = copied(originals["tfjs"], tmp_path)
    path = proof.artifact.path / "model.json"
    model: Any = json.loads(path.read_text())
    nodes = model["modelTopology"]["node"]
    found = (node.get("attr", {}) for node in nodes)
    stride = next(attr["strides"]["list"]["i"] for attr in found if "strides" in attr)
    stride[1] = stride[2] = "1" if stride[1] != "1" else "2"
    path.write_text(json.dumps(model))
    assert not proof.judge().ok
