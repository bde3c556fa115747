"""Damaged packages: a clear error at once, never a crash or a machine without memory."""

from __future__ import annotations

import contextlib
import json
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mil_mutation import constant, edit, operation, records, truncate, weight_file

from converters import mil
from converters.mil.package import model_files
from model_defs.errors import BadArtifact, MlshipError

MODEL = "Data/com.apple.CoreML/model.mlmodel"


def run(path: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    return mil.open_package(path).main.run({"in_0": image})


def damage_manifest(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def damage(package: Path) -> None:
        path = package / "Manifest.json"
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))

    return damage


def escape(manifest: dict[str, Any]) -> None:
    manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"] = "../../../etc/passwd"


def first_weight(model: Any) -> Any:
    """The blob reference of the convolution's weights."""
    name = operation(model, "conv").inputs["weight"].arguments[0].name
    for candidate in model.mlProgram.functions["main"].block_specializations["CoreML6"].operations:
        if candidate.type == "const" and candidate.outputs[0].name == name:
            return candidate.attributes["val"]
    raise LookupError(name)


def offset(value: int) -> Callable[[Path], None]:
    return lambda package: edit(
        package, lambda m: setattr(first_weight(m).blobFileValue, "offset", value)
    )


def elsewhere(name: str) -> Callable[[Path], None]:
    return lambda package: edit(
        package, lambda m: setattr(first_weight(m).blobFileValue, "fileName", name)
    )


def larger_weight(package: Path) -> None:
    def change(model: Any) -> None:
        value = first_weight(model)
        value.type.tensorType.dimensions[0].constant.size = 2**40

    edit(package, change)


def patch_record(field: int, value: bytes) -> Callable[[Path], None]:
    def damage(package: Path) -> None:
        path = weight_file(package)
        data = bytearray(path.read_bytes())
        at = next(iter(records(bytes(data)))) + field
        data[at : at + len(value)] = value
        path.write_bytes(data)

    return damage


def huge_result(package: Path) -> None:
    def change(model: Any) -> None:
        sizes = operation(model, "max_pool").outputs[0].type.tensorType.dimensions
        sizes[1].constant.size = 2**50

    edit(package, change)


def many_large_results(package: Path) -> None:
    """Each fits, together they do not."""

    def change(model: Any) -> None:
        for kind in ("conv", "leaky_relu", "max_pool", "pad", "softmax"):
            sizes = operation(model, kind).outputs[0].type.tensorType.dimensions
            for axis in range(4):
                sizes[axis].constant.size = 1
            sizes[0].constant.size = mil_memory() // 4 * 9 // 10

    edit(package, change)


def mil_memory() -> int:
    from converters.mil.plan import MEMORY

    return MEMORY


def huge_padding(package: Path) -> None:
    """The declared type is honest and small, the padding is neither."""

    def change(model: Any) -> None:
        name = operation(model, "pad").inputs["mode"].arguments[0].name
        constant(model, name).strings.values[0] = "constant"
        name = operation(model, "pad").inputs["pad"].arguments[0].name
        constant(model, name).ints.values[-1] = 2**31 - 1

    edit(package, change)


def short_constant(package: Path) -> None:
    def change(model: Any) -> None:
        name = operation(model, "max_pool").inputs["strides"].arguments[0].name
        constant(model, name).ints.values.pop()

    edit(package, change)


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no manifest": (lambda p: (p / "Manifest.json").unlink(), "not a Core ML package"),
    "manifest is not JSON": (lambda p: truncate(p / "Manifest.json", 0.5), "not JSON"),
    "manifest without root": (damage_manifest(lambda m: m.pop("rootModelIdentifier")), "lacks"),
    "manifest is a list": (lambda p: (p / "Manifest.json").write_text("[]") and None, "lacks"),
    "manifest points outside": (damage_manifest(escape), "outside its package"),
    "no model": (lambda p: (p / MODEL).unlink(), "cannot be read"),
    "half a model": (lambda p: truncate(p / MODEL, 0.5), "not a Core ML model"),
    "empty model": (lambda p: (p / MODEL).write_bytes(b"") and None, "kind 'None'"),
    "no weights": (lambda p: weight_file(p).unlink(), "weights cannot be read"),
    "empty weights": (lambda p: weight_file(p).write_bytes(b"") and None, "weights cannot be read"),
    "half the weights": (lambda p: truncate(weight_file(p), 0.5), "weight.bin"),
    "weights without their last byte": (lambda p: truncate(weight_file(p), 0.9999), "weight.bin"),
    "another header": (
        lambda p: weight_file(p).write_bytes(b"\0" * weight_file(p).stat().st_size) and None,
        "does not begin with",
    ),
    "offset in the middle": (offset(128 + 7), "no record at offset 135"),
    "offset of data": (offset(128), "no record at offset 128"),
    "offset beyond the end": (offset(2**40), "no record"),
    "record of another dtype": (patch_record(4, b"\1\0\0\0"), "holds fp16"),
    "record of another size": (patch_record(8, b"\4\0\0\0\0\0\0\0"), "holds 4 bytes"),
    "record that points beyond": (patch_record(16, b"\xff" * 6), "ends before"),
    "weights in another file": (elsewhere("@model_path/weights/other.bin"), "cannot be read"),
    "weights outside the package": (elsewhere("@model_path/../../../../etc/hosts"), "outside"),
    "weights at an absolute path": (elsewhere("/etc/hosts"), "outside"),
    "weights larger than declared": (larger_weight, "weight.bin"),
    "a result beyond memory": (huge_result, "more than this machine can hold"),
    "results beyond memory together": (many_large_results, "more than this machine can hold"),
    "padding beyond memory": (huge_padding, "declared"),
    "a constant that is too short": (short_constant, "holds 1 numbers"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named_at_once(name: str, package: Path, image: np.ndarray) -> None:
    damage, message = DAMAGES[name]
    damage(package)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    with pytest.raises(MlshipError, match=message):
        run(package, image)
    assert time.process_time() - begin < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000, "in KiB"


def test_a_damaged_package_says_where_and_what_to_do(package: Path, image: np.ndarray) -> None:
    truncate(weight_file(package), 0.5)
    with pytest.raises(BadArtifact) as caught:
        run(package, image)
    assert str(weight_file(package)) in caught.value.where
    assert "build the package again" in caught.value.do


def damaged_run(seed: int, package: Path, image: np.ndarray) -> None:
    """Whatever happens to the bytes, it is an error of ours, or the program still runs."""
    chance = random.Random(seed)
    model_file, _ = model_files(package)
    whole = model_file.read_bytes()
    data = bytearray(whole)
    for _ in range(chance.choice((1, 1, 3, 30))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    model_file.write_bytes(data)
    with contextlib.suppress(MlshipError):
        assert run(package, image)
    model_file.write_bytes(whole)


@pytest.mark.parametrize("seed", range(60))
def test_random_bytes_in_the_program_never_crash(
    seed: int, package: Path, image: np.ndarray
) -> None:
    damaged_run(seed, package, image)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 9000, 1000))
def test_random_bytes_thoroughly(start: int, package: Path, image: np.ndarray) -> None:
    for seed in range(start, start + 1000):
        damaged_run(seed, package, image)
