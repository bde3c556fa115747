"""`mlship blame`: the layer that a fault was put into is named on every backend, no other is."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from layer_faults import FAULTS
from onnx import load, save
from own_models import Two
from torch import nn

from converters import backends
from converters.api import Program
from converters.backends import WATCHES
from converters.capture import capture
from converters.export import export
from converters.intermediates import onnx
from converters.intermediates.guide import Guide
from converters.intermediates.origins import origins
from model_defs import lookup
from model_defs.errors import BackendUnavailable
from toolchain.bundle.bundle import Bundle
from toolchain.cli.main import main
from toolchain.data import cases
from toolchain.debug import stages
from toolchain.debug.blame import BackendBlame, layers_of
from toolchain.parity.reference import Reference
from toolchain.parity.subject import Subject
from toolchain.recipes import pipeline, recipes

TARGETS = {"coreml": "ios", "tflite": "android", "tfjs": "web"}


@dataclass(frozen=True)
class Known:
    """The model `two` as it was converted, and its values on one picture."""

    two: Two
    program: Program
    converted: Program
    guide: Guide

    def subject(self, kind: str, folder: Path) -> Subject:
        """Its bundle of a format, copied so that it may be tampered with."""
        bundle = self.two.bundles[TARGETS[kind]]
        shutil.copytree(bundle.directory, folder, dirs_exist_ok=True)
        copied = Bundle(folder, bundle.manifest)
        reference = Reference({"photo": dict(self.guide.inputs)}, {}, bundle.outputs)
        return Subject(copied, reference, self.program)

    def blamed(self, subject: Subject, backend: str) -> BackendBlame:
        return layers_of(subject, backend, self.guide, None)


@pytest.fixture(scope="module")
def known(two: Two, tmp_path_factory: pytest.TempPathFactory) -> Known:
    program = capture(lookup.load(lookup.expand(two.model)[0]))
    converted = pipeline.run(program, recipes.find("fp16").load())
    inputs = cases.build(program.spec.inputs, ("photo",))["photo"]
    guide = Guide(export(converted, tmp_path_factory.mktemp("export")), inputs)
    return Known(two, program, converted, guide)


@pytest.mark.parametrize("backend", WATCHES)
def test_a_clean_bundle_names_no_layer(backend: str, known: Known, tmp_path: Path) -> None:
    kind = backends.find(backend).format
    blamed = known.blamed(known.subject(kind, tmp_path), backend)
    assert len(blamed.layers) >= 7
    assert blamed.first is None


@pytest.mark.parametrize("backend", WATCHES)
@pytest.mark.parametrize("name", FAULTS)
def test_the_layer_with_the_fault_is_named(
    name: str, backend: str, known: Known, tmp_path: Path
) -> None:
    fault, kind = FAULTS[name], backends.find(backend).format
    subject = known.subject(kind, tmp_path)
    fault.put(kind, subject.artifact.path, known.converted)
    blamed = known.blamed(subject, backend)
    assert blamed.first is not None
    named = {x for layer in blamed.first.layers for x in (layer.module, layer.operation)}
    assert fault.layer in named
    assert [layer for layer in blamed.layers if layer.off] == [blamed.first]
    assert "net.py:" in blamed.first.source


@pytest.mark.parametrize("backend", ["litert", "tfjs-wasm"])
def test_a_missing_activation_is_called_that(backend: str, known: Known, tmp_path: Path) -> None:
    kind = backends.find(backend).format
    subject = known.subject(kind, tmp_path)
    FAULTS["the relu after middle is dropped"].put(kind, subject.artifact.path, known.converted)
    first = known.blamed(subject, backend).first
    assert first is not None
    assert first.note == "holds what middle (conv2d) gives: what follows it is missing"


def test_nan_is_called_that(known: Known, tmp_path: Path) -> None:
    subject = known.subject("coreml", tmp_path)
    FAULTS["a weight of middle is NaN"].put("coreml", subject.artifact.path, known.converted)
    first = known.blamed(subject, "mil").first
    assert first is not None
    assert "NaN" in first.note


def coarse(program: Program, name: str) -> Program:
    """The program with one layer's weights of few levels, as a quantiser would leave them."""
    import copy

    module = copy.deepcopy(program.module)
    with torch.no_grad():
        weight = module.get_parameter(f"{name}.weight")
        step = weight.abs().max() / 4
        weight.copy_((weight / step).round() * step)
    return replace(program, module=module)


@pytest.mark.parametrize("layer", ["down", "middle", "right"])
def test_layers_are_ranked_by_what_quantisation_did(
    layer: str, known: Known, tmp_path: Path
) -> None:
    """The file is right, its numbers are coarse in one layer: ranked first, and not blamed."""
    rough = Guide(export(coarse(known.converted, layer), tmp_path / "rough"), known.guide.inputs)
    subject = known.subject("tflite", tmp_path / "bundle")
    from converters.processes.worker import Worker

    with Worker("tflite") as worker:
        made = worker.convert(rough.export, tmp_path)
    shutil.copy(made.path, subject.artifact.path)
    blamed = layers_of(subject, "litert", rough, known.guide)
    assert blamed.first is None
    assert layer in {x.module for x in blamed.ranked[0].layers}
    assert blamed.ranked[0].added > 5 * blamed.ranked[1].added


@dataclass(frozen=True)
class Bad:
    """A pass that changes one layer."""

    name: str = "bad"
    exact: bool = False

    def __call__(self, program: Program) -> Program:
        import copy

        module = copy.deepcopy(program.module)
        with torch.no_grad():
            module.get_parameter("middle.weight").mul_(-3)
        return replace(program, module=module)


