"""Random small networks through every format; what draws and judges them, and how a run resumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.converters.random_networks import __main__ as run
from tests.converters.random_networks import judge as judging
from tests.converters.random_networks.deep import RECIPES, Alarms, deep_network
from tests.converters.random_networks.draw import LAYERS, Layer, Network, described, drawn, steady
from tests.converters.random_networks.judge import Judge, Several, apart
from toolchain.recipes import recipes


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge() as found:
        yield found


@pytest.mark.parametrize("number", [151, 153])
def test_a_hundred_random_networks(
    number: int, judge: Judge, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of one to three layers each, after two recipes: `make slow` takes 3000 of up to seven."""
    record = run.judged(number, judge, size=100, depth=(1, 3))
    assert record["nets"] == 100
    assert run.summary([record]) == 0, capsys.readouterr().out


@pytest.fixture(scope="module")
def batches() -> list[list[tuple[Network, Tensor]]]:
    return [drawn(number, 20) for number in (5, 6)]


def test_a_batch_is_drawn_from_its_number(batches: list[list[tuple[Network, Tensor]]]) -> None:
    first, other = batches
    again = drawn(5, 20)
    assert len(first) == 20
    for (net, x), (same, y) in zip(first, again, strict=True):
        assert described(net) == described(same)
        assert torch.equal(net(x), same(y))
    assert [described(n) for n, _ in first] != [described(n) for n, _ in other]
    assert len({str(described(n)) for n, _ in first}) == 20


def test_every_kind_of_layer_is_drawn(batches: list[list[tuple[Network, Tensor]]]) -> None:
    seen = str([described(net) for batch in batches for net, _ in batch])
    kinds = {layer.__name__ for layer in LAYERS}
    functions = {kind for kind in kinds if f"{kind}.<locals>" in seen}
    assert kinds - functions <= {"activation", "conv", "deconv", "norm", "normalised", "tokens"}
    for name in ("ConvTranspose2d", "BatchNorm2d", "Linear", "InstanceNorm2d", "relu"):
        assert name in seen


def test_a_mean_that_cancels_is_no_network_to_judge_by() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 6, 6)
    by_mean: Layer = lambda x: x * x.mean((2, 3), keepdim=True)  # noqa: E731
    cancelled = x - x.mean((2, 3), keepdim=True) + 1e-5
    assert steady(by_mean, x + 1, by_mean(x + 1))
    assert not steady(by_mean, cancelled, by_mean(cancelled))


def test_places_among_equals_are_passed_over() -> None:
    """PyTorch promises no order of them."""
    places: Layer = lambda x: x.topk(3, 2)[1].float()  # noqa: E731
    apart, equal = torch.rand(1, 1, 6, 6), torch.ones(1, 1, 6, 6)
    assert steady(places, apart, places(apart))
    assert not steady(places, equal, places(equal))


ZERO = np.zeros((1, 2), np.float32)


@pytest.mark.parametrize(
    ("ours", "moved", "said"),
    [
        (ZERO, ZERO, ""),
        (ZERO + 3e-6, ZERO, ""),
        (ZERO + 3e-5, ZERO, "at [0, 0] is 3e-05, not 0"),
        (ZERO + 3e-5, ZERO + 1e-5, ""),
        (ZERO + np.float32("nan"), ZERO, "is nan, not 0"),
        (np.zeros((2, 1), np.float32), ZERO, "has shape (2, 1), not (1, 2)"),
        (ZERO, None, "does not run in float64"),
    ],
)
def test_results_are_apart_by_more_than_rounding(
    ours: np.ndarray, moved: np.ndarray | None, said: str
) -> None:
    assert said in apart(ours, ZERO, moved)
    assert bool(said) == bool(apart(ours, ZERO, moved))


