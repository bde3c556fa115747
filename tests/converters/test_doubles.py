"""A program in float64, whatever its code writes of float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from converters.api import Tensors
from converters.capture import capture
from converters.doubles import DRAWS, PickingOtherwise, call, roundings
from converters.graph.captured import capture_graph
from converters.numbers import LITERALS
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.bundle.parity_report import ParityRow
from toolchain.parity import compare
from toolchain.parity.reference import Reference


class Flat(nn.Module):
    """Norms of what does not vary: rounding divided by rounding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
        self.norm = nn.InstanceNorm2d(4, eps=1e-12)
        self.table = torch.randn(4, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.norm(self.conv(x).float()).to(torch.float32)
        mixed = torch.einsum("bchw,cd->bdhw", y, self.table) + torch.ones(4, 1, 1)
        return {"y": mixed @ torch.eye(8, dtype=torch.float32)}


@pytest.mark.parametrize("value", [None, 0.3])
def test_all_that_a_net_casts_and_makes_is_float64(value: float | None) -> None:
    x = torch.rand(1, 3, 8, 8) if value is None else torch.full((1, 3, 8, 8), value)
    net = Flat().eval()
    found = call(net, [x])["y"]
    y = net.double().conv(x.double())
    y = (y - y.mean((2, 3), True)) / (y.var((2, 3), correction=0, keepdim=True) + 1e-12).sqrt()
    wanted = torch.einsum("bchw,cd->bdhw", y, net.table.double()) + 1
    assert found.dtype == torch.float64
    if value is None:
        assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_the_module_stays_as_it_is() -> None:
    net = Flat().eval()
    call(net, [torch.rand(1, 3, 8, 8)])
    assert net.conv.weight.dtype == torch.float32


class NoDouble(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            raise TypeError("float32 only")
        return x * 2


def test_a_reference_knows_float64_where_the_code_runs_in_it() -> None:
    image = TensorSpec("image", (1, 3, 8, 8), "image", low=0, high=1)
    given = {"image": np.full((1, 3, 8, 8), 0.3, np.float32)}
    for module, name, known in ((Flat, "y", True), (NoDouble, "output", False)):
        output = TensorSpec(name, (1, 4 if known else 3, 8, 8), "map", tolerance=0.01)
        program = capture(ModelSpec("net", lambda made=module: made().eval(), (image,), (output,)))
        reference = Reference({"flat": given}, {}, (output,), program=program)
        own = {"flat": reference.answer(given)}
        assert (name in replace(reference, expected=own).roundings("flat")) == known
    assert not Reference({"flat": given}, own, ()).roundings("flat")


def picked(pick: Callable[[Tensor], Any], scores: list[float]) -> list[Any]:
    """What is picked of scores, at each draw."""
    found = []
    for seed in range(DRAWS):
        with PickingOtherwise(seed):
            found.append(pick(torch.tensor([scores])))
    return found


PICKING = [
    lambda x: x.topk(1).indices,
    lambda x: torch.sort(x, descending=True)[1],
    lambda x: x.argsort(),
    lambda x: x.argmax(1),
    lambda x: torch.max(x, 1)[1],
    lambda x: torch.ops.aten.topk.default(x, 1)[1],
]


@pytest.mark.parametrize("pick", PICKING)
def test_of_equals_either_is_picked_and_of_others_the_larger(
    pick: Callable[[Tensor], Tensor],
) -> None:
    for equals in ([0.0, 0.0], [0.3, 0.3], [0.3, 0.3 + 2.0**-25]):
        assert len({tuple(p.flatten().tolist()) for p in picked(pick, equals)}) == 2
    for others in ([0.0, 1e-6], [0.3, 0.30001], [float("-inf"), 3.0], [1.0, 1e-9]):
        assert len({tuple(p.flatten().tolist()) for p in picked(pick, others)}) == 1


def test_values_are_what_they_are_whichever_are_picked() -> None:
    scores = [0.25, 0.75, 0.75]
    for found in picked(lambda x: x.topk(2), scores):
        assert found.values.tolist() == [[0.75, 0.75]]
    assert [m.item() for m in picked(lambda x: x.max(), scores)] == [0.75] * DRAWS
    assert [m.tolist() for m in picked(lambda x: torch.max(x, x - 1), scores)] == [[scores]] * DRAWS
    assert len(set(picked(lambda x: x.long().argmax().item(), scores))) == 1


class Corners(nn.Module):
    """Where a picture is lightest; with no weights on the way."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1).flatten(1).topk(4).indices


def corners(x: Tensor) -> np.ndarray:
    """The same, of equals the first, as runtimes have it."""
    order = torch.argsort(x.mean(1).flatten(1), dim=1, descending=True, stable=True)
    return order[:, :4].numpy()


def rows_of(answer: Callable[[Tensor], np.ndarray]) -> list[ParityRow]:
    """What parity says of an answer on a picture of one colour, and on one of noise."""
    image = TensorSpec("image", (1, 3, 8, 8), "image", low=0, high=1)
    output = TensorSpec("output", (1, 4), "features", dtype="int64", tolerance=0.01)
    program = capture(ModelSpec("net", Corners, (image,), (output,)))
    noise = np.random.default_rng(0).random((1, 3, 8, 8)).astype(np.float32)
    flat = np.full_like(noise, 0.5)
    spots = flat.copy()  # two are the lightest, and the next two are any of 62
    spots[..., 2, 3], spots[..., 5, 1] = 0.9, 0.7
    cases = {"flat": {"image": flat}, "spots": {"image": spots}, "noise": {"image": noise}}
    reference = Reference(cases, {}, (output,), program=program)
    expected = {name: reference.answer(given) for name, given in cases.items()}
    reference = replace(reference, expected=expected)

    class Runner:
        backend = "fake"

        def run(self, inputs: Tensors) -> Tensors:
            return {"output": answer(torch.from_numpy(inputs["image"]))}

        def close(self) -> None:
            """Nothing to free."""

    return [*compare.check(Runner(), [replace(reference, question="faithful")])]


def test_another_choice_among_equals_is_no_fault_and_no_proof() -> None:
    flat, spots, noise = rows_of(corners)
    for row in (flat, spots):
        assert row.verdict == "skipped"
        assert "choice among equals" in row.note
    assert noise.verdict == "passed"


@pytest.mark.parametrize(
    "liar",
    [
        lambda x: corners(x) + 1,
        lambda x: corners(-x),
        lambda x: corners(x)[:, ::-1],
        lambda x: corners(x) * 0,
        lambda x: corners(x.transpose(2, 3)),
    ],
    ids=["next", "darkest", "reversed", "constant", "transposed"],
)
def test_indices_that_are_wrong_fail_where_nothing_is_equal(
    liar: Callable[[Tensor], np.ndarray],
) -> None:
    assert [row.verdict for row in rows_of(liar)][1:] == ["failed", "failed"]


def test_one_wrong_index_beside_equals_fails() -> None:
    def answer(x: Tensor) -> np.ndarray:
        found = corners(x).copy()
        found[0, 1] += 1
        return found

    assert [row.verdict for row in rows_of(answer)] == ["skipped", "failed", "failed"]


def test_rounding_moves_what_divides_rounding_by_rounding() -> None:
    image = TensorSpec("image", (1, 3, 8, 8), "image", low=0, high=1)
    output = TensorSpec("y", (1, 4, 8, 8), "map", tolerance=0.01)
    program = capture(ModelSpec("net", lambda: Flat().eval(), (image,), (output,)))
    reference = Reference({}, {}, (output,), program=program)
    noise = np.random.default_rng(0).random((1, 3, 8, 8))
    moved = []
    for value in (np.full((1, 3, 8, 8), 0.3), noise):
        given = {"image": value.astype(np.float32)}
        moved.append(roundings(program, given, reference.answer(given))["y"].max())
    assert moved[0] > 1e-3
    assert moved[1] < 1e-4


class Shifted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 1.7 - (x + 0.3) - 0.25 + 2


@pytest.mark.parametrize(("coarse", "least", "most"), [((), 0, 1e-6), ((LITERALS,), 3e-4, 2e-3)])
def test_numbers_that_code_adds_are_moved_by_float16_where_files_hold_arrays_of_them(
    coarse: tuple[str, ...], least: float, most: float
) -> None:
    """Those that float16 has are moved as well: their sums with a bias are others."""
    check_moved(Shifted(), coarse, least, most)


class Gate(nn.Module):
    """A sigmoid by hand, of whole numbers, and PyTorch's own."""

    def __init__(self, own: bool) -> None:
        super().__init__()
        self.own = own

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.hardsigmoid(x) if self.own else nn.functional.relu6(x + 3) / 6


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(("coarse", "least", "most"), [((), 0, 1e-6), ((LITERALS,), 1e-5, 3e-4)])
def test_the_sum_of_a_bias_and_a_whole_number_is_rounded(
    own: bool, coarse: tuple[str, ...], least: float, most: float
) -> None:
    check_moved(Gate(own), coarse, least, most)
    captured = capture_graph(Gate(own).eval(), (torch.zeros(1, 1, 2, 2),)).module
    check_moved(captured, coarse, least, most)


def check_moved(module: nn.Module, coarse: tuple[str, ...], least: float, most: float) -> None:
    module.eval()
    shape = (1, 1, 2, 2)
    spec = ModelSpec(
        "shifted",
        lambda: module,
        (TensorSpec("x", shape, "map"),),
        (TensorSpec("y", shape, "map", tolerance=0.1),),
    )
    x = torch.zeros(shape)
    own = module(x)
    own = own[0] if isinstance(own, tuple) else own
    moved = roundings(capture(spec), {"x": x.numpy()}, {"y": own.numpy()}, coarse)["y"]
    assert least <= moved.max() <= most