def test_the_pass_and_its_layer_are_named(known: Known) -> None:
    fold, _ = recipes.find("fp32").load()
    steps, _ = stages.of_passes(known.program, [fold, Bad()], known.guide.inputs)
    assert [step.parted for step in steps] == [False, True]
    assert (steps[1].name, steps[1].layer) == ("pass bad", "middle")


def test_folding_blames_no_convolution(known: Known) -> None:
    """Folded weights give another output of `down`, which is right again after `norm`."""
    fold, _ = recipes.find("fp32").load()
    assert stages.first_module(known.program, fold(known.program), known.guide.inputs) == ""


def test_onnx_values_are_paired_by_their_numbers(known: Known) -> None:
    names = known.guide.onnx_names
    layers = {layer.value: layer for layer in known.guide.traced.layers}
    assert len(names) == len(layers) == 11
    assert layers[names["/middle/Conv_output_0"]].module == "middle"


def test_equal_numbers_of_another_shape_are_no_pair() -> None:
    a = np.arange(6, dtype=np.float32)
    assert onnx.pairs({"x": a.reshape(2, 3)}, {"y": a.reshape(3, 2)}) == {}
    assert onnx.pairs({"x": a}, {"y": a + 1}) == {}
    assert onnx.pairs({"x": a, "z": a}, {"y": a, "w": a}) == {"x": "y", "z": "w"}


def test_a_graph_that_our_lowering_refuses_is_skipped_with_the_reason(
    known: Known, tmp_path: Path
) -> None:
    refused = replace(known.guide.export, directory=tmp_path)
    shutil.copytree(known.guide.export.directory, tmp_path, dirs_exist_ok=True)
    model = load(refused.onnx)
    next(n for n in model.graph.node if n.op_type == "Relu").op_type = "Sinh"
    save(model, refused.onnx)
    with pytest.raises(BackendUnavailable, match="written by onnx2tf: Sinh"):
        origins(refused, "tfjs")


class Shared(nn.Module):
    """One convolution called twice, and a list of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 3, padding=1)
        self.rest = nn.ModuleList([nn.Sequential(nn.Conv2d(3, 3, 1), nn.ELU()) for _ in range(2)])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.stem(self.stem(image).relu())
        for part in self.rest:
            x = x + part(x)
        first, *others = x.chunk(3, dim=1)
        return x.mean(dim=(2, 3), keepdim=True) * torch.cat([*others, first], dim=1)


def test_layers_have_the_names_of_their_modules(tmp_path: Path, known: Known) -> None:
    spec = replace(known.program.spec, build=Shared, outputs=known.program.spec.outputs[:1])
    spec = replace(spec, outputs=(replace(spec.outputs[0], shape=(1, 3, 32, 48)),))
    program = capture(spec)
    guide = Guide(export(program, tmp_path, onnx=False), known.guide.inputs)
    labels = [layer.label for layer in guide.traced.layers]
    assert labels[:3] == ["stem (conv2d)", "relu", "stem (conv2d)"]
    assert labels[3:6] == ["rest.0.0 (conv2d)", "rest.0.1 (elu)", "add"]
    image = torch.from_numpy(known.guide.given[0])
    (out,) = guide.traced.outputs
    np.testing.assert_array_equal(guide.truth[out], program.module(image).detach().numpy())


def mlship(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["blame", *map(str, arguments)])


def test_the_command_on_a_clean_bundle(two: Two, tmp_path: Path) -> None:
    colours, drawn = tmp_path / "nodes.json", tmp_path / "layers.html"
    where = two.bundles["android"].directory
    files = ("--node-data", colours, "--html", drawn)
    result = mlship(where, "--model", two.model, "--json", *files)
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    assert found["stage"] is None
    assert [b["backend"] for b in found["backends"]] == ["litert", "litert-reference"]
    stages = [stage["name"] for stage in found["stages"]]
    assert stages[:3] == ["pass fold-batchnorm", "pass fold-scales", "pass weights-fp16"]
    data: dict[str, Any] = json.loads(colours.read_text())
    layers = [layer for b in found["backends"] for layer in b["layers"]]
    assert drawn.read_text().count("<rect") == len(layers) >= 14
    assert "two-android: no layer is to blame" in drawn.read_text()
    names = {layer["stored_as"] for b in found["backends"] for layer in b["layers"]}
    assert set(data["main"]["results"]) == names
    assert all(entry["value"] >= 0 for entry in data["main"]["results"].values())


def test_the_command_prints_a_verdict(two: Two) -> None:
    where = two.bundles["ios"].directory
    result = mlship(where, "--model", two.model, "--backend", "mil", "--case", "noise")
    assert result.exit_code == 0, result.output
    assert "two-ios: no layer is to blame" in result.stdout
    assert "middle (conv2d)" in result.stdout
    assert "case noise" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name its model with --model"),
        (("--model", "MODEL", "--backend", "tfjs-webgl"), "backend that shows its layers"),
        (("--model", "MODEL", "--case", "nose"), "did you mean 'noise'?"),
    ],
)
def test_bad_arguments_are_explained(arguments: tuple[str, ...], words: str, two: Two) -> None:
    given = [two.model if a == "MODEL" else a for a in arguments]
    result = mlship(two.bundles["ios"].directory, *given)
    assert result.exit_code == 2
    assert words in result.stderr
