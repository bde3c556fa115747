"""Evaluation: the truth has the best metrics, liars have not, the samples stay the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from converters.api import Tensors
from model_defs import zoo
from model_defs.errors import UnknownName
from model_defs.scenes import sampling
from toolchain.cli.main import main
from toolchain.data import scenery
from toolchain.evaluation import dataset as datasets
from toolchain.evaluation.dataset import EvalSample, Predict
from toolchain.evaluation.photographs import FILES, photograph
from toolchain.evaluation.run import EvalResult, EvalRow

KINDS = ("select", "portrait", "portrait-video", "depth", "saliency", "inpaint-lite")
"""A model of each dataset."""


@pytest.fixture(autouse=True)
def small_scenes(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "scenes"
    whole = sampling.sample

    def shrunk(seed: int, height: int, width: int, *, portraits: float) -> sampling.Sample:
        drawn = whole(seed, 64, 64, portraits=portraits)
        return replace(drawn, view=scenery_size(drawn.view, height))

    monkeypatch.setattr(scenery, "folder", lambda: folder)
    monkeypatch.setattr(scenery.sampling, "sample", shrunk)


def scenery_size(view: sampling.View, side: int) -> sampling.View:
    from toolchain.training.augment import resized

    return resized(view, (0, 0, 64, 64), side, side)


def asked(name: str, scenes: int = 2) -> list[EvalSample]:
    spec = zoo.load(name)
    return list(datasets.find(name).samples(spec.inputs, scenes))


def truthful(name: str, sample: EvalSample) -> Predict:
    """Knows the truth, as the model's output would say it."""
    truth = sample.truth
    if name == "depth":
        truth = truth.min() / truth
    if name == "saliency":
        truth = truth.repeat(2, 2).repeat(2, 3)
    return lambda inputs: truth


@pytest.mark.parametrize("name", KINDS)
def test_the_truth_has_the_best_metrics(name: str) -> None:
    dataset = datasets.find(name)
    sample = asked(name)[0]
    found = dataset.compute(sample, truthful(name, sample))
    best = {"NoC@85": 1, "NoC@90": 1, "AbsRel": 0, "RMSE": 0, "KL": 0, "L1": 0, "PSNR": 200}
    for metric in dataset.metrics:
        if metric.name != "NSS":
            assert found[metric.name] == pytest.approx(best.get(metric.name, 1), abs=0.02)


@pytest.mark.parametrize("name", KINDS)
def test_a_rule_that_needs_no_net_has_worse_metrics_than_the_truth(name: str) -> None:
    dataset = datasets.find(name)
    sample = asked(name)[0]
    right = dataset.compute(sample, truthful(name, sample))
    for predict in dataset.trivial.values():
        wrong = dataset.compute(sample, predict)
        assert wrong.keys() == right.keys()
        for metric in dataset.metrics:
            worse = wrong[metric.name] <= right[metric.name]
            assert worse == metric.higher or wrong[metric.name] == right[metric.name]


@pytest.mark.parametrize("name", KINDS)
def test_questions_are_the_same_every_time(name: str) -> None:
    first, again = asked(name), asked(name)
    assert [q.number for q in first if q.set == "photographs"] == list(
        range(len([q for q in first if q.set == "photographs"]))
    )
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.truth, other.truth)
        assert all(np.array_equal(one.inputs[k], other.inputs[k]) for k in one.inputs)


def test_padding_beside_a_photograph_does_not_count() -> None:
    sample = next(q for q in asked("select") if q.set == "photographs" and q.number == 2)
    left, top, right, _ = sample.box
    assert (left, right) == (0, 512)
    assert top > 50
    lying = sample.truth.copy()
    lying[:, :, :top] = 1
    found = datasets.find("select").compute(sample, lambda inputs: lying)
    assert found["IoU, 1 click"] == 1


def finding_nothing(sample: EvalSample) -> tuple[Predict, list[Tensors]]:
    """A model that never finds anything, and what it was asked."""
    calls: list[Tensors] = []

    def stubborn(inputs: Tensors) -> np.ndarray:
        calls.append(inputs)
        return np.zeros_like(sample.truth)

    return stubborn, calls


def test_the_robot_gives_up_and_says_so() -> None:
    sample = asked("select")[0]
    stubborn, calls = finding_nothing(sample)
    found = datasets.find("select").compute(sample, stubborn)
    assert found["NoC@85"] == found["NoC@90"] == len(calls) == 20


@pytest.mark.parametrize("name", KINDS)
def test_a_metric_that_is_asked_for_alone_has_the_value_that_it_has_among_all(name: str) -> None:
    dataset = datasets.find(name)
    sample = asked(name)[0]
    (predict, *_) = dataset.trivial.values()
    together = dataset.compute(sample, predict)
    for metric in dataset.metrics:
        alone = dataset.only(metric.name)
        assert alone.metrics == (metric,)
        assert alone.compute(sample, predict) == {metric.name: together[metric.name]}


