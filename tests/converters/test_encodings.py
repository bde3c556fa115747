"""Grids and palettes: the numbers of a pass, read back from the file of every target."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import nn

from converters import formats
from converters.api import Artifact
from converters.encodings import Encoding, is_half, place
from converters.format import BLOCKS
from converters.tflite.partitions import partitions
from tests.converters.kernels import Kernels, after, converted, planned, program_of
from toolchain.quantization import grids
from toolchain.recipes import recipes, targets

STEPS = {
    "int8": "weights-int8",
    "int6": "weights-int6",
    "int4": "weights-int4",
    f"int4{BLOCKS}": "weights-int4=16",
    "uint8": "weights-uint8",
    "uint16": "weights-uint16",
    **{f"palette{bits}": f"palettize={bits}" for bits in (8, 6, 4, 3, 2)},
}
STORED = [
    (target.name, dtype, rest)
    for target in targets.TARGETS.values()
    for dtype in target.made.holds
    if dtype in STEPS
    for rest in ("", ",weights-fp16")
]


@pytest.fixture(autouse=True)
def _only_the_smallest_kernels_keep_eight_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grids, "SMALL", 300)


@pytest.mark.parametrize(("target", "dtype", "rest"), STORED)
def test_a_file_holds_the_very_numbers_of_the_pass(
    target: str, dtype: str, rest: str, tmp_path: Path
) -> None:
    program = after(STEPS[dtype] + rest, Kernels())
    artifact = converted(program, target, tmp_path)
    assert artifact.notes == ()
    half = bool(rest) and target == "ios"
    found = sorted(READERS[target](artifact))
    named = dict(program.module.named_parameters())
    coded = [named[n].numpy() for n, e in program.encodings.items() if e.is_grid]
    assert len(coded) >= 3
    numbers = np.concatenate([kernel.ravel() for kernel in coded])
    want = numbers.astype(np.float16) if half else numbers
    assert found == sorted(want.astype(np.float64).tolist())
    runner = formats.open_runner(artifact)
    image = np.random.default_rng(0).random((1, 3, 12, 12), np.float32)
    try:
        got = runner.run({"image": image})["result"]
    finally:
        runner.close()
    expected = program.module(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(got, expected, atol=3e-3 if half else 1e-5)


def tflite_numbers(artifact: Artifact) -> list[float]:
    """What stands behind the DEQUANTIZE of each tensor of codes."""
    model = schema.ModelT.InitFromPackedBuf(artifact.path.read_bytes())
    found: list[float] = []
    for tensor in model.subgraphs[0].tensors:
        if tensor.type not in (schema.TensorType.INT8, schema.TensorType.INT4):
            continue
        data = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.int8)
        if tensor.type == schema.TensorType.INT4:
            data = np.stack([(data << 4) >> 4, data >> 4], axis=1).ravel()
        codes = data[: int(np.prod(tensor.shape))].reshape(tensor.shape).astype(np.float32)
        scale = np.asarray(tensor.quantization.scale, np.float32)
        shape = [1] * codes.ndim
        shape[tensor.quantization.quantizedDimension] = -1
        assert not np.any(tensor.quantization.zeroPoint)
        found += (codes * scale.reshape(shape)).ravel().tolist()
    return found


def tfjs_numbers(artifact: Artifact) -> list[float]:
    """What the codes are, and where a node multiplies them by scales, the products."""
    model = json.loads((artifact.path / "model.json").read_text())
    (group,) = model["weightsManifest"]
    data = b"".join((artifact.path / shard).read_bytes() for shard in group["paths"])
    arrays, coded, offset = {}, [], 0
    for entry in group["weights"]:
        stored = entry.get("quantization", entry)
        kind, count = np.dtype(stored["dtype"]), int(np.prod(entry["shape"]))
        codes = np.frombuffer(data, kind, count, offset).astype(np.float64)
        if "scale" in stored:
            coded.append(entry["name"])
            codes = codes * stored["scale"] + stored["min"]
        arrays[entry["name"]] = codes.astype(np.float32).reshape(entry["shape"])
        offset += count * kind.itemsize
    products = {
        node["input"][0]: node["input"]
        for node in model["modelTopology"]["node"]
        if node["op"] == "Mul"
    }
    found: list[float] = []
    for name in coded:
        left, right = products.get(name, (name, None))
        numbers = arrays[left] if right is None else arrays[left] * arrays[right]
        found += numbers.ravel().tolist()
    return found


def coreml_numbers(artifact: Artifact) -> list[float]:
    """What the constant expressions stand for that an operation reads."""
    package, scope = planned(artifact)
    made = [op for op in package.main.block.operations if op.type.startswith("constexpr_")]
    inner = {name for op in made for name in op.reads()}
    arrays = [scope.constants[op.results[0].name] for op in made if op.results[0].name not in inner]
    return [float(number) for array in arrays for number in array.ravel()]


READERS = {"ios": coreml_numbers, "android": tflite_numbers, "web": tfjs_numbers}


def test_codes_leave_a_tflite_file_one_partition(tmp_path: Path) -> None:
    program = after("weights-int8,weights-fp16", Kernels())
    found = partitions(converted(program, "android", tmp_path).path)
    assert (found.count, found.fallen) == (1, ())


def test_a_spared_layer_stays_float32_in_every_file(tmp_path: Path) -> None:
    from dataclasses import replace

    recipe = replace(recipes.find("fp16"), keep={"conv": "for this test"})
    program = program_of(Kernels())
    kernel = program.module.get_parameter("conv.weight").numpy().copy()
    for step in recipe.load():
        program = step(program)
    assert program.mixed
    for target in targets.TARGETS:
        folder = tmp_path / target
        folder.mkdir()
        artifact = converted(program, target, folder)
        held = b"".join(p.read_bytes() for p in files(artifact.path))
        layouts = (kernel, kernel.transpose(0, 2, 3, 1), kernel.transpose(2, 3, 1, 0))
        assert any(np.ascontiguousarray(k).tobytes() in held for k in layouts)
        other = program.module.get_parameter("linear.weight").numpy()
        assert not any(np.ascontiguousarray(k).tobytes() in held for k in (other, other.T))


def files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]


GRID = Encoding("int8", (0.5, 0.25, 2.0), axis=0)
ARRAY = GRID.numbers(np.arange(-6, 6, dtype=np.int8).reshape(3, 2, 2))


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_a_transposed_kernel_is_still_found_on_its_grid(axes: tuple[int, ...]) -> None:
    found = place(ARRAY.transpose(axes), [Encoding("int8", (1.0,) * 3), GRID])
    assert found is not None
    assert (found.scales, found.axis) == (GRID.scales, axes.index(0))


def test_some_of_the_channels_are_found_with_their_own_scales() -> None:
    grid = Encoding("int8", (0.5, 0.3, 0.7, 0.25))
    half = grid.numbers(np.arange(1, 13, dtype=np.int8).reshape(4, 3))[2:]
    found = place(half, [grid])
    assert found is not None
    assert found.scales == (0.7, 0.25)


def test_one_scale_fits_arrays_of_any_axes() -> None:
    """That of a transposed convolution has it along axis 1, which a bias does not have."""
    grid = Encoding("int8", (0.5,), axis=1)
    for shape in ((4,), (4, 1), (2, 1, 2, 1)):
        array = np.float32([-1, 0, 0.5, 2]).reshape(shape)
        found = place(array, [grid])
        assert found is not None
        assert found.codes(array).ravel().tolist() == [-2, 0, 1, 4]


def test_one_number_beside_the_grid_is_enough_to_refuse_it() -> None:
    moved = ARRAY.copy()
    moved[2, 1, 1] = np.nextafter(moved[2, 1, 1], 9, dtype=np.float32)
    assert place(moved, [GRID]) is None


def test_float16_is_not_for_scalars_large_numbers_and_what_is_spared() -> None:
    array = np.array([0.1, 0.2], np.float32)
    assert is_half(array, "float16")
    assert not is_half(array, "float32")
    assert not is_half(np.float32(1e-9).reshape(()), "float16")
    assert not is_half(np.array([1e5], np.float32), "float16")
    assert not is_half(array, "float16", mixed=True)
    assert is_half(np.array([0.5, 0.25], np.float32), "float16", mixed=True)


class Scaled(Kernels):
    """A converter multiplies the first kernel by what follows it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.up(self.depthwise(self.grouped(self.conv(x) * 0.3).relu()))
        return self.linear(x.mean((2, 3)))


