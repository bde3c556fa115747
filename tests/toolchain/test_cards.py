"""Cards and the table are those of the weights as they ship, and the weights say something."""

from __future__ import annotations

import pytest
import torch

from model_defs import zoo
from model_defs.weights import FOLDER as WEIGHTS
from toolchain.bundle.files import file_digest
from toolchain.evaluation import cards, dataset
from toolchain.evaluation.run import EvalRow
from toolchain.training import weights
from toolchain.training.weights import history

TRAINED = (
    *("select", "select-coarse", "portrait", "portrait-video", "portrait-head"),
    *("depth", "depth-head", "saliency", "inpaint-lite"),
)
"""Every phone-sized model, but the trunk, which is evaluated with its heads."""


def test_every_phone_sized_model_is_trained() -> None:
    assert set(cards.trained()) == set(TRAINED)
    untrained = [name for name in zoo.MODELS if zoo.load(name).weights is None]
    assert untrained == [
        *("select-baseline", "depth-upproj", "saliency-resnet"),
        *("inpaint", "inpaint-reflect", "inpaint-pconv"),
    ]


def test_weights_are_40_megabytes_at_most() -> None:
    files = list(WEIGHTS.glob("*.safetensors"))
    assert len(files) == 11
    assert sum(path.stat().st_size for path in files) <= 40_000_000


def test_kernels_are_stored_in_the_narrowest_type_that_holds_them_as_float16() -> None:
    coarse, fine, bias = (
        torch.tensor([[0.5, -2.0]]),
        torch.tensor([[0.5, 0.3]]),
        torch.tensor([0.3]),
    )
    found = weights.stored({"coarse": coarse, "fine": fine, "bias": bias})
    assert found["coarse"].dtype == torch.float8_e4m3fn
    assert torch.equal(found["coarse"].float(), coarse)
    assert torch.equal(found["fine"], fine.half())
    assert found["bias"] is bias


def test_cards_and_table_are_current() -> None:
    """`make cards` remakes them."""
    for name, text in cards.pages().items():
        assert (cards.FOLDER / name).read_text(encoding="utf-8") == text, name


@pytest.mark.parametrize("name", TRAINED)
def test_the_figures_are_of_the_weights_that_ship(name: str) -> None:
    path = zoo.load(name).weights
    assert path is not None
    assert file_digest(path) in cards.results()[name].weights
    assert history(path)


@pytest.mark.parametrize("name", TRAINED)
def test_the_contact_sheet_is_small_and_was_looked_at(name: str) -> None:
    assert 5_000 < (cards.FOLDER / f"{name}.jpg").stat().st_size < 150_000
    assert cards.NOTES[name].seen


@pytest.mark.parametrize("name", TRAINED)
def test_on_scenes_a_model_beats_the_rules_that_need_no_net(name: str) -> None:
    rows = [row for row in cards.results()[name].rows if row.set == "scenes"]
    (own,) = (row for row in rows if row.who == name)
    for row in rows:
        if row is not own:
            assert better(own, row, dataset.find(name).metrics), (own, row)


def better(own: EvalRow, other: EvalRow, metrics: tuple[dataset.EvalMetric, ...]) -> bool:
    """By more than half of the metrics that tell them apart."""
    wins = [
        (own.metrics[m.name] > other.metrics[m.name]) == m.higher
        for m in metrics
        if own.metrics[m.name] != other.metrics[m.name]
    ]
    return sum(wins) > len(wins) / 2
