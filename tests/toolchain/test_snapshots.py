"""Golden pictures: a changed output is caught, shown, and accepted by `mlship approve`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from own_models import TWO
from PIL import Image

from model_defs.errors import BadPicture
from model_defs.spec import TensorSpec
from tests.toolchain.projects import ci, copied, made, mlship, report
from toolchain.ci.golden import read, write
from toolchain.ci.snapshots import Snapshot, checks

CONFIG = '[project]\ntargets = ["android"]\n[models.two]\nspec = "net.py:spec"\n'
SPEC = TensorSpec("mask", (1, 1, 4, 6), "mask", low=0, high=1, tolerance=0.02)


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("golden"), TWO, CONFIG, "ci", "--update-baseline")


@pytest.fixture
def project(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(golden, tmp_path, monkeypatch)


def pictures(folder: Path) -> dict[str, str]:
    """The verdict on each picture."""
    found = {c["name"]: c["verdict"] for c in report(folder)["checks"]}
    return {n.removeprefix("picture "): v for n, v in found.items() if n.startswith("picture ")}


def change(path: Path) -> None:
    """Make a golden picture brighter in one corner."""
    values, low, high = read(path)
    values[..., :8, :8] = np.minimum(values[..., :8, :8] + 0.3 * (high - low), high)
    write(path, values, low, high)


def test_a_changed_mask_is_caught_shown_and_approved(project: Path) -> None:
    change(project / "snapshots" / "two" / "photo.mask.png")
    result = ci(project)
    assert result.exit_code == 1, result.output
    verdicts = pictures(project)
    assert verdicts.pop("photo.mask") == "failed"
    assert set(verdicts.values()) == {"passed"}
    assert "picture photo.mask: it looks different: by up to 0.3" in result.stderr
    page = (project / "mlship-report" / "report.html").read_text()
    assert "two, photo.mask: changed" in page
    assert page.count("data:image/png") == 3
    approved = mlship("approve", "--project", project)
    assert "approved two/photo.mask.png (changed)" in approved.stdout
    assert ci(project).exit_code == 0
    assert "nothing to approve" in mlship("approve", "--project", project).stdout


def test_a_missing_golden_picture_is_no_success(project: Path) -> None:
    (project / "snapshots" / "two" / "photo.depth.png").unlink()
    result = ci(project)
    assert result.exit_code == 3, result.output
    assert pictures(project)["photo.depth"] == "skipped"
    assert mlship("approve", "two", "--project", project).exit_code == 0
    assert (project / "snapshots" / "two" / "photo.depth.png").is_file()


def test_a_picture_that_nothing_makes_any_more(project: Path) -> None:
    folder = project / "snapshots" / "two"
    shutil.copy(folder / "photo.depth.png", folder / "photo.left.png")
    assert ci(project).exit_code == 1
    assert "removed two/photo.left.png" in mlship("approve", "--project", project).stdout
    assert not (folder / "photo.left.png").exists()


def test_a_new_baseline_does_not_approve_what_changed(project: Path) -> None:
    path = project / "snapshots" / "two" / "photo.mask.png"
    change(path)
    before = path.read_bytes()
    assert mlship("ci", "--project", project, "--update-baseline").exit_code == 1
    assert path.read_bytes() == before


def test_a_damaged_golden_picture_is_told(project: Path) -> None:
    path = project / "snapshots" / "two" / "photo.mask.png"
    Image.new("L", (48, 32)).save(path)
    result = ci(project)
    assert result.exit_code == 2
    assert "no golden picture" in result.stderr


def test_approving_without_a_run(project: Path, tmp_path: Path) -> None:
    result = mlship("approve", "--project", project, "--report", tmp_path / "nothing")
    assert result.exit_code == 2
    assert "no run has been kept" in result.stderr


def test_approving_an_unknown_model(project: Path) -> None:
    result = mlship("approve", "tow", "--project", project)
    assert result.exit_code == 2
    assert "did you mean 'two'" in result.stderr


def shot(before: np.ndarray, after: np.ndarray) -> Snapshot:
    return Snapshot("two", "photo.mask", SPEC, before, after)


def test_rounding_is_no_change_and_more_than_the_tolerance_is() -> None:
    base = np.full((1, 1, 4, 6), 0.5)
    assert shot(base, base + 0.02).state == "same"
    assert shot(base, base + 0.03).state == "changed"


@pytest.mark.parametrize(
    ("tolerance", "flipped", "state"),
    [(None, 1, "same"), (None, 3, "changed"), (0.02, 1, "changed"), (0.9, 1, "same")],
)
def test_a_picture_is_judged_by_the_measure_of_its_output(
    tolerance: float | None, flipped: int, state: str
) -> None:
    size = (1, 1, 4, 16)
    spec = TensorSpec(
        "mask", size, "mask", low=0, high=1, metric="IoU", limit=0.95, tolerance=tolerance
    )
    before = np.zeros(size)
    before[..., 4:12] = 1.0
    after = before.copy()
    after[0, 0, :flipped, 4] = 0.2
    (check,) = checks([one := Snapshot("two", "photo.mask", spec, before, after)])
    assert one.state == state
    assert "IoU at least 0.95" in check.allowed
    assert ("at most" in check.allowed) == (tolerance is not None)


def test_another_size_is_a_change() -> None:
    one = shot(np.zeros((1, 1, 4, 6)), np.zeros((1, 1, 6, 4)))
    assert one.state == "changed"
    (check,) = checks([one])
    assert check.why.startswith("it has another size")


def test_a_picture_comes_back_as_it_was_written(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((1, 3, 5, 7)) * 4 - 2
    path = tmp_path / "a.png"
    write(path, values, -2.0, 2.0)
    found, low, high = read(path)
    assert (low, high) == (-2.0, 2.0)
    assert np.abs(found - values).max() <= 4 / 255 / 2 + 1e-9


def test_what_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("no")
    with pytest.raises(BadPicture, match="no golden picture"):
        read(path)