def test_a_metric_that_a_dataset_lacks_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(UnknownName, match="delta2") as caught:
        datasets.find("depth").only("delta2")
    assert "delta1" in str(caught.value)


def test_builds_of_a_net_that_answers_clicks_are_compared_by_one_click() -> None:
    sample = asked("select")[0]
    stubborn, calls = finding_nothing(sample)
    assert datasets.find("select").comparing.compute(sample, stubborn) == {"IoU, 1 click": 0}
    assert len(calls) == 1
    assert datasets.find("depth").comparing.metrics == datasets.find("depth").metrics[:1]


def test_a_video_sees_its_own_mask_in_the_next_frame() -> None:
    sample = asked("portrait-video")[0]
    seen: list[float] = []

    def net(inputs: Tensors) -> np.ndarray:
        seen.append(float(inputs["previous_mask"].sum()))
        return sample.truth

    datasets.find("portrait-video").compute(sample, net)
    assert seen[0] == 0
    assert seen[-1] == sample.truth.sum()


def test_photographs_have_masks_of_their_size() -> None:
    for name in FILES:
        shown = photograph(name)
        assert shown.subject.shape == shown.picture.shape[:2]
        assert 0.1 < shown.subject.mean() < 0.8


def test_results_survive_being_written() -> None:
    result = EvalResult(
        "depth", "pytorch", "none", (EvalRow("depth", "scenes", 3, {"delta1": 0.5}),)
    )
    assert EvalResult.from_json(json.loads(json.dumps(result.to_json()))) == result


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("cache")
def test_a_model_and_its_bundle_have_the_same_metrics(tmp_path: Path) -> None:
    built = ["build", "portrait-head", "--target", "android", "--out", str(tmp_path)]
    assert CliRunner().invoke(main, built).exit_code == 0
    command = ["eval", "portrait-head", f"{tmp_path}/portrait-head-android", "--scenes", "2"]
    result = CliRunner().invoke(main, [*command, "--json"])
    assert result.exit_code == 0, result.output
    model, bundle = json.loads(result.stdout)
    assert (model["backend"], bundle["backend"]) == ("pytorch", "litert")
    assert model["weights"] == bundle["weights"]
    for mine, theirs in zip(model["rows"], bundle["rows"], strict=True):
        assert mine["who"] == theirs["who"]
        assert theirs["metrics"] == pytest.approx(mine["metrics"], abs=0.02)
    wrong = CliRunner().invoke(
        main, ["eval", f"{tmp_path}/portrait-head-android", "--backend", "tfjs-wasm"]
    )
    assert wrong.exit_code == 2
    assert "litert" in wrong.stderr
    one = CliRunner().invoke(main, ["eval", *command[1:2], *command[3:], "--only", "IoU", "--json"])
    for mine, alone in zip(model["rows"], json.loads(one.stdout)[0]["rows"], strict=True):
        assert alone["metrics"] == {"IoU": mine["metrics"]["IoU"]}
    check_a_file_in_its_place(tmp_path / "portrait-head-android", bundle["rows"])


def check_a_file_in_its_place(bundle: Path, rows: list[dict[str, object]]) -> None:
    file = bundle.parent / "theirs.tflite"
    file.write_bytes((bundle / "portrait-head.tflite").read_bytes())
    command = ["eval", str(bundle), "--file", str(file), "--scenes", "2", "--json"]
    (found,) = json.loads(CliRunner().invoke(main, command).stdout)
    assert (found["weights"], found["rows"]) == (str(file), rows)
    file.write_bytes(b"no model")
    assert "not a model" in CliRunner().invoke(main, command).stdout


def test_a_model_without_a_dataset_exits_2() -> None:
    result = CliRunner().invoke(main, ["eval", "depth-trunk"])
    assert result.exit_code == 2
    assert "unknown evaluation dataset 'depth-trunk'" in result.stderr
    backend = CliRunner().invoke(main, ["eval", "depth", "--backend", "litert"])
    assert backend.exit_code == 2
    assert "is a model, not a bundle" in backend.stderr
    file = CliRunner().invoke(main, ["eval", "depth", "--file", "theirs.tflite"])
    assert "not a bundle, so that theirs.tflite cannot stand in" in file.stderr
    metric = CliRunner().invoke(main, ["eval", "depth", "--scenes", "2", "--only", "delta2"])
    assert metric.exit_code == 2
    assert "unknown metric 'delta2'" in metric.stderr
    assert CliRunner().invoke(main, ["eval"]).exit_code == 2
