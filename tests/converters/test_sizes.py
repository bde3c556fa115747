"""One file of a model at several sizes: each as PyTorch computes it, weights in it once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import nn
from torch.nn import functional

from converters import formats, mil, sizes
from converters.api import Artifact, Export, Program
from converters.capture import capture, example
from converters.coreml.merge import merge
from converters.coreml.tools import coremltools
from converters.export import export_each
from converters.processes.worker import Worker
from converters.reference import ReferenceRunner
from converters.tflite.host import interpreter_of
from model_defs import lookup
from model_defs.errors import BadArtifact, BadModule, BadSpec, UnknownName, UnsupportedOption
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.quantization.activations import OnGrids
from toolchain.recipes import recipes

NAMES = ("32x32", "48x32", "16x64")
FURTHER = NAMES[1:]


class Net(nn.Module):
    """Mostly weights; a resize each way, and a ramp that each size has of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 64, 3, stride=2, padding=1)
        self.middle = nn.Conv2d(64, 128, 3, padding=1)
        self.last = nn.Conv2d(128, 2, 3, padding=1)

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        height, width = image.shape[2:]
        mask = functional.interpolate(mask, (height, width), mode="nearest")
        x = self.middle(self.first(torch.cat([image, mask], 1)).relu()).relu()
        x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        ramp = torch.linspace(0, 1, width) * torch.linspace(-1, 1, height)[:, None]
        return self.last(x).sigmoid() + ramp, x.mean((2, 3))


