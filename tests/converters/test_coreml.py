"""Exports to Core ML packages: right numbers, the same bytes, and refusals that say what."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters import export as exporting
from converters import mil
from converters.api import Artifact, Export, Program
from converters.coreml import convert, defects
from converters.coreml.reproducible import CONVERSION_DATE, make_reproducible
from converters.coreml.runner import open_runner
from converters.coreml.tools import coremltools, quiet
from converters.mil.package import model_files, read_model
from model_defs.errors import BadArtifact, ConversionFailed, UnsupportedOperation
from model_defs.spec import ModelSpec, TensorSpec


class Net(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


class Small(nn.Module):
    """Convolution, normalisation, a resize: two outputs of different sizes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.norm.running_mean.uniform_(-1, 1)
        self.norm.running_var.uniform_(0.5, 2)
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu6(self.norm(self.conv(image)))
        y = F.interpolate(self.head(x), scale_factor=2.0, mode="bilinear")
        return y.sigmoid(), x.mean((2, 3))


def export(
    folder: Path,
    module: nn.Module,
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
    precision: str = "float32",
) -> Export:
    spec = ModelSpec(
        "net",
        lambda: module,
        tuple(TensorSpec(n, s, "features") for n, s in inputs.items()),
        tuple(TensorSpec(n, s, "features", tolerance=1e-3) for n, s in outputs.items()),
    )
    written = exporting.export(Program(spec, module.eval()), folder, onnx=False)
    return replace(written, precision=precision)


def small(folder: Path, precision: str = "float32") -> Export:
    outputs = {"shade": (1, 1, 16, 24), "means": (1, 8)}
    return export(folder, Small(), {"image": (1, 3, 16, 24)}, outputs, precision)


def one(
    folder: Path, function: Callable[..., Any], shape: tuple[int, ...] = (1, 4, 8, 8)
) -> Export:
    """An export of a function of one tensor `x` with one result `y` of any shape."""
    result = function(torch.rand(shape))
    return export(folder, Net(function), {"x": shape}, {"y": tuple(result.shape)})


def package_bytes(path: Path) -> dict[str, str]:
    return {
        str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(path.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    folder = tmp_path_factory.mktemp("small")
    return {
        precision: convert.convert(small(folder / precision, precision), folder / precision)
        for precision in ("float32", "float16")
    }


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("float16", 5e-3)])
def test_the_package_computes_what_pytorch_does(
    artifacts: dict[str, Artifact], precision: str, tolerance: float
) -> None:
    image = np.random.default_rng(0).random((1, 3, 16, 24), np.float32)
    runner = open_runner(artifacts[precision])
    ours = runner.run({"image": image})
    theirs = Small().eval()(torch.from_numpy(image))
    assert set(ours) == {"shade", "means"}
    for name, expected in zip(("shade", "means"), theirs, strict=True):
        error = np.abs(ours[name] - expected.detach().numpy()).max()
        assert error < tolerance, name
        assert precision == "float32" or error > 1e-6, "fp16 left no trace"
    runner.close()


def test_float16_stores_half_the_bytes_and_keeps_float32_at_the_ports(
    artifacts: dict[str, Artifact],
) -> None:
    package = mil.open_package(artifacts["float16"].path)
    assert [str(v.type) for v in package.main.inputs] == ["fp32[1, 3, 16, 24]"]
    assert {p.dtype for p in artifacts["float16"].outputs} == {"float32"}
    conv = next(o for o in package.main.block.operations if o.type == "conv")
    assert str(conv.results[0].type).startswith("fp16")


def test_a_package_for_ios16(artifacts: dict[str, Artifact]) -> None:
    assert mil.open_package(artifacts["float32"].path).main.opset == "CoreML6"


CONVERT = """
import json, sys, time
from pathlib import Path
if sys.argv[3]:
    import datetime
    later = float(sys.argv[3])
    class Later(datetime.date):
        @classmethod
        def today(cls):
            return cls.fromtimestamp(later)
    datetime.date = Later
    time.time = lambda: later
from converters.coreml import convert
from converters.api import Export
export = Export.from_json(json.loads(sys.argv[1]))
print(convert.convert(export, Path(sys.argv[2])).notes)
"""


