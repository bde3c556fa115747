"""`mlship ci` catches what is planted, and says in which layer; what is unchanged stays green."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from own_models import TWO

from converters.api import Artifact
from tests.toolchain.layer_faults import FAULTS, Change, Fault, weight
from tests.toolchain.projects import bad, ci, copied, edit, made, mlship, report
from toolchain.build import produce
from toolchain.build.prepare import Prepared

LARGE = TWO.replace("32, 48", "192, 192")
"""The model `two`, large enough to be timed."""
CONFIG = """
[project]
targets = ["android"]

[models.two]
spec = "net.py:spec"

[budgets]
wire_growth = "2 %"
latency_ratio = 1.15
psnr = 55
"""


LEFT, WIDER = "self.left = nn.Conv2d(8, 1, 1)", "self.left = nn.Conv2d(8, 1, 5, padding=2)"
MIDDLE = "self.middle = nn.Conv2d(8, 8, 3, padding=1)"


@pytest.fixture(scope="module")
def green(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("green"), LARGE, CONFIG, "ci", "--update-baseline")


@pytest.fixture
def project(green: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(green, tmp_path, monkeypatch)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fault], None]:
    """Puts a fault into every file that is converted from now on."""

    def plant(fault: Fault) -> None:
        convert = produce.convert

        def faulty(prepared: Prepared, *rest: Any) -> Artifact:
            artifact = convert(prepared, *rest)
            fault.put(artifact.format, artifact.path, prepared.program)
            return artifact

        monkeypatch.setattr(produce, "convert", faulty)
        monkeypatch.setattr("toolchain.build.cache.environment", lambda: "faulty")

    return plant


def test_what_is_unchanged_is_green_and_not_timed_again(project: Path) -> None:
    result = ci(project)
    assert result.exit_code == 0, result.output
    assert "all" in result.stdout
    assert not bad(project)
    (found,) = report(project)["differences"]
    assert found["figures"] == {}


def test_what_is_unchanged_is_green_when_it_is_timed_again(project: Path) -> None:
    result = ci(project, "--retime")
    assert result.exit_code == 0, result.output
    (state,) = report(project)["state"]["bundles"]
    (before,) = json.loads((project / "mlship.baseline.json").read_text())["bundles"]
    assert state["blocks"] != before["blocks"]


def test_five_per_cent_more_bytes_are_caught_and_their_layer_is_named(project: Path) -> None:
    edit(project / "net.py", LEFT, WIDER)
    result = ci(project)
    assert result.exit_code == 1, result.output
    check = bad(project)["wire_growth"]
    assert "grew by" in check["why"]
    assert "left" in check["layer"]
    assert "two-android: wire_growth: grew by" in result.stderr
    assert ci(project, "--update-baseline").exit_code == 1  # pictures need more than that
    assert mlship("approve", "--project", project).exit_code == 0
    accepted = ci(project, "--update-baseline")
    assert accepted.exit_code == 0, accepted.output
    assert report(project)["ok"]


def test_a_slow_layer_is_caught_and_named(project: Path) -> None:
    edit(project / "mlship.toml", 'wire_growth = "2 %"\n', "")
    edit(project / "net.py", MIDDLE, "self.middle = nn.Conv2d(8, 8, 11, padding=5)")
    result = ci(project)
    assert result.exit_code == 1, result.output
    check = bad(project)["latency_ratio"]
    assert float(check["why"].split()[0]) > 1.2
    assert "side by side" in check["why"]
    assert "layer middle" in check["layer"]


def test_a_slow_layer_is_caught_without_the_old_file(project: Path) -> None:
    shutil.rmtree(project.parent / "cache")
    edit(project / "mlship.toml", 'wire_growth = "2 %"\n', "")
    edit(project / "net.py", MIDDLE, "self.middle = nn.Conv2d(8, 8, 11, padding=5)")
    result = ci(project)
    assert result.exit_code == 1, result.output
    check = bad(project)["latency_ratio"]
    assert "against the baseline's own milliseconds" in check["why"]
    assert "layer middle" in check["layer"]


def _first_eighth_off(weights: np.ndarray) -> np.ndarray:
    changed = weights.copy()
    changed.flat[: changed.size // 8] *= 1.05
    return changed


@pytest.mark.parametrize(
    ("change", "layer"),
    [
        # As if a norm that nobody knows of were folded: only a run tells that it is wrong.
        (lambda w: (w * np.float32(1.05)).astype(w.dtype), "layer middle (conv2d)"),
        (_first_eighth_off, "layer middle: the constant 'middle"),
    ],
)
def test_a_file_that_is_not_the_program_is_caught_within_the_tolerance_and_its_layer_is_named(
    change: Change, layer: str, project: Path, planted: Callable[[Fault], None]
) -> None:
    edit(project / "mlship.toml", "psnr = 55", "psnr = 20\nparity = 10")
    planted(weight("middle", change))
    result = ci(project)
    assert result.exit_code == 1, result.output
    found = bad(project)
    assert found.keys() == {"parity"}
    assert "litert: not faithful: 'depth'" in found["parity"]["why"]
    assert found["parity"]["layer"].startswith(layer)


def test_a_parity_failure_is_caught_and_its_layer_is_named(
    project: Path, planted: Callable[[Fault], None]
) -> None:
    planted(FAULTS["left is negated"])
    result = ci(project)
    assert result.exit_code == 1, result.output
    check = bad(project)["parity"]
    assert check["why"].startswith("not built: the constant 'left")
    assert "litert: 'depth' on case" in check["why"]
    assert check["layer"].startswith("layer left: the constant 'left")


def test_a_model_that_is_not_built_any_more_is_missed(project: Path) -> None:
    edit(project / "net.py", '"two",', '"three",')
    edit(project / "mlship.toml", "models.two", "models.three")
    result = ci(project)
    assert result.exit_code == 1
    assert "two-android: bundle: the baseline has it, and it is not built any more" in result.stderr


def test_a_model_that_cannot_be_built_is_a_failure(project: Path) -> None:
    edit(project / "net.py", "import nn", "import nnn")
    result = ci(project)
    assert result.exit_code == 1
    assert bad(project)["bundle"]["why"].startswith("the file cannot be imported")


def test_a_model_by_another_name_is_bad_input(project: Path) -> None:
    edit(project / "mlship.toml", "models.two", "models.three")
    result = ci(project)
    assert result.exit_code == 2
    assert "the model is called 'two'" in result.stderr


def test_a_budget_that_cannot_be_checked_is_no_success(project: Path) -> None:
    (project / "mlship.baseline.json").unlink()
    result = ci(project)
    assert result.exit_code == 3
    assert "there is no baseline of it" in result.stdout
    cases = ElementTree.parse(project / "mlship-report" / "junit.xml").iter("failure")
    assert any("no baseline" in case.get("message", "") for case in cases)


def test_a_metric_that_no_output_has_is_no_success(project: Path) -> None:
    edit(project / "mlship.toml", "psnr = 55", 'cc_drop = "1 %"')
    result = ci(project)
    assert result.exit_code == 3
    assert "no output has CC" in result.stdout


def test_warnings_leave_the_exit_code(project: Path) -> None:
    edit(project / "mlship.toml", "psnr = 55", 'wire = { limit = "1 B", level = "warn" }')
    result = ci(project)
    assert result.exit_code == 0, result.output
    assert bad(project)["wire"]["verdict"] == "warned"
    assert "the largest layer is" in bad(project)["wire"]["layer"]


def test_latencies_of_another_machine_are_not_compared(project: Path) -> None:
    path = project / "mlship.baseline.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "fingerprint": "another"}))
    assert ci(project).exit_code == 0  # the old file is in the cache: it is timed beside
    shutil.rmtree(project.parent / "cache")
    shutil.rmtree(project / "snapshots")
    edit(project / "mlship.toml", 'wire_growth = "2 %"', "")
    edit(project / "net.py", LEFT, WIDER)
    result = ci(project)
    assert result.exit_code == 3, result.output
    (check,) = (c for c in report(project)["checks"] if c["name"] == "latency_ratio")
    assert (check["verdict"], check["required"]) == ("skipped", True)
    assert "the baseline is of another machine" in check["why"]


def test_a_failure_does_not_become_the_baseline(
    project: Path, planted: Callable[[Fault], None]
) -> None:
    before = (project / "mlship.baseline.json").read_bytes()
    planted(FAULTS["left is negated"])
    result = ci(project, "--update-baseline")
    assert result.exit_code == 1
    assert (project / "mlship.baseline.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 7, "bundles": []}', '{"schema": 1}'])
def test_a_damaged_baseline_is_refused(project: Path, text: str) -> None:
    (project / "mlship.baseline.json").write_text(text)
    result = ci(project)
    assert result.exit_code == 2
    assert "error:" in result.stderr


def test_a_revision_s_baseline(project: Path) -> None:
    import subprocess

    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "mlship.baseline.json"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], cwd=project, check=True)
    (project / "mlship.baseline.json").unlink()
    assert ci(project, "--baseline", "HEAD").exit_code == 0
    result = ci(project, "--baseline", "nonsense")
    assert result.exit_code == 2
    assert "there is no such baseline" in result.stderr


def test_github_is_told(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    edit(project / "mlship.toml", "psnr = 55", "psnr = 190")
    result = ci(project)
    assert result.exit_code == 1
    line = next(s for s in result.stdout.splitlines() if s.startswith("::"))
    assert line.startswith("::error file=mlship.toml,title=two-android%3A psnr::")
    assert (tmp_path / "summary.md").read_text().startswith("## mlship: 1 of")


def test_the_reports_say_the_same(project: Path) -> None:
    edit(project / "mlship.toml", "psnr = 55", "psnr = 190")
    result = ci(project, "--json")
    assert json.loads(result.stdout) == report(project)
    folder = project / "mlship-report"
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    for shown in (page, text):
        assert "1 of" in shown
        assert "two-android, psnr" in shown
        assert "adds most error" in shown
    assert "http" not in page.replace("http://www.w3.org", "")
    suites = ElementTree.parse(folder / "junit.xml").getroot()
    assert {s.get("name"): s.get("failures") for s in suites} == {"two-android": "1", "two": "0"}
