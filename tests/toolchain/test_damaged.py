"""Files that were damaged after they were built, and sealed again: each is found by its layer.

The numbers of constants are compared without running anything; what they compute, and `blame`,
have tests of their own.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from own_models import Two
from torch import nn

from converters.api import Artifact, Program
from converters.capture import capture
from converters.numbers import LITERALS, StoredConstant, stored_constants
from model_defs import lookup
from model_defs.errors import BadArtifact
from model_defs.spec import ModelSpec, TensorSpec
from tests.toolchain.layer_faults import LAYOUTS
from toolchain.parity import constants
from toolchain.parity.constants import compare_numbers
from toolchain.recipes import pipeline, recipes

TARGETS = ("ios", "android", "web")
Damage = Callable[[np.ndarray], np.ndarray]


def one(change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """A change of one number, the same in every layout: the third largest."""

    def damaged(values: np.ndarray) -> np.ndarray:
        found = values.copy()
        at = np.argsort(np.abs(found).ravel())[-3]
        found.flat[at] = change(found.flat[at : at + 1].copy())[0]
        return found

    return damaged


def exponent(values: np.ndarray) -> np.ndarray:
    """The lowest bit of its exponent, as float16 has it."""
    return (values.astype(np.float16).view(np.uint16) ^ 0x0400).view(np.float16).astype(np.float32)


DAMAGES: dict[str, Damage] = {
    "one weight": one(lambda v: v + np.float32(0.05)),
    "doubled": lambda w: w * 2,
    "zeroed": np.zeros_like,
    "shuffled": lambda w: w.ravel()[np.random.default_rng(0).permutation(w.size)].reshape(w.shape),
    "negated": lambda w: -w,
    "an exponent bit": one(exponent),
}


@dataclass(frozen=True)
class Known:
    two: Two
    program: Program

    def artifact(self, target: str, folder: Path) -> Artifact:
        """A copy that may be damaged."""
        artifact = self.two.bundles[target].artifact
        path = folder / artifact.path.name
        copy = shutil.copytree if artifact.path.is_dir() else shutil.copy
        copy(artifact.path, path)
        return replace(artifact, path=path)


@pytest.fixture(scope="module")
def known(two: Two) -> Known:
    captured = capture(lookup.load(lookup.expand(two.model)[0]))
    return Known(two, pipeline.run(captured, recipes.find("fp16").load()))


def put(artifact: Artifact, values: np.ndarray, damage: Damage) -> None:
    """Damages a parameter, found by its float16 numbers in the files of an artifact."""
    files = [artifact.path]
    if artifact.path.is_dir():
        files = [path for path in artifact.path.rglob("*") if path.is_file()]
    done = 0
    layouts = LAYOUTS if values.ndim == 4 else (tuple(range(values.ndim)),)
    for file, axes in itertools.product(files, layouts):
        data = file.read_bytes()
        old = values.transpose(axes).astype(np.float16).tobytes()
        if data.count(old) == 1:
            new = damage(values).transpose(axes).astype(np.float16).tobytes()
            file.write_bytes(data.replace(old, new))
            done += 1
    assert done == 1


@pytest.mark.parametrize("target", TARGETS)
def test_a_clean_file_has_the_program_s_numbers(target: str, known: Known, tmp_path: Path) -> None:
    report = constants.compare(known.artifact(target, tmp_path), known.program).report
    assert not report.faults
    numbers = sum(p.numel() for p in known.program.module.parameters())
    assert numbers * 0.99 < report.equal + report.folded <= report.numbers


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_constant_is_named(name: str, target: str, known: Known, tmp_path: Path) -> None:
    artifact = known.artifact(target, tmp_path)
    values = known.program.module.get_parameter("middle.weight").detach().numpy()
    put(artifact, values, DAMAGES[name])
    found = constants.compare(artifact, known.program)
    (fault,) = found.report.faults
    assert fault.layer == "middle"
    assert "middle.weight" not in found.lost  # no product, whose rounding would be allowed for
    assert "is not the program's" in fault.sentence


def test_each_change_of_any_number_is_seen() -> None:
    own = {"a.weight": np.random.default_rng(1).standard_normal((8, 4, 3, 3)).astype(np.float32)}
    for _ in range(20):
        at = tuple(np.random.default_rng(_).integers(own["a.weight"].shape))
        changed = own["a.weight"].copy()
        changed[at] = np.nextafter(changed[at], np.float32(9))
        (fault,) = compared([changed.transpose(2, 3, 1, 0)], own).faults
        assert fault.what.startswith("1 of 288 numbers differ, first at [")


def compared(
    arrays: list[np.ndarray], own: dict[str, np.ndarray], factors: tuple[float, ...] = ()
) -> constants.ConstantsReport:
    stored = [StoredConstant(f"c{n}", array) for n, array in enumerate(arrays)]
    return compare_numbers(stored, own, factors).report


def net() -> dict[str, np.ndarray]:
    random = np.random.default_rng(2)
    shapes = {"norm.weight": (6,), "norm.bias": (6,), "fc.weight": (10, 6), "fc.bias": (10,)}
    return {n: random.uniform(0.5, 2, shape).astype(np.float32) for n, shape in shapes.items()}


def halved(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float16).astype(np.float32)


def test_a_scale_that_a_converter_took_into_the_matrix_behind_is_no_fault() -> None:
    own = net()
    folded = halved(own["fc.weight"] * own["norm.weight"])
    report = compared([folded, own["fc.bias"], own["norm.bias"]], own)
    assert (report.numbers, report.equal, report.folded, report.faults) == (76, 16, 60, ())


@pytest.mark.parametrize("kind", ["a number", "a channel", "another scale"])
def test_damage_in_such_a_product_is_seen(kind: str) -> None:
    own = net()
    folded = halved(own["fc.weight"] * own["norm.weight"])
    if kind == "a number":
        folded[3, 2] *= 1.5
    elif kind == "a channel":
        folded[4] *= 1.5
    else:
        folded = halved(own["fc.weight"] * 2)
    report = compared([folded, own["fc.bias"], own["norm.bias"]], own)
    assert [fault.layer for fault in report.faults] == ["fc"], report


def test_a_factor_of_the_program_s_own_is_no_fault_and_any_other_is() -> None:
    own = net()
    sixth = halved(own["fc.weight"] / 6)
    fourth = own["fc.weight"] / 4
    rest = [own["fc.bias"], own["norm.bias"], own["norm.weight"]]
    assert compared([sixth, *rest], own, (1 / 6,)).faults == ()
    assert compared([fourth, *rest], own, (1 / 4,)).faults == ()
    (fault,) = compared([fourth, *rest], own, (1 / 6,)).faults
    assert fault.what == "its numbers are the program's times 0.25"


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_what_a_batchnorm_multiplies_by_is_a_factor_of_the_program_s(spread: float) -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(6)
            variances = torch.linspace(0.001, 0.001 + spread, 6)
            self.norm.running_var.copy_(variances)  # type: ignore[operator]
            nn.init.uniform_(self.norm.weight, 0.5, 2.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(x)

    taken = TensorSpec("x", (1, 6, 4, 4), "features", low=0, high=1)
    given = TensorSpec("y", (1, 6, 4, 4), "features", tolerance=0.1)
    program = capture(ModelSpec("normed", lambda: Normed().eval(), (taken,), (given,)))
    own = constants.numbers_of(program)
    root = 1 / np.sqrt(own["norm.running_var"] + 1e-5)
    stored = [StoredConstant("gain", own["norm.weight"] * root)]
    known = constants.factors_of(program), constants.scales_of(program)
    report = compare_numbers(stored, own, *known).report
    assert (report.folded, report.faults) == (6, ())


def test_a_constant_of_one_number_or_none_is_left_alone() -> None:
    report = compared([np.float32(3), np.zeros(0, np.float32), np.ones((1, 1), np.float32)], net())
    assert (report.numbers, report.faults) == (2, ())


def orders() -> Iterator[tuple[str, np.ndarray]]:
    gates = np.random.default_rng(3).standard_normal((16, 5)).astype(np.float32)
    blocks = gates.reshape(4, 4, 5)
    yield "gates", blocks[[0, 1, 3, 2]].reshape(16, 5)
    yield "a pixel shuffle", blocks.transpose(1, 0, 2).reshape(16, 5)


@pytest.mark.parametrize(("name", "array"), list(orders()))
def test_orders_that_converters_put_channels_in_are_no_fault(name: str, array: np.ndarray) -> None:
    own = {"rnn.weight": np.random.default_rng(3).standard_normal((16, 5)).astype(np.float32)}
    assert compared([array], own).equal == 80
    (fault,) = compared([array[::-1].copy()], own).faults
    assert fault.what == "its numbers are in another order"


@pytest.mark.parametrize(("name", "array"), list(orders()))
def test_a_damaged_number_among_channels_in_another_order_is_named(
    name: str, array: np.ndarray
) -> None:
    own = {"rnn.weight": np.random.default_rng(3).standard_normal((16, 5)).astype(np.float32)}
    (fault,) = compared([one(lambda v: v * 2)(array)], own).faults
    assert (fault.layer, fault.what[:25]) == ("rnn", "1 of 80 numbers differ, f")


def test_a_negated_multiple_of_a_factor_of_the_program_s_is_a_fault() -> None:
    own = net()
    rest = [own["fc.bias"], own["norm.bias"], own["norm.weight"]]
    (fault,) = compared([halved(own["fc.weight"] / -6), *rest], own, (1 / 6,)).faults
    assert fault.what.startswith("its numbers are the program's times -0.1666")


def test_of_parameters_that_are_one_number_nothing_is_said() -> None:
    own = {"scale.weight": np.full(8, 0.5, np.float32)}
    assert compared([np.ones(8, np.float32)], own).faults == ()


def test_a_constant_of_no_parameter_is_no_fault() -> None:
    report = compared([np.arange(7, dtype=np.float32), *net().values()], net())
    assert (report.numbers, report.equal, report.faults) == (89, 82, ())


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_that_is_cut_off_is_an_error_of_the_file(
    target: str, known: Known, tmp_path: Path
) -> None:
    artifact = known.artifact(target, tmp_path)
    largest = max(
        (p for p in [artifact.path, *artifact.path.rglob("*")] if p.is_file()),
        key=lambda p: p.stat().st_size,
    )
    if target == "web":  # its numbers, not its graph
        largest = next(artifact.path.glob("*.bin"))
    largest.write_bytes(largest.read_bytes()[:200])
    with pytest.raises(BadArtifact):
        list(stored_constants(artifact))


def test_codes_of_a_channel_are_what_they_stand_for(tmp_path: Path) -> None:
    codes = np.array([[1, -2], [3, 4]], np.int8)
    weights = [
        {"name": "k/codes", "shape": [2, 2], "dtype": "float32"},
        {"name": "k/scales", "shape": [2, 1], "dtype": "float32"},
    ]
    weights[0]["quantization"] = {"dtype": "uint8", "scale": 1.0, "min": -128.0}
    scales = np.array([0.5, 0.25], np.float32)
    shard = (codes.astype(np.int16) + 128).astype(np.uint8).tobytes() + scales.tobytes()
    (tmp_path / "a.bin").write_bytes(shard)
    manifest = [{"paths": ["a.bin"], "weights": weights}]
    (tmp_path / "model.json").write_text(json.dumps({"weightsManifest": manifest}))
    artifact = Artifact(tmp_path, "tfjs", "float16", (), ())
    (found,) = stored_constants(artifact)
    np.testing.assert_array_equal(found.array, [[0.5, -1.0], [0.75, 1.0]])


def test_a_spread_kernel_and_one_number_in_common_are_no_damage() -> None:
    """More than half of a kernel that is spread are zeros, as all of a fresh bias are."""
    spread = np.zeros((1, 3, 3), np.float32)
    spread[:, ::2, ::2] = 0.5, 0.75
    own = {"norm.bias": np.zeros(9, np.float32), "bn.weight": np.array([2, 0.125], np.float32)}
    assert compared([spread, np.array([2, 0.75], np.float32)], own).faults == ()
    wrong = np.zeros(16, np.float32)
    wrong[3] = 1
    (fault,) = compared([wrong], {"norm.bias": np.zeros(16, np.float32)}).faults
    assert fault.what == "1 of 16 numbers differ, first at [3]: 1, not 0"


def test_what_code_adds_may_be_rounded_where_a_file_has_an_array_of_it() -> None:
    own = {"conv.weight": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)}
    constants = [StoredConstant("k", own["conv.weight"])]
    assert compare_numbers(constants, own).lost == frozenset()
    bias = StoredConstant("b", np.full(3, np.float16(0.3), np.float32))
    assert compare_numbers([*constants, bias], own).lost == {LITERALS}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_constant_that_is_no_number_is_named(value: float) -> None:
    own = net()
    for name in ("fc.weight", "fc.bias"):
        wrong = own[name].copy()
        wrong.flat[3] = value
        (fault,) = compared([wrong, *(a for n, a in own.items() if n != name)], own).faults
        assert fault.layer == "fc"
        assert f"{value:g}, not {own[name].flat[3]:.6g}" in fault.what


def test_nan_in_what_is_no_parameter_s_any_more_is_named() -> None:
    own = net()
    rest = [own["norm.weight"], own["norm.bias"], own["fc.bias"]]
    for wrong in (np.full((10, 6), np.nan, np.float32), own["fc.weight"] * np.float32(0.3)):
        wrong.flat[7] = np.nan
        (fault,) = compared([wrong, *rest], own).faults
        assert fault.layer == "fc"
        assert fault.what.endswith("of 60 numbers are NaN")
    with_nan = {**own, "masked": np.array([0, np.nan], np.float32)}
    assert compared([np.full(5, np.nan, np.float32), *own.values()], with_nan).faults == ()