def convert_elsewhere(source: Export, folder: Path, later: str) -> subprocess.Popen:
    """Converts in a process of its own, with another working directory, home and date."""
    folder.mkdir()
    root = Path(convert.__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", CONVERT, json.dumps(source.to_json()), str(folder), later],
        cwd=folder,
        env={
            **os.environ,
            "HOME": str(folder),
            "PYTHONPATH": str(root),
            "PYTHONHASHSEED": later or "1",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_the_same_bytes_on_another_day_in_another_folder_and_process(tmp_path: Path) -> None:
    source = small(tmp_path / "export", "float16")
    jobs = [
        convert_elsewhere(source, tmp_path / "one", ""),
        convert_elsewhere(source, tmp_path / "two", "2000000000"),
    ]
    assert [job.wait() for job in jobs] == [0, 0]
    first, second = (package_bytes(tmp_path / name / convert.FILE) for name in ("one", "two"))
    assert len(first) == 3
    assert first == second


def test_a_package_without_our_clean_up_differs_from_day_to_day(tmp_path: Path) -> None:
    """What `make_reproducible` is for: without it there is a date in the model."""
    ct = coremltools()
    source = one(tmp_path / "export", lambda x: x + 1)
    module = torch.jit.load(str(source.torchscript))
    with quiet():
        model = ct.convert(
            module,
            inputs=[ct.TensorType("x", (1, 4, 8, 8))],
            minimum_deployment_target=ct.target.iOS16,
            skip_model_load=True,
        )
        model.save(str(tmp_path / "raw.mlpackage"))
    model_file, _ = model_files(tmp_path / "raw.mlpackage")
    assert CONVERSION_DATE in read_model(model_file).description.metadata.userDefined
    before = package_bytes(tmp_path / "raw.mlpackage")
    make_reproducible(tmp_path / "raw.mlpackage")
    after = package_bytes(tmp_path / "raw.mlpackage")
    assert CONVERSION_DATE not in read_model(model_file).description.metadata.userDefined
    assert before["Manifest.json"] != after["Manifest.json"]


REPAIRED: dict[str, Callable[[Tensor], Tensor]] = {
    "reciprocal": lambda x: 1 / (x * 1e-3 + 1e-4),
    "rsqrt": lambda x: torch.rsqrt(x * 1e-12 + 1e-12),
    "log": lambda x: torch.log((x - 0.5).relu()),
    "log2": lambda x: torch.log2((x - 0.5).relu()),
    "log10": lambda x: torch.log10((x - 0.5).relu()),
    "hardtanh": lambda x: F.hardtanh(x * 3 - 1, 0, 1),
    "max_pool1d": lambda x: F.max_pool1d(x.flatten(2)[:, :, :9], 2, 3, ceil_mode=True),
    "max_pool2d": lambda x: F.max_pool2d(x[:, :, :3], 2, 3, ceil_mode=True),
    "avg_pool1d": lambda x: F.avg_pool1d(x.flatten(2)[:, :, :9], 2, 3, ceil_mode=True),
    "avg_pool2d": lambda x: F.avg_pool2d(x[:, :, :3], 2, 3, ceil_mode=True),
    "fake_quantize_per_tensor_affine": lambda x: torch.fake_quantize_per_tensor_affine(
        x, 0.01, -100, -128, 127
    ),
}
EPSILONS = dict.fromkeys(("log", "log2", "log10"), "log-epsilon")
REFUSED = {
    "hardtanh": "hardtanh",
    "fake_quantize_per_tensor_affine": "fake_quantize",
    "reciprocal": "inverse-epsilon",
    "rsqrt": "rsqrt-epsilon",
    **EPSILONS,
}
"""Without the repair."""


@pytest.mark.parametrize("defect", REPAIRED)
def test_repairs(defect: str, tmp_path: Path) -> None:
    artifact = convert.convert(one(tmp_path, REPAIRED[defect]), tmp_path)
    x = np.random.default_rng(1).random((1, 4, 8, 8), np.float32)
    ours = open_runner(artifact).run({"x": x})["y"]
    theirs = REPAIRED[defect](torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("defect", REPAIRED)
def test_coremltools_still_needs_the_repair(
    defect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard of the guards: when this fails, coremltools is fixed and the repair can go."""
    coremltools()
    from coremltools.converters.mil.frontend.torch import ops
    from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY

    registered = _TORCH_OPS_REGISTRY.name_to_func_mapping
    original = getattr(ops, defect, ops.max_pool1d)  # of which max_pool2d is an alias
    monkeypatch.setitem(registered, defect, original)
    monkeypatch.setattr(defects, "repair", lambda: None)
    source = one(tmp_path, REPAIRED[defect])
    if "pool" in defect:
        with pytest.raises(BadArtifact, match="is stored as"):
            convert.convert(source, tmp_path)
        return
    with pytest.raises(UnsupportedOperation, match=REFUSED[defect]):
        convert.convert(source, tmp_path)


def masked(x: Tensor) -> Tensor:
    return torch.where(x > 0.5, x, torch.zeros_like(x))


def test_zeros_like_is_not_stored(tmp_path: Path) -> None:
    source = one(tmp_path, masked, (1, 8, 64, 64))
    artifact = convert.convert(source, tmp_path)
    assert sum(p.stat().st_size for p in artifact.path.rglob("*") if p.is_file()) < 20_000
    assert artifact.notes == ()
    x = np.random.default_rng(1).random((1, 8, 64, 64), np.float32)
    ours = open_runner(artifact).run({"x": x})["y"]
    np.testing.assert_array_equal(ours, masked(torch.from_numpy(x)).numpy())


def test_layers_may_have_any_letters(tmp_path: Path) -> None:
    net = nn.Sequential()
    for name, layer in (
        ("größe", nn.Conv2d(2, 3, 3)),
        ("层 7", nn.BatchNorm2d(3)),
        ("\u202e", nn.ReLU()),
    ):
        net.add_module(name, layer)
    artifact = convert.convert(
        export(tmp_path, net, {"x": (1, 2, 8, 8)}, {"y": (1, 3, 6, 6)}), tmp_path
    )
    x = np.random.default_rng(1).random((1, 2, 8, 8), np.float32)
    ours = open_runner(artifact).run({"x": x})["y"]
    np.testing.assert_allclose(ours, net(torch.from_numpy(x)).detach().numpy(), atol=1e-5)


def test_other_large_repeated_numbers_are_noted(tmp_path: Path) -> None:
    source = one(tmp_path, lambda x: x + torch.full((1, 8, 64, 64), 0.25), (1, 8, 64, 64))
    (note,) = convert.convert(source, tmp_path).notes
    assert "0.13 MB of 0.25" in note


def test_refuses_what_core_ml_does_not_load_by_the_rule_s_name(tmp_path: Path) -> None:
    """A product of integers that is too large to be written out."""
    weight = torch.ones(512, 512, dtype=torch.int64)
    source = one(tmp_path, lambda x: (x.reshape(1, 256).repeat(512, 2).long() @ weight).float())
    with pytest.raises(UnsupportedOperation, match=r"^integer-product: Core ML fails") as caught:
        convert.convert(source, tmp_path)
    assert "test_coreml.py" in caught.value.where


def test_refuses_an_unknown_operation_with_its_line(tmp_path: Path) -> None:
    source = one(tmp_path, lambda x: torch.median(x, 1).values)
    with pytest.raises(UnsupportedOperation, match="aten::median") as caught:
        convert.convert(source, tmp_path)
    assert "test_coreml.py" in caught.value.where


RIGHT: dict[str, Callable[[Tensor], Tensor]] = {
    "selu": F.selu,
    "max pool without a stride": lambda x: F.max_pool2d(x, 2),
    "average pool without a stride": lambda x: F.avg_pool2d(x, 3),
    "relu6": lambda x: F.relu6(9 * x),
    "reflection": lambda x: F.pad(x, (5, 7, 3, 2), mode="reflect"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_other_routes_get_wrong_is_right_on_ours(name: str, tmp_path: Path) -> None:
    artifact = convert.convert(one(tmp_path, RIGHT[name]), tmp_path)
    x = np.random.default_rng(1).normal(size=(1, 4, 8, 8)).astype(np.float32)
    ours = open_runner(artifact).run({"x": x})["y"]
    np.testing.assert_allclose(ours, RIGHT[name](torch.from_numpy(x)).numpy(), atol=1e-6)


def test_refuses_an_unknown_precision(tmp_path: Path) -> None:
    source = one(tmp_path, lambda x: x + 1)
    with pytest.raises(ConversionFailed, match="float8"):
        convert.convert(Export(tmp_path, source.inputs, source.outputs, "float8"), tmp_path)


def renamed(artifact: Artifact, **changes: Any) -> Artifact:
    return Artifact(**{**vars(artifact), **changes})


def test_a_runner_refuses_ports_that_the_package_does_not_have(
    artifacts: dict[str, Artifact],
) -> None:
    artifact = artifacts["float32"]
    port = artifact.outputs[0]
    liars = {
        "stored": type(port)(port.name, "elsewhere", port.shape, port.axes),
        "not \\(1, 16, 24, 1\\)": type(port)(port.name, port.name, (1, 16, 24, 1), (0, 2, 3, 1)),
        "not float16": type(port)(port.name, port.name, port.shape, port.axes, "float16"),
    }
    for message, liar in liars.items():
        with pytest.raises(BadArtifact, match=message):
            open_runner(renamed(artifact, outputs=(liar, artifact.outputs[1])))


def test_a_runner_refuses_other_inputs(artifacts: dict[str, Artifact]) -> None:
    runner = open_runner(artifacts["float32"])
    with pytest.raises(BadArtifact, match="picture"):
        runner.run({"picture": np.zeros((1, 3, 16, 24), np.float32)})
    with pytest.raises(BadArtifact, match="shape"):
        runner.run({"image": np.zeros((1, 3, 24, 16), np.float32)})


class FakeModel:
    """The documented part of coremltools.models.MLModel that we use on a Mac."""

    opened: list[tuple[str, Any, str | None]] = []  # noqa: RUF012 - it records what it is given

    def __init__(self, path: str, compute_units: Any, function_name: str | None) -> None:
        self.opened.append((path, compute_units, function_name))

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert set(inputs) == {"image"}
        return {"shade": inputs["image"][:, :1] * 2, "means": np.ones((1, 8), np.float16)}


def test_on_a_mac_core_ml_itself_runs(
    artifacts: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    ct = coremltools()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ct.models, "MLModel", FakeModel)
    runner = open_runner(artifacts["float32"], compute="cpu_and_gpu")
    assert runner.backend == "coreml-gpu"
    image = np.random.default_rng(0).random((1, 3, 16, 24), np.float32)
    outputs = runner.run({"image": image})
    path = str(artifacts["float32"].path)
    assert FakeModel.opened[-1] == (path, ct.ComputeUnit.CPU_AND_GPU, None)
    open_runner(replace(artifacts["float32"], entry="size_32x24"))
    assert FakeModel.opened[-1] == (path, ct.ComputeUnit.ALL, "size_32x24")
    np.testing.assert_array_equal(outputs["shade"], image[:, :1] * 2)
    assert outputs["means"].dtype == np.float32


def test_the_import_leaves_tensorflow_alone_and_says_nothing() -> None:
    script = """
        from converters.coreml.tools import coremltools
        coremltools()
        import sys
        assert sys.modules.get("tensorflow") is None
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        cwd=Path(convert.__file__).parents[2],
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout == ""
