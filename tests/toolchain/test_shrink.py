"""`mlship shrink`: the knapsack, what is remembered, and a tiny net from end to end."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from toolchain.cli.main import main
from toolchain.cli.shrink import Bytes, Share
from toolchain.recipes.targets import TARGETS
from toolchain.search import knapsack
from toolchain.search.choices import StorageChoice, list_kinds

NET = """
import torch
from torch import nn
from model_defs.spec import ModelSpec, Postprocess, Preprocess, TensorSpec


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(),
            nn.Conv2d(64, 1, 1))

    def forward(self, image):
        return self.layers(image).sigmoid()


image = TensorSpec("image", (1, 3, 32, 32), "image", low=0, high=1, preprocess=Preprocess())
out = TensorSpec("out", (1, 1, 32, 32), "map", low=0, high=1, tolerance=0.02,
                 postprocess=Postprocess())
spec = ModelSpec("net", Net, inputs=(image,), outputs=(out,))
"""


def choices_of(seed: int) -> dict[str, list[StorageChoice]]:
    source = random.Random(seed)
    found = {}
    for layer in "abcd":
        size = source.randint(10, 100)
        errors = sorted((source.random() for _ in range(2)), reverse=True)
        found[layer] = [
            StorageChoice(layer, "float16", 4 * size, 0.0),
            StorageChoice(layer, "int8", 2 * size, errors[1]),
            StorageChoice(layer, "int4", size, errors[0]),
        ]
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_fits_and_is_nearly_the_best_there_is(seed: int) -> None:
    choices = choices_of(seed)
    plans = [dict(zip(choices, plan, strict=True)) for plan in itertools.product(*choices.values())]
    least = min(map(knapsack.total, plans))
    budget = least + (max(map(knapsack.total, plans)) - least) // 2
    found = knapsack.pack(choices, budget)
    assert found is not None
    assert knapsack.total(found) <= budget
    best = min(error(p) for p in plans if knapsack.total(p) <= budget)
    smallest = max(error(p) for p in plans)
    assert error(found) <= best + 0.15 * (smallest - best)


def error(plan: knapsack.Plan) -> float:
    return sum(choice.error for choice in plan.values())


def test_no_plan_fits_below_the_least_and_the_best_fits_above_the_most() -> None:
    choices = choices_of(0)
    least = sum(own[-1].bytes for own in choices.values())
    assert knapsack.pack(choices, least - 1) is None
    assert set(_kinds(knapsack.pack(choices, least))) == {"int4"}
    assert set(_kinds(knapsack.pack(choices, 10**6))) == {"float16"}


def _kinds(plan: knapsack.Plan | None) -> list[str]:
    assert plan is not None
    return [choice.kind for choice in plan.values()]


def test_only_what_all_targets_store_is_tried() -> None:
    assert "int6" in list_kinds([TARGETS["ios"]])
    assert list_kinds(list(TARGETS.values())) == ("int8",)


@pytest.mark.parametrize(
    ("text", "count"),
    [("1MB", 1_000_000), ("800 kB", 800_000), ("1.5MiB", 1572864), ("77", 77), ("2mb", 2_000_000)],
)
def test_bytes_are_read(text: str, count: int) -> None:
    assert Bytes().convert(text, None, None) == count


@pytest.mark.parametrize("text", ["", "MB", "1 M", "1e400", "nan", "0.5", "-1 MB", "1 ms"])
def test_what_is_no_number_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Bytes().convert(text, None, None)


@pytest.mark.parametrize("text", ["", "%", "100%", "1", "-1%", "nan", "1 MB"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Share().convert(text, None, None)


def test_shares_are_read() -> None:
    assert Share().convert("1%", None, None) == pytest.approx(0.01)
    assert Share().convert("0.02", None, None) == pytest.approx(0.02)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shrink")
    (folder / "net.py").write_text(NET)
    return folder


def mlship(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_a_budget_is_kept_on_every_target_and_the_recipe_builds_the_same(net: Path) -> None:
    out = net / "dist"
    asked = ["shrink", f"{net}/net.py:spec", "--target", "ios", "--target", "android"]
    result = mlship(*asked, "--max-bytes", "85kB", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["metric"] == "PSNR to the model"
    assert set(found["bytes"]) == {"ios", "android"}
    assert max(found["bytes"].values()) <= 85_000
    assert found["bytes"][found["binding"].split()[-1]] == max(found["bytes"].values())
    assert set(found["layers"].values()) <= {"float16", "int8", "int4"}
    assert {p["bytes"] for p in found["curve"]} >= {min(p["bytes"] for p in found["curve"])}
    manifest = json.loads((out / "net-ios" / "manifest.json").read_text())
    built = {k: v for k, v in found["layers"].items() if v != "float16"}
    assert manifest["recipe"]["layers"] == built
    again = mlship(
        *("build", f"{net}/net.py:spec", "--target", "ios", "--out", net / "again"),
        *("--recipe", out / "net.recipe.json", "--json"),
    )
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)[0]["artifact_bytes"] == found["bytes"]["ios"]


def test_the_smallest_within_a_drop(net: Path) -> None:
    page = net / "page.html"
    result = mlship(
        *("shrink", f"{net}/net.py:spec", "--target", "ios", "--max-drop", "40%"),
        *("--out", net / "drop", "--json", "--html", page),
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["drop"] <= 0.4
    assert "drop" in found["binding"]
    assert "<svg" in page.read_text()
    assert "layers.3" in page.read_text()


def test_a_budget_below_the_possible_states_the_least(net: Path) -> None:
    result = mlship(
        "shrink", f"{net}/net.py:spec", "--target", "web", "--max-bytes", "9kB", "--out", net / "no"
    )
    assert result.exit_code == 2
    assert "9,000 bytes cannot be had: the least is about" in result.stderr
    assert not (net / "no").exists()


def test_a_plan_that_fits_but_loses_too_much_fails_and_writes_nothing(net: Path) -> None:
    result = mlship(
        *("shrink", f"{net}/net.py:spec", "--target", "ios", "--max-bytes", "60kB"),
        *("--max-drop", "1%", "--out", net / "lossy"),
    )
    assert result.exit_code == 1, result.output
    assert "more than 1.00%" in result.stderr
    assert not (net / "lossy").exists()


def test_what_was_measured_is_not_measured_again(
    net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolchain.search import choices

    asked = ("shrink", f"{net}/net.py:spec", "--target", "ios", "--target", "android")
    kept = ("--max-bytes", "85kB", "--out", net / "dist")
    assert mlship(*asked, *kept).exit_code == 0
    monkeypatch.setattr(choices._Outputs, "error", lambda self: pytest.fail("measured again"))
    assert mlship(*asked, *kept).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--target", "ios"),
        ("--target", "ios", "--max-bytes", "big"),
        ("--target", "ios", "--max-bytes", "0"),
        ("--target", "ios", "--max-drop", "150%"),
        ("--target", "palm", "--max-bytes", "1MB"),
    ],
)
def test_bad_budgets_are_refused(net: Path, arguments: tuple[str, ...]) -> None:
    result = mlship("shrink", f"{net}/net.py:spec", *arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_sensitivity_ranks_layers(net: Path) -> None:
    result = mlship("sensitivity", f"{net}/net.py:spec", "--recipe", "weights-int4", "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [r["share"] for r in rows] == sorted((r["share"] for r in rows), reverse=True)
    assert {r["layer"] for r in rows} == {f"layers.{n}" for n in (0, 3, 5, 7)}
    table = mlship("sensitivity", f"{net}/net.py:spec", "--metric", "--scenes", "2")
    assert table.exit_code == 0
    assert "layers.3" in table.output
    assert mlship("sensitivity", f"{net}/net.py:spec", "--recipe", "fp32").exit_code == 2