def spec_of(build: Callable[[], nn.Module]) -> ModelSpec:
    every = ((32, 32), (48, 32), (16, 64))
    halves = tuple((height // 2, width // 2) for height, width in every)
    image = TensorSpec("image", (1, 3, 32, 32), "image", low=0, high=1, sizes=every)
    mask = TensorSpec("mask", (1, 1, 16, 16), "mask", low=0, high=1, sizes=halves)
    outputs = (
        TensorSpec("map", (1, 2, 32, 32), "map", tolerance=0.02),
        TensorSpec("mean", (1, 128), "features", tolerance=0.02),
    )
    return ModelSpec("net", build, (image, mask), outputs)


def program_of(recipe: str) -> Program:
    torch.manual_seed(0)
    program = capture(spec_of(Net))
    for step in recipes.find(recipe).load():
        program = step(program)
    return program


def converted(
    program: Program, kind: str, folder: Path, names: tuple[str, ...] = NAMES
) -> Artifact:
    """The artifact of these sizes, as a build makes it."""
    exports = {}
    for name in names:
        at = sizes.at(program, name)
        source = formats.find(kind).source
        exports[name] = replace(export_each(at, folder / "exports" / name, (source,)), several=True)
    first, *rest = exports
    with Worker(kind) as worker:
        return worker.convert(
            exports[first], folder, further={name: exports[name] for name in rest}
        )


@pytest.fixture(scope="module", params=["coreml", "tflite", "tfjs"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp(request.param)
    return converted(program_of("fp16"), request.param, folder)


def check(artifact: Artifact, program: Program, tolerance: float, backend: str = "") -> None:
    """The default and every entry beside PyTorch at that size."""
    for name in (NAMES[0], *(entry.name for entry in artifact.entries)):
        at = sizes.at(program, name)
        given = {
            spec.name: tensor.numpy()
            for spec, tensor in zip(at.spec.inputs, example(at.spec, seed=3), strict=True)
        }
        want = ReferenceRunner(at).run(given)
        one = artifact if name == NAMES[0] else artifact.at(name)
        found = [b for b in formats.find(artifact.format).backends if b.name == backend]
        runner = found[0].open(one) if found else formats.open_runner(one)
        got = runner.run(given)
        runner.close()
        for output in at.spec.outputs:
            assert got[output.name].shape == output.shape == want[output.name].shape
            np.testing.assert_allclose(got[output.name], want[output.name], atol=tolerance, rtol=0)


def bytes_of(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def test_each_size_is_what_pytorch_computes_and_weights_are_stored_once(plain: Artifact) -> None:
    assert [entry.name for entry in plain.entries] == [*FURTHER]
    program = program_of("fp16")
    check(plain, program, 5e-3)
    weights = 2 * sum(parameter.numel() for parameter in program.module.parameters())
    ramps = 2 * sum(int(np.prod(list(map(int, name.split("x"))))) for name in NAMES)
    structure = {"coreml": 60_000, "tflite": 12_000, "tfjs": 40_000}[plain.format]
    assert weights < bytes_of(plain.path) < weights + 2 * ramps + structure
    stored = sum(
        item.bytes for item in formats.resolve(formats.find(plain.format).contents)(plain.path)
    )
    assert stored < 1.1 * weights


def test_an_entry_round_trips_and_a_size_that_is_not_there_is_refused(plain: Artifact) -> None:
    assert Artifact.from_json(json.loads(json.dumps(plain.to_json())), plain.path.parent) == plain
    with pytest.raises(UnknownName, match="64x64"):
        plain.at("64x64")
    lying = replace(plain.at("48x32"), entry="size_9x9")
    with pytest.raises(BadArtifact):
        formats.open_runner(lying)
    with pytest.raises(BadArtifact):
        formats.open_runner(replace(plain, entry=plain.entries[0].stored_as))


def test_damaged_weights_of_one_size_show_at_that_size_alone(
    plain: Artifact, tmp_path: Path
) -> None:
    path = tmp_path / plain.path.name
    (shutil.copytree if plain.path.is_dir() else shutil.copy)(plain.path, path)
    damaged = replace(plain, path=path)
    _damage(damaged)
    program = program_of("fp16")
    given = [sizes.at(program, name) for name in NAMES]
    errors = []
    for name, at in zip(NAMES, given, strict=True):
        feeds = {s.name: t.numpy() for s, t in zip(at.spec.inputs, example(at.spec), strict=True)}
        runner = formats.open_runner(damaged if name == NAMES[0] else damaged.at(name))
        got, want = runner.run(feeds)["map"], ReferenceRunner(at).run(feeds)["map"]
        runner.close()
        errors.append(float(np.abs(got - want).max()))
    assert errors[0] < 5e-3
    assert errors[1] > 0.1
    assert errors[2] < 5e-3


def _damage(artifact: Artifact) -> None:
    """Zeros in the place of the ramp of 48x32, which no other size has."""
    across, down = np.linspace(0, 1, 32, dtype=np.float32), np.linspace(-1, 1, 48, dtype=np.float32)
    ramp = across * down[:, None]
    middle = ramp.astype(np.float16)[10, 8:24].tobytes()
    files = list(artifact.path.rglob("*.bin")) or [artifact.path]
    (path,) = [file for file in files if middle in file.read_bytes()]
    data = path.read_bytes()
    assert data.count(middle) == 1
    at = data.index(middle) - 2 * (10 * 32 + 8)
    path.write_bytes(data[:at] + bytes(2 * ramp.size) + data[at + 2 * ramp.size :])


def test_core_ml_has_a_function_of_the_opset_of_ios_18_for_each_size(plain: Artifact) -> None:
    if plain.format != "coreml":
        return
    package = mil.open_package(plain.path)
    assert package.specification == 9
    assert package.default == "main"
    assert [f.name for f in package.description.functions] == [
        "main",
        *(f"size_{n}" for n in FURTHER),
    ]
    assert not package.description.input
    assert {f.opset for f in package.functions.values()} == {"CoreML8"}
    check(plain, program_of("fp16"), 5e-3, "mil-weights-only")


def test_tflite_has_a_signature_for_each_size_that_share_buffers(plain: Artifact) -> None:
    if plain.format != "tflite":
        return
    model = schema.ModelT.InitFromPackedBuf(plain.path.read_bytes())
    keys = [s.signatureKey.decode() for s in model.signatureDefs]
    assert keys == ["serving_default", *(f"size_{name}" for name in FURTHER)]
    assert [s.subgraphIndex for s in model.signatureDefs] == [0, 1, 2]
    used = [{t.buffer for t in graph.tensors} for graph in model.subgraphs]
    assert len(used[0] & used[1] & used[2]) > 6
    # Who names no signature gets the default size.
    shapes = [list(d["shape"]) for d in interpreter_of(str(plain.path)).get_input_details()]
    assert [1, 32, 32, 3] in shapes
    for backend in ("litert-reference", "litertjs"):
        check(plain, program_of("fp16"), 5e-3, backend)


def test_tfjs_lists_the_same_shards_in_each_graph(plain: Artifact) -> None:
    if plain.format != "tfjs":
        return
    listed = []
    for file in ("model.json", "model-48x32.json", "model-16x64.json"):
        model = json.loads((plain.path / file).read_text())
        listed.append({p for group in model["weightsManifest"] for p in group["paths"]})
    assert set.intersection(*listed)
    assert set.union(*listed) == {p.name for p in plain.path.glob("*.bin")}
    check(plain, program_of("fp16"), 5e-3, "tfjs-wasm-chromium")


@pytest.mark.parametrize(
    ("recipe", "kind"),
    [
        pytest.param("small", "coreml", marks=pytest.mark.slow),
        ("palettize=4", "coreml"),
        ("smallest", "tflite"),
        ("int8", "tflite"),
        ("small", "tfjs"),
    ],
)
def test_recipes_keep_their_grids_at_every_size(recipe: str, kind: str, tmp_path: Path) -> None:
    program = program_of(recipe)
    artifact = converted(program, kind, tmp_path, NAMES[:2])
    # Integers round otherwise than the module that stands for them.
    check(artifact, program, 0.03 if isinstance(program.module, OnGrids) else 1e-2)
    stored = sum(item.bytes for item in formats.resolve(formats.find(kind).contents)(artifact.path))
    bits = {"palettize=4": 4.5}.get(recipe, 8.5)
    assert stored < 1.25 * bits / 8 * sum(p.numel() for p in Net().parameters()) + 16_000


def test_a_format_without_files_of_several_sizes_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bare = replace(formats.find("tfjs"), merge=None)
    monkeypatch.setitem(formats.FORMATS, "tfjs", bare)
    export = Export(tmp_path, (), (), "float32")
    with Worker("tfjs") as worker, pytest.raises(UnsupportedOption, match="several sizes"):
        worker.convert(export, tmp_path, further={"8x8": export})


class Positions(nn.Module):
    """A place is learned for each number of the map: parameters of one size."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.zeros(1, 3, 32, 32))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image + self.places


def test_parameters_of_one_size_are_refused_with_the_size_and_the_line() -> None:
    image = TensorSpec("image", (1, 3, 32, 32), "image", sizes=((32, 32), (48, 32)))
    result = TensorSpec("result", (1, 3, 32, 32), "map", tolerance=0.1)
    program = capture(ModelSpec("net", Positions, (image,), (result,)))
    with pytest.raises(BadModule, match="at 48x32: net: forward failed") as raised:
        sizes.at(program, "48x32")
    assert "return image + self.places" in raised.value.where
    assert "interpolate" in raised.value.do


@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_a_file_that_was_exported_at_one_size_is_refused_at_another(
    kind: str, tmp_path: Path
) -> None:
    net, given = nn.Conv2d(3, 4, 3, padding=1), (torch.rand(1, 3, 32, 32),)
    path = tmp_path / f"net.{kind}"
    if kind == "pt2":
        torch.export.save(torch.export.export(net.eval(), given), path)
    else:
        image = TensorSpec("image", (1, 3, 32, 32), "image")
        result = TensorSpec("result", (1, 4, 32, 32), "map", tolerance=0.1)
        program = capture(ModelSpec("net", lambda: net, (image,), (result,)))
        shutil.copy(export_each(program, tmp_path / "export", ("onnx",)).onnx, path)
    (named,) = lookup.expand(str(path))
    program = capture(sizes.with_sizes(lookup.load(named), [(48, 32)]))
    with pytest.raises(BadModule, match="at 48x32: net is a file, whose shapes were fixed"):
        sizes.at(program, "48x32")


def test_sizes_are_given_to_a_specification_that_has_none() -> None:
    image = TensorSpec("image", (1, 3, 32, 32), "image")
    result = TensorSpec("result", (1, 3, 32, 32), "map", tolerance=0.1)
    spec = ModelSpec("net", nn.Identity, (image,), (result,))
    found = sizes.with_sizes(spec, [(48, 32), (32, 32)])
    assert found.size_names == ("32x32", "48x32")
    assert sizes.with_sizes(spec, []) is spec
    mask = TensorSpec("mask", (1, 1, 32, 32), "mask")
    low = TensorSpec("low", (1, 3, 16, 16), "features")
    found = sizes.with_sizes(replace(spec, inputs=(low, image, mask)), [(48, 32)])
    assert [one.sizes for one in found.inputs] == [(), *[((32, 32), (48, 32))] * 2]
    with pytest.raises(BadSpec, match="sizes of its own: 32x32, 48x32"):
        sizes.with_sizes(found, [(64, 64)])
    flat = replace(spec, inputs=(TensorSpec("image", (1, 3), "features"),))
    with pytest.raises(BadSpec, match="no input of net"):
        sizes.with_sizes(flat, [(64, 64)])


@pytest.mark.slow
# coremltools leaves its folders to the collector of garbage.
@pytest.mark.filterwarnings("ignore:Implicitly cleaning up", "ignore:Exception ignored in")
def test_core_ml_is_merged_as_coremltools_merges(tmp_path: Path) -> None:
    program, alone = program_of("small"), {}
    for name in NAMES[:2]:
        export = export_each(sizes.at(program, name), tmp_path / "exports" / name, ("torchscript",))
        (tmp_path / name).mkdir()
        with Worker("coreml") as worker:
            alone[name] = worker.convert(replace(export, several=True), tmp_path / name)
    ct = coremltools()
    wanted = ct.utils.MultiFunctionDescriptor()
    for name, artifact in alone.items():
        function = "main" if name == NAMES[0] else f"size_{name}"
        wanted.add_function(str(artifact.path), "main", function)
    wanted.default_function_name = "main"
    ct.utils.save_multifunction(wanted, str(tmp_path / "theirs.mlpackage"))
    merged = merge(alone[NAMES[0]], {NAMES[1]: alone[NAMES[1]]})
    ours, theirs = map(ct.utils.load_spec, (str(merged.path), str(tmp_path / "theirs.mlpackage")))
    for one in (ours, theirs):
        one.description.metadata.Clear()
    assert ours.description == theirs.description
    assert ours.specificationVersion == theirs.specificationVersion
    opsets = [{n: f.opset for n, f in p.mlProgram.functions.items()} for p in (ours, theirs)]
    assert opsets[0] == opsets[1]
    weights = "Data/com.apple.CoreML/weights/weight.bin"
    ours_path, theirs_path = merged.path / weights, tmp_path / "theirs.mlpackage" / weights
    assert ours_path.stat().st_size == theirs_path.stat().st_size