class Sign(nn.Module):
    """What no converter holds."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.pinv(x)


def test_of_a_batch_the_net_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers by their output, what cannot be exported by halves. A liar is found."""
    x = torch.rand(1, 1, 4, 4)
    batch = [(Network([torch.relu]), x), (Network([Sign()]).eval(), x), (Network([torch.exp]), x)]
    true = judging._onnx_runtime

    def lies(path: Path, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {k: y + 0.01 * (y > 1) for k, y in true(path, feed).items()}

    monkeypatch.setattr(judging, "_onnx_runtime", lies)
    with Judge((judging.ONNX,)) as judge:
        found = {(one.place, one.kind): one for one in judge.wrong(batch)}
    assert found.keys() == {(1, "export"), (2, judging.ONNX)}
    assert "pinv" in found[1, "export"].why
    assert found[1, "export"].refused
    assert "is " in found[2, judging.ONNX].why
    assert not found[2, judging.ONNX].refused


class Product(nn.Module):
    """What our writer has an operation for, and Core ML's converter none."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.prod()


def test_a_converter_s_refusal_has_its_line_and_what_to_do(judge: Judge) -> None:
    x = torch.rand(1, 1, 4, 4) + 1
    (found,) = judge.wrong([(Network([torch.relu]), x), (Network([Product()]).eval(), x)])
    assert (found.place, found.kind, found.refused) == (1, "coreml", True)
    assert "aten::prod" in found.why
    assert "test_random_networks.py:" in found.why


@pytest.mark.parametrize(
    ("wrong", "refused", "code"),
    [(0, 0, 0), (1, 0, 1), (0, 3, 0), (0, 4, 1)],
)
def test_a_refusal_is_no_failure_until_there_are_too_many(
    wrong: int, refused: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = {"wrong": [{}] * wrong, "refused": [{}] * refused}
    assert run.summary([{"nets": 200, "cpu": 100.0, **faults}]) == code
    said = capsys.readouterr().out
    assert f"{wrong} times wrong, {refused} times refused" in said
    assert "0.50 CPU seconds each" in said


def test_a_run_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state, judged = tmp_path / "state" / "of.jsonl", []

    def record(number: int, judge: Judge) -> dict[str, object]:
        judged.append(number)
        wrong = [{"batch": number}] if number == 2 else []
        times = {"seconds": 90.0, "cpu": 60.0}
        return {"batch": number, "nets": 20, **times, "wrong": wrong, "refused": []}

    def ran(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["run", "--state", str(state), *arguments])
        judged.clear()
        return run.main()

    monkeypatch.setattr(run, "judged", record)
    assert ran("--batches", "2") == 0
    assert judged == [0, 1]
    with state.open("a") as file:
        file.write('\n{"batch": 2, "ne')  # stopped while it was written
    assert ran("--batches", "4") == 1
    assert judged == [2, 3]
    said = capsys.readouterr().out
    assert "1/2 batch 0: 20 networks, all right, 90.0 s (60.0 of CPU); 2 min left" in said
    assert "4/4 batch 3" in said
    assert ran("--batches", "4") == 1
    assert judged == []
    assert ran("--only", "2", "--batches", "4") == 1
    assert judged == [2]


@pytest.mark.parametrize("name", sorted(set(run.RECIPES)))
def test_the_recipes_of_the_run_leave_files_exact(name: str) -> None:
    """Nothing that a format computes otherwise: codes are numbers of float32."""
    assert not any(step.near for step in recipes.find(name).load())


def test_a_deep_network_raises_no_alarm_in_float32_and_float16() -> None:
    """Of 20 to 25 layers: `make slow` takes 50 of 20 to 200."""
    network, x = deep_network(6, (20, 25))
    assert len(network.layers) >= 20
    with Alarms() as alarms:
        assert [red for recipe in RECIPES for red in alarms.of(network, x, recipe)] == []


def test_norms_of_deep_networks_are_far_from_fresh_ones() -> None:
    networks = [deep_network(number, (20, 25))[0] for number in (1, 2)]
    norms = [m for net in networks for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    deviations = torch.cat([m.running_var for m in norms])
    means = torch.cat([m.running_mean for m in norms])
    assert deviations.min() < 0.1
    assert deviations.max() > 10
    assert means.min() < -4
    assert means.max() > 4
    assert described(networks[0]) == described(deep_network(1, (20, 25))[0])


def test_several_networks_keep_their_inputs() -> None:
    several = Several([Network([torch.relu]), Network([torch.neg])])
    a, b = several(torch.ones(1), torch.ones(1))
    assert (a, b) == (1, -1)
