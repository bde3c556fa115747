"""shrink, sensitivity, prune, train and verify --rebuild by workers: the same as by one process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from model_defs.errors import BadCheckpoint, RecipeMismatch
from tests.toolchain.projects import mlship
from tests.toolchain.test_matrix import NETS
from tests.toolchain.test_shrink import NET
from tests.toolchain.test_sweep import TASK
from toolchain.cluster import connect as connecting
from toolchain.cluster import work
from toolchain.cluster.pool import SerialPool
from toolchain.passes.prune_channels import PruneChannels
from toolchain.recipes import recipes
from toolchain.search import spread
from toolchain.search.search import Memory
from toolchain.search.sensitivity import measure_model
from toolchain.training.state import Settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "net.py").write_text(NET)
    shutil.copy(TASK, tmp_path / "squares.py")
    return tmp_path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in a job: the number of threads decides last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(work.THREADS)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`--cluster local` is this process; the kinds of jobs that it did."""
    import contextlib

    done: list[str] = []
    function = work._function
    monkeypatch.setattr(work, "_function", lambda kind: done.append(kind) or function(kind))

    @contextlib.contextmanager
    def connect(name: str) -> Iterator[SerialPool]:
        yield SerialPool()

    monkeypatch.setattr(connecting, "connect", connect)
    return done


def silent(what: str, stage: str) -> None:
    pass


def test_sensitivity_in_parts_is_that_of_the_whole(home: Path, one_thread: None) -> None:
    name = f"{home / 'net.py'}:spec"
    whole = measure_model(name, recipes.find("small").on("ios"), None, 0, silent)
    parts = spread.sensitivity(SerialPool(slots=3), name, "small", "ios", None, 0, silent)
    assert [one.layer for one in parts] == [one.layer for one in whole]
    assert parts == whole
    assert len(whole) > 2


def test_what_a_part_refuses_is_raised_as_itself(home: Path) -> None:
    with pytest.raises(RecipeMismatch, match="rounds nothing"):
        spread.sensitivity(SerialPool(), f"{home / 'net.py'}:spec", "fp32", "ios", None, 0, silent)


def test_shrink_finds_the_same_with_layers_that_others_measured(
    home: Path, local: list[str], one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["shrink", f"{home / 'net.py'}:spec", "--target", "web", "--max-drop", "50%", "--json"]
    alone = mlship(*asked, "--out", home / "alone")
    assert local == []
    shutil.rmtree(home / "cache" / "shrink")
    remembered: list[str] = []
    call = Memory.__call__

    def counted(self: Memory, what: str, how: Any) -> float:
        if what not in self._known:
            remembered.append(what)
        return call(self, what, how)

    monkeypatch.setattr(Memory, "__call__", counted)
    other = mlship(*asked, "--out", home / "other", "--cluster", "local")
    assert {*local} == {"choices"}
    assert alone.exit_code == other.exit_code == 0, other.output
    assert json.loads(alone.stdout) == json.loads(other.stdout)
    assert remembered
    assert all(what == "score" or what.startswith("plan ") for what in remembered)


def settings() -> Settings:
    return Settings(steps=2, batch=2, held_out=4, warm=1)


def prune(home: Path, out: str, **options: Any) -> dict[str, Any]:
    asked = {"stages": 1, "base": None, "resume": False, **options}
    wanted = PruneChannels(ratio=0.5, importance="magnitude", multiple=1)
    name = f"{home / 'squares.py'}:task"
    return spread.prune(SerialPool(), name, wanted, settings(), home / out, asked, silent)


def test_a_pruning_by_a_worker(home: Path) -> None:
    found = prune(home, "pruned")
    assert Path(found["weights"]).is_file()
    assert found["after"]["parameters"] < found["before"]["parameters"]


def test_a_pruning_whose_worker_died_goes_on_and_another_does_not(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolchain.training import loop

    train = loop.train

    class Died(BaseException):
        pass

    def dying(*arguments: Any, **how: Any) -> Any:
        raise Died

    monkeypatch.setattr(loop, "train", dying)
    with pytest.raises(Died):
        prune(home, "pruned")
    monkeypatch.setattr(loop, "train", train)
    assert Path(prune(home, "pruned")["weights"]).is_file()
    with pytest.raises(BadCheckpoint, match="already"):
        prune(home, "pruned", stages=2)


def test_the_command_prunes_by_workers(home: Path, local: list[str]) -> None:
    name = f"{home / 'squares.py'}:task"
    how = ["--steps", "2", "--batch", "2", "--stages", "1", "--importance", "magnitude"]
    result = mlship(
        "prune", name, *how, "--multiple", "1", "--out", home / "p", "--cluster", "local", "--json"
    )
    assert result.exit_code == 0, result.output
    assert local == ["prune"]
    assert Path(json.loads(result.stdout)["weights"]).is_file()


def test_scenes_are_drawn_beforehand(home: Path, local: list[str]) -> None:
    name = f"{home / 'squares.py'}:task"
    how = ["--steps", "40", "--batch", "2", "--cluster", "local", "--out", home / "t", "--json"]
    result = mlship("train", name, *how)
    assert result.exit_code == 0, result.output
    assert local == ["examples", "examples"], "of 80 examples 64 and 16"


def test_an_example_is_made_for_its_scene(home: Path) -> None:
    asked = {"task": f"{home / 'squares.py'}:task", "size": 1.0, "first": 5, "count": 3}
    assert spread.draw_part(asked, silent) == 3


def test_verify_rebuilds_by_workers(home: Path, local: list[str]) -> None:
    (home / "nets.py").write_text(NETS)
    (home / "mlship.toml").write_text(
        'schema = 2\n[project]\ntargets = ["android"]\n[models.net]\nspec = "nets.py:net"\n'
    )
    assert mlship("lock", "--project", home).exit_code == 0
    result = mlship("verify", "--project", home, "--rebuild", "--cluster", "local")
    assert result.exit_code == 0, result.output
    assert local == ["cell"]
    assert "built again" in result.output
