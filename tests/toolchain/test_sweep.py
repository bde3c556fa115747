"""`mlship sweep`: what a file says, which variants are tried, which one is picked."""

from __future__ import annotations

import csv
import itertools
import json
import math
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from model_defs.errors import BadConfig, MlshipError, UnknownName
from tests.toolchain.projects import mlship
from toolchain.report import charts
from toolchain.sweep import choice, propose, sweep_file
from toolchain.sweep.row import TIMES, Row, TargetFigures
from toolchain.sweep.sweep_file import PickTable, Range, SweepFile
from toolchain.sweep.variant import Variant, make_task, source_of

TASK = Path(__file__).with_name("sweep_task.py.txt")
FILE = """
task = "{task}"
targets = ["android"]
scenes = 8
[train]
steps = 8
batch = 4
held_out = 16
[vary.train]
rate = [0.003, 0.03]
[vary.model]
width = [4, 16]
[vary.build]
recipe = ["fp32", "fp16"]
[[variants]]
"model.width" = 99
[halving]
first = 4
factor = 2
[pick]
best = "bytes"
keep = {{ score = 0.5 }}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    shutil.copy(TASK, folder / "squares.py")
    (folder / "sweep.toml").write_text(FILE.format(task=f"{folder}/squares.py:make_task"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSHIP_CACHE", str(folder / "cache"))
        result = mlship("sweep", folder / "sweep.toml", "--out", folder / "out", "--pick", "--json")
    assert result.exit_code == 0, result.output
    (folder / "said.json").write_text(result.stdout)
    return folder


def said(home: Path) -> Any:
    return json.loads((home / "said.json").read_text())


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def without_times(folder: Path) -> list[dict[str, str]]:
    return [
        {name: cell for name, cell in row.items() if name.split()[-1] not in TIMES}
        for row in table(folder)
    ]


def test_half_goes_on_and_is_shipped(home: Path) -> None:
    rows = said(home)["variants"]
    assert len(rows) == 9
    status = [row["status"] for row in rows]
    # 4 trainings, of which 2 go on, in 2 recipes each.
    assert (status.count("shipped"), status.count("stopped"), status.count("failed")) == (4, 4, 1)
    shipped = [row for row in rows if row["status"] == "shipped"]
    stopped = [row for row in rows if row["status"] == "stopped"]
    at_first = {row["variant"]: dict(row["curve"])[4] for row in shipped + stopped}
    assert min(at_first[row["variant"]] for row in shipped) >= max(
        at_first[row["variant"]] for row in stopped
    )
    assert all(row["steps"] == 8 and row["curve"][-1][0] == 8 for row in shipped)
    assert all(row["android bytes"] > 0 and row["android ms"] > 0 for row in shipped)
    assert all(0 <= row["android score"] <= 1 for row in shipped)


def test_a_variant_that_cannot_be_made_is_named_and_left_out(home: Path) -> None:
    (failed,) = (row for row in said(home)["variants"] if row["status"] == "failed")
    assert "width 99 is above 64" in failed["problem"]


def test_the_score_of_a_file_is_that_of_what_was_trained(home: Path) -> None:
    """The same net at the same size, on fewer of the same examples."""
    for row in said(home)["variants"]:
        if row["status"] == "shipped":
            assert row["android score"] == pytest.approx(row["trained score"], abs=0.05)


def test_the_table_and_the_page(home: Path) -> None:
    rows = table(home / "out")
    assert [int(row["variant"]) for row in rows] == [*range(1, 10)]
    page = (home / "out" / "index.html").read_text()
    assert "the Pareto front" in page or "picked:" in page
    assert "width=99" in page
    assert page.count("<polyline") >= 4
    logs = [path.name for path in (home / "out" / "logs").iterdir()]
    assert any("to_step_8" in name for name in logs)
    assert any("built" in name for name in logs)


def test_the_picked_one_is_built_as_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSHIP_CACHE", str(home / "cache"))
    command = shlex.split((home / "out" / "pick" / "build.txt").read_text())
    result = mlship(*command[1:], "--out", home / "built", "--json")
    assert result.exit_code == 0, result.output
    (built,) = json.loads(result.stdout)
    found = said(home)
    (picked,) = (row for row in found["variants"] if row["variant"] == found["pick"])
    assert built["artifact_bytes"] == picked["android bytes"]


def test_again_nothing_is_done_and_the_table_is_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolchain.cluster import work

    monkeypatch.setenv("MLSHIP_CACHE", str(home / "cache"))
    monkeypatch.setattr(work, "_function", lambda kind: pytest.fail(f"{kind} is done again"))
    result = mlship("sweep", home / "sweep.toml", "--out", home / "again", "--json")
    assert result.exit_code == 0, result.output
    assert without_times(home / "again") == without_times(home / "out")


def sweep_of(text: str, tmp_path: Path) -> SweepFile:
    path = tmp_path / "sweep.toml"
    path.write_text('task = "portrait"\ntargets = ["ios"]\n' + text)
    return sweep_file.read(path)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "varies nothing"),
        ("[vary.train]\nrate = []", "no list of values"),
        ("[vary.train]\nrate = {low = 2, high = 1}", "not below"),
        ("[vary.train]\nrate = {low = 0, high = 1, log = true}", "no logarithm"),
        ("[vary.build]\nrecipe = ['fp17']", "fp17"),
        ("[vary.build]\ntarget = ['ios']", "target"),
        ("[vary.train]\nrate = [1e-3]\n[search]\nmethod = 'random'", "variants is missing"),
        ("[vary.train]\nrate = [1e-3]\n[search]\nmethod = 'bayes'", "bayes"),
        ("[vary.train]\nsteps = [10, 20]\n[halving]\nfirst = 5", "steps vary"),
        ("[vary.train]\nrate = [1e-3]\n[pick]\nkeep = {score = 2}", "score"),
        ("[vary.train]\nrate = [1e-3]\n[pick]\nbest = 'beauty'", "beauty"),
        ("[[variants]]\nrate = 1", "none of train"),
        ("varies = 1", "varies"),
        ("[vary.train]\nrate = [1e-3]\n[train]\nsize = 2", "size"),
        ("[", "no TOML"),
    ],
)
def test_a_file_that_cannot_be_meant(text: str, wrong: str, tmp_path: Path) -> None:
    with pytest.raises(MlshipError) as caught:
        sweep_of(text, tmp_path)
    assert wrong in str(caught.value)
    assert caught.value.exit_code == 2


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="no such sweep") as caught:
        sweep_file.read(tmp_path / "none.toml")
    assert "docs/sweeps.md" in caught.value.do


def test_arguments_that_a_task_does_not_take() -> None:
    with pytest.raises(UnknownName, match="widht") as caught:
        make_task("portrait", {"widht": 0.5})
    assert "width" in caught.value.do
    with pytest.raises(BadConfig, match="size 100"):
        make_task("portrait", {"size": 100})
    with pytest.raises(BadConfig, match="takes no arguments"):
        make_task("depth", {"width": 0.5})


def test_a_task_of_the_zoo_with_other_arguments() -> None:
    task = make_task("portrait", {"size": 96, "width": 0.5, "depth": 0.5, "resize": "crop"})
    from model_defs.counting import count

    assert task.spec.inputs[0].shape == (1, 3, 96, 96)
    assert task.spec.inputs[0].preprocess is not None
    assert task.spec.inputs[0].preprocess.resize == "crop"
    whole = count(make_task("portrait", {}).spec)
    assert count(task.spec).parameters < 0.4 * whole.parameters
    assert whole == count(make_task("portrait", {"width": 1.0}).spec)


def test_ranges() -> None:
    assert Range(low=1, high=9).grid == (1, 5, 9)
    assert Range(low=0.001, high=0.1, log=True).grid == (0.001, 0.01, 0.1)
    assert Range(low=1, high=2, count=5).grid == (1, 2)


def test_a_grid_has_every_combination_and_what_is_listed_once(tmp_path: Path) -> None:
    text = "[vary.train]\nrate = [1e-3, 2e-3]\nbatch = [2, 4, 8]\n"
    found = propose.proposer(sweep_of(text, tmp_path))
    batch = found.ask()
    pairs = {(one["train.rate"], one["train.batch"]) for one in batch}
    assert pairs == set(itertools.product((1e-3, 2e-3), (2, 4, 8)))
    assert len(batch) == 6
    assert found.ask() == ()


def test_random_ones_are_different_the_same_each_time_and_within(tmp_path: Path) -> None:
    text = (
        "[vary.train]\nrate = {low = 1e-4, high = 1e-2, log = true}\nbatch = [2, 4]\n"
        "[search]\nmethod = 'random'\nvariants = 30\n"
    )
    batch = propose.proposer(sweep_of(text, tmp_path)).ask()
    assert len({tuple(one.items()) for one in batch}) == 30
    assert batch == propose.proposer(sweep_of(text, tmp_path)).ask()
    rates = [float(one["train.rate"]) for one in batch]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    below = sum(rate < 1e-3 for rate in rates)
    assert 8 <= below <= 22, "half of a logarithm's way"
    few = sweep_of(text.replace("{low = 1e-4, high = 1e-2, log = true}", "[1e-3]"), tmp_path)
    assert len(propose.proposer(few).ask()) == 2


def test_a_study_learns_and_repeats_itself(tmp_path: Path) -> None:
    text = (
        "[vary.train]\nrate = {low = 1e-4, high = 1e-1, log = true}\n"
        "[search]\nmethod = 'optuna'\nvariants = 40\nbatch = 10\nobjectives = ['score']\n"
    )

    def run() -> list[float]:
        found, rates = propose.proposer(sweep_of(text, tmp_path)), []
        while batch := found.ask():
            own = [float(one["train.rate"]) for one in batch]
            rates += own
            found.tell([{"score": -abs(math.log10(rate) + 3)} for rate in own[:-1]] + [None])
        return rates

    rates = run()
    assert len(rates) == 40
    assert rates == run()
    off = [abs(math.log10(rate) + 3) for rate in rates]
    assert sum(off[30:]) < 0.7 * sum(off[:10]), "it comes nearer to the best"


def row(number: int, score: float, count: int, ms: float | None = 1.0, **varied: Any) -> Row:
    variant = Variant("t", {}, {}, "fp16", varied)
    found = TargetFigures(True, count, score, ms=ms)
    return Row(number, variant, 8, score, ((4, score / 2), (8, score)), targets={"ios": found})


def test_the_front_has_what_nothing_beats() -> None:
    rows = [row(1, 0.9, 100), row(2, 0.8, 50), row(3, 0.8, 60), row(4, 0.7, 50), row(5, 0.95, 300)]
    assert [r.number for r in choice.front(rows, ("score", "bytes"))] == [1, 2, 5]


def test_the_pick_is_the_rule_s() -> None:
    rows = [row(1, 0.90, 100), row(2, 0.89, 50), row(3, 0.5, 10), row(4, 0.89, 50)]

    def number(**rule: Any) -> int | None:
        found = choice.picked(rows, PickTable(**rule))
        return found.number if found else None

    assert number(best="score") == 1
    assert number(best="bytes") == 3
    assert number(best="bytes", keep={"score": 0.98}) == 2
    assert number(best="bytes", keep={"score": 0.995}) == 1
    assert number(best="score", keep={"bytes": 0.2}) == 2, "at most five times the fewest"
    assert number(best="macs") is None
    unequal = Row(9, rows[0].variant, targets={"ios": TargetFigures(False, problem="no")})
    assert choice.picked([unequal], PickTable()) is None


def test_what_a_choice_was_worth(tmp_path: Path) -> None:
    wanted = sweep_of("[vary.model]\na = [1, 2]\nb = {low = 0.0, high = 1.0}\n", tmp_path)
    rows = [
        row(1, 0.2, 100, **{"model.a": 1, "model.b": 0.1}),
        row(2, 0.4, 100, **{"model.a": 2, "model.b": 0.1}),
        row(3, 0.2, 200, **{"model.a": 1, "model.b": 0.9}),
        row(4, 0.4, 200, **{"model.a": 2, "model.b": 0.9}),
    ]
    found = {(e.choice, e.figure): e for e in choice.effects(rows, wanted)}
    size_of_a, size_of_b = found["model.a", "bytes"], found["model.b", "bytes"]
    assert size_of_a.share == 0
    assert size_of_b.share == 1
    assert size_of_b.worth == 100
    assert {name: n for name, (_, n) in size_of_b.means.items()} == {"low": 2, "high": 2}


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.291, 0.2934), (1e-6, 3e-6), (150e3, 9e6)])
def test_ticks_are_round_and_within(low: float, high: float) -> None:
    found = charts.ticks(low, high)
    assert 2 <= len(found) <= 11
    assert all(low <= tick <= high for tick in found)
    assert all(len(f"{tick:g}") < 9 for tick in found)


def test_a_chart_places_its_points_within() -> None:
    marks = [charts.ChartMark((1.0, 2.0), "a"), charts.ChartMark((3.0, 2.0), "b")]
    chart = charts.Chart("t", "x", "y", marks)
    for mark in marks:
        x, y = chart.place(mark.at)
        assert charts.LEFT < x < charts.WIDTH
        assert 0 < y < charts.HEIGHT


def test_the_source_of_a_variant_makes_its_specification(tmp_path: Path) -> None:
    shutil.copy(TASK, tmp_path / "squares.py")
    for name, model in ((f"{tmp_path}/squares.py:make_task", {"width": 8}), ("portrait", {})):
        variant = Variant(name, model, {}, "fp16", {})
        made: dict[str, Any] = {}
        exec(source_of(variant), made)  # what we wrote ourselves
        assert made["spec"].inputs == variant.load().spec.inputs