def test_a_kernel_that_the_converter_moved_off_its_grid_is_named(tmp_path: Path) -> None:
    class Large(Scaled):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.grouped = nn.Conv2d(3, 256, 3), nn.Conv2d(256, 32, 3, groups=2)

    program = after("weights-int8", Large())
    (note,) = converted(program, "android", tmp_path).notes
    assert "0.03 MB in float32, on no grid" in note


def test_a_spared_kernel_that_the_converter_multiplies_stays_float32(tmp_path: Path) -> None:
    from dataclasses import replace

    program = program_of(Scaled())
    kernel = program.module.get_parameter("conv.weight").numpy().copy()
    for step in replace(recipes.find("fp16"), keep={"conv": "for this test"}).load():
        program = step(program)
    model = schema.ModelT.InitFromPackedBuf(
        converted(program, "android", tmp_path).path.read_bytes()
    )
    wide = [
        np.frombuffer(bytes(model.buffers[t.buffer].data), np.float32)
        for t in model.subgraphs[0].tensors
        if t.type == schema.TensorType.FLOAT32 and model.buffers[t.buffer].data is not None
    ]
    want = np.sort((kernel * np.float32(0.3)).ravel())
    assert any(w.size == want.size and np.allclose(np.sort(w), want, rtol=1e-6) for w in wide)


def test_codes_and_numbers_of_a_palette_are_inverse() -> None:
    palette = Encoding("palette2", palette=(-1.0, 0.0, 0.5, 0.5))
    codes = palette.codes(np.array([-3.0, 0.2, 0.3, 0.6], np.float32))
    assert palette.numbers(codes).tolist() == [-1.0, 0.0, 0.5, 0.5]


def test_bytes_count_scales_and_palettes() -> None:
    assert Encoding("int8", (1.0,) * 4).bytes(100) == 108
    assert Encoding("palette4", palette=(0.0,) * 16).bytes(101) == 51 + 32
    assert Encoding("uint16", (0.1,)).bytes(10) == 20
    assert Encoding("float16").bytes(10) == 20
