"""`mlship parity`: which backends run, what must pass, and what travels between machines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result
from own_models import Two
from safetensors.numpy import load_file, save_file

from converters import backends
from converters.api import Artifact, Runner
from converters.backends import BACKENDS
from converters.format import Backend
from model_defs.errors import BackendUnavailable, BadRecord, UnknownName
from model_defs.pixels import save_picture
from tests.toolchain.manifests import resealed
from toolchain.bundle import bundle as bundles
from toolchain.bundle.parity_report import ParityReport, ParityRow
from toolchain.cli.main import main
from toolchain.parity import harness, records, reference
from toolchain.parity.harness import PATIENCE, BackendChoice, affordable, exit_code
from toolchain.parity.subject import Subject, Subjects, of_golden
from toolchain.recipes import recipes
from toolchain.recipes.recipes import Recipe


def mlship(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def parity(*arguments: object, code: int = 0) -> list[dict[str, Any]]:
    """What `mlship parity --json` says."""
    result = mlship("parity", *arguments, "--json")
    assert result.exit_code == code, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, list)
    return found


def backends_of(outcome: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(row["backend"] for row in outcome["rows"]))


@pytest.mark.parametrize("target", ["ios", "android", "web"])
def test_every_backend_of_the_format_passes(two: Two, target: str) -> None:
    where = two.bundles[target].directory
    (outcome,) = parity(where, "--model", two.model)
    kind = two.bundles[target].artifact.format
    assert backends_of(outcome) == ["golden", *(b.name for b in backends.of_format(kind))]
    verdicts = {(row["backend"], row["verdict"]) for row in outcome["rows"]}
    here = {b.name for b in backends.of_format(kind) if not b.system}
    assert {b for b, v in verdicts if v == "passed"} == here | {"golden"}
    assert not [b for b, v in verdicts if v == "failed"]
    assert outcome["ok"]
    assert outcome["reference"] == "PyTorch"


def test_metrics_fit_the_outputs(two: Two) -> None:
    (outcome,) = parity(two.bundles["android"].directory, "--model", two.model)
    own = (row for row in outcome["rows"] if row["backend"] == "litert")
    rows = {row["output"]: row for row in own if row["question"] == "accurate"}
    assert "AbsRel" in rows["depth"]["metrics"]
    assert rows["mask"]["metrics"]["IoU"] > 0.95


def test_without_its_model_a_bundle_is_compared_on_its_golden_vectors(two: Two) -> None:
    (outcome,) = parity(two.bundles["android"].directory, "--backend", "litert")
    assert outcome["reference"].startswith("golden vectors: 'two' is not in the zoo")
    assert {row["case"] for row in outcome["rows"]} == {"photo", "noise"}
    assert outcome["ok"]


def test_slow_backends_run_the_first_case_unless_all_are_asked_for(two: Two) -> None:
    where, asked = two.bundles["web"].directory, ("--backend", "tfjs-webgl")
    (outcome,) = parity(where, *asked)
    accurate = [r for r in outcome["rows"] if r["question"] == "accurate"]
    assert {r["case"] for r in accurate} == {"photo"}
    (outcome,) = parity(where, *asked, "--all-cases")
    assert {r["case"] for r in outcome["rows"]} == {"photo", "noise"}


def test_a_model_is_built_first(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSHIP_CACHE", str(two.cache))
    (outcome,) = parity(two.model, "--target", "android", "--backend", "litert")
    assert outcome["name"] == "two-android"
    assert len({row["case"] for row in outcome["rows"]}) == 11


class TestRequired:
    def test_one_that_cannot_run_here_fails(self, two: Two) -> None:
        where = two.bundles["ios"].directory
        (outcome,) = parity(where, "--backend", "mil", "--require", "coreml", code=1)
        assert "coreml: 'depth' was skipped in every case" in outcome["problems"]

    def test_the_main_backend_is_required_by_default(self) -> None:
        assert BackendChoice().must_pass("coreml") == ("mil",)
        assert BackendChoice().must_pass("tflite") == ("litert",)
        assert BackendChoice().must_pass("tfjs") == ("tfjs-wasm",)

    def test_all_is_all(self) -> None:
        every = tuple(b.name for b in backends.of_format("tflite"))
        assert BackendChoice(required=("all",)).must_pass("tflite") == every

    def test_chosen_ones_are_required(self) -> None:
        assert BackendChoice(("litertjs",)).must_pass("tflite") == ("litertjs",)
        assert [b.name for b in BackendChoice(("litertjs",)).backends("tflite")] == ["litertjs"]

    def test_required_ones_run_beside_the_chosen(self) -> None:
        found = BackendChoice(("litertjs",), ("litert",)).backends("tflite")
        assert [b.name for b in found] == ["litert", "litertjs"]

    def test_an_unknown_backend_is_refused(self) -> None:
        with pytest.raises(UnknownName, match="did you mean 'litert'"):
            BackendChoice(("litret",))

    def test_nothing_to_compare_exits_with_3(self, two: Two) -> None:
        parity(two.bundles["ios"].directory, "--backend", "coreml", code=3)


def test_exit_codes() -> None:
    passed = ParityReport((ParityRow("a", "photo", "y", "passed", 0.0, 1.0),), ("a",))
    failed = ParityReport((ParityRow("a", "photo", "y", "failed", 2.0, 1.0),), ("a",))
    skipped = ParityReport((ParityRow("a", "photo", "y", "skipped", None, None),), ("a",))
    assert [exit_code(r) for r in ([passed], [failed], [skipped], [passed, skipped])] == [
        0,
        1,
        3,
        1,
    ]
    assert exit_code([]) == 3


def test_backends_of_a_system_say_how_to_get_there() -> None:
    def never(artifact: Artifact) -> Runner:
        raise AssertionError

    backend = Backend("x", "", never, 1, system="no-such-system")
    with pytest.raises(BackendUnavailable, match="--record"):
        backend.open(Artifact(Path(), "tfjs", "float32", (), ()))


def test_backends_say_their_own_names(two: Two) -> None:
    for found in two.bundles.values():
        artifact = found.artifact
        for backend in backends.of_format(artifact.format):
            if not backend.system:
                runner = backend.open(artifact)
                runner.close()
                assert runner.backend == backend.name
    assert set(BACKENDS) == {b.name for b in BACKENDS.values()}


class TestCases:
    def test_pictures_of_ones_own(self, two: Two, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        for name, shape in (("cat.png", (40, 30, 3)), ("dog.jpg", (9, 70, 3))):
            save_picture(tmp_path / name, rng.integers(0, 256, shape, dtype=np.uint8))
        where = two.bundles["android"].directory
        (outcome,) = parity(where, "--model", two.model, "--cases", tmp_path, "--backend", "litert")
        found = {r["case"] for r in outcome["rows"] if r["backend"] == "litert"}
        assert found == {"cat.png", "dog.jpg"}

    def test_a_lossy_recipe_is_held_to_its_own_numbers(self, two: Two, tmp_path: Path) -> None:
        """Its golden vectors are of no picture here, and not the model's own either."""
        save_picture(tmp_path / "cat.png", np.full((20, 30, 3), 90, np.uint8))
        asked = (two.model, "--target", "android", "--recipe", "prune-weights=0.5")
        (outcome,) = parity(*asked, "--cases", tmp_path, "--backend", "litert")
        assert outcome["reference"] == "PyTorch after prune-weights=0.5"
        assert {r["verdict"] for r in outcome["rows"] if r["backend"] == "golden"} == {"passed"}

    def test_an_empty_folder_is_refused(self, two: Two, tmp_path: Path) -> None:
        result = mlship("parity", two.model, "--target", "android", "--cases", tmp_path)
        assert result.exit_code == 2
        assert "holds no pictures" in result.output


class TestRecords:
    @pytest.fixture
    def record(self, two: Two, tmp_path: Path) -> Path:
        path = tmp_path / "mac.safetensors"
        where = two.bundles["android"].directory
        parity(where, "--model", two.model, "--backend", "litert", "--record", path)
        return path

    def test_what_one_machine_recorded_another_compares(self, two: Two, record: Path) -> None:
        where = two.bundles["android"].directory
        asked = (where, "--model", two.model, "--backend", "litertjs", "--against", record)
        (outcome,) = parity(*asked)
        (name,) = [b for b in backends_of(outcome) if b.startswith("litert@")]
        rows = [row for row in outcome["rows"] if row["backend"] == name]
        assert name in outcome["required"]
        assert len(rows) == 22
        assert {row["verdict"] for row in rows} <= {"passed", "skipped"}

    def test_a_wrong_answer_in_a_record_fails(self, two: Two, record: Path) -> None:
        def wrong(tensors: dict[str, np.ndarray]) -> None:
            tensors["0/answers/litert/photo/depth"] = tensors["0/answers/litert/photo/mask"]

        forge(record, wrong)
        where = two.bundles["android"].directory
        (outcome,) = parity(where, "--backend", "litert", "--against", record, code=1)
        assert any("litert@" in problem for problem in outcome["problems"])

    def test_an_edited_record_is_refused(self, record: Path) -> None:
        tensors = load_file(record)
        with_header(record, tensors, header(record))
        assert len(records.load(record)) == 1
        tensors["0/answers/litert/photo/depth"] = tensors["0/answers/litert/photo/depth"] + 0.1
        with_header(record, tensors, header(record))
        with pytest.raises(BadRecord, match="digest"):
            records.load(record)

    def test_a_truncated_record_is_refused(self, record: Path) -> None:
        record.write_bytes(record.read_bytes()[:-100])
        with pytest.raises(BadRecord, match="truncated"):
            records.load(record)

    def test_a_file_of_something_else_is_refused(self, two: Two, tmp_path: Path) -> None:
        golden = two.bundles["android"].directory / "golden" / "photo.safetensors"
        with pytest.raises(BadRecord, match="not a record"):
            records.load(golden)
        (tmp_path / "x").write_text("hello")
        with pytest.raises(BadRecord, match="the record cannot be read"):
            records.load(tmp_path / "x")
        with pytest.raises(BadRecord):
            records.load(tmp_path / "nowhere")

    def test_a_record_of_another_bundle_is_refused(self, two: Two, record: Path) -> None:
        result = mlship("parity", two.bundles["ios"].directory, "--against", record)
        assert result.exit_code == 2
        assert "not of two-ios as it is here, but of two-android" in result.output

    def test_a_header_without_its_fields_is_refused(self, record: Path) -> None:
        about = json.loads(header(record)[records.KEY])
        del about["bundles"]
        with_header(record, load_file(record), {records.KEY: json.dumps(about)})
        with pytest.raises(BadRecord, match="bundles is missing"):
            records.load(record)


def header(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        return dict(file.metadata())


def with_header(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    save_file(tensors, path, metadata)


def forge(path: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    """Change the tensors of a record, and its digest with them."""
    tensors = load_file(path)
    change(tensors)
    about = json.loads(header(path)[records.KEY]) | {"sha256": records._digest(tensors)}
    with_header(path, tensors, {records.KEY: json.dumps(about)})


class TestGolden:
    def test_stale_golden_vectors_are_told(self, two: Two, tmp_path: Path) -> None:
        copy = tmp_path / "two-android"
        shutil.copytree(two.bundles["android"].directory, copy)
        path = copy / "golden" / "photo.safetensors"
        tensors = load_file(path)
        tensors["depth"] = np.roll(tensors["depth"], 3, axis=3)
        save_file(tensors, path)
        resealed(copy)
        (outcome,) = parity(copy, "--model", two.model, code=1)
        assert "golden vectors are stale" in outcome["problems"][0]
        assert backends_of(outcome) == ["golden"]

    def test_a_model_of_other_outputs_is_refused(
        self, two: Two, write_tiny: Callable[..., str]
    ) -> None:
        result = mlship("parity", two.bundles["android"].directory, "--model", write_tiny())
        assert result.exit_code == 2
        assert "outputs depth, mask are not those of tiny" in result.output


class TestReport:
    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, two: Two, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("report") / "new"
        where = two.bundles["ios"].directory
        parity(where, "--model", two.model, "--backend", "mil", "--report", folder)
        return folder

    def test_the_page_holds_everything_in_itself(self, folder: Path) -> None:
        text = (folder / "report.html").read_text()
        assert "two-ios" in text
        assert "all bundles passed" in text
        assert text.count("data:image/png;base64,") == 8
        assert "http" not in text

    def test_junit_counts_every_comparison(self, folder: Path) -> None:
        suite = ElementTree.parse(folder / "junit.xml").getroot()[0]
        cases = suite.findall("testcase")
        assert suite.get("name") == "two-ios"
        assert suite.get("tests") == str(len(cases)) == "27"
        assert suite.get("failures") == "0"

    def test_json_is_what_is_printed(self, folder: Path) -> None:
        assert json.loads((folder / "report.json").read_text())[0]["ok"] is True

    def test_a_failure_is_in_all_three(self, two: Two, tmp_path: Path) -> None:
        where = two.bundles["ios"].directory
        asked = (where, "--backend", "mil", "--require", "coreml", "--report", tmp_path / "r")
        parity(*asked, code=1)
        page = (tmp_path / "r" / "report.html").read_text()
        assert "1 of 1 bundles failed" in page
        assert "coreml: &#39;depth&#39; was skipped in every case" in page
        suite = ElementTree.parse(tmp_path / "r" / "junit.xml").getroot()[0]
        assert suite.get("failures") == "2"
        assert len(suite.findall("testcase/failure")) == 2


def test_the_table_names_what_failed_and_what_would_have_passed(two: Two) -> None:
    where = two.bundles["ios"].directory
    result = mlship("parity", where, "--backend", "mil", "--require", "coreml")
    assert result.exit_code == 1
    assert "coreml: 'depth' was skipped in every case" in result.output
    assert "2 of 2" in result.output


class TestAffordable:
    """A net's work and a backend's pace decide how many cases it is given."""

    def test_a_small_net_has_every_case(self) -> None:
        assert affordable(backends.find("litert"), 10**9) > 100

    def test_a_large_net_has_fewer_and_always_one(self) -> None:
        wasm = backends.find("tfjs-wasm")
        assert affordable(wasm, 5 * 10**9) == int(PATIENCE * wasm.pace / 5) > 1
        assert affordable(wasm, 10**15) == 1

    def test_an_unknown_one_has_every_case(self) -> None:
        assert affordable(backends.find("mil"), 0) > 10**6

    def test_an_emulated_gpu_has_one_or_none(self) -> None:
        webgl = backends.find("tfjs-webgl")
        assert affordable(webgl, 0) == affordable(webgl, 10**9) == 1
        assert affordable(webgl, 100 * 10**9) == 0


def test_what_takes_too_long_is_skipped_and_never_passes(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "LIMIT", 0.0)
    where = two.bundles["android"].directory
    asked = ("--model", two.model, "--backend", "litert-reference")
    (outcome,) = parity(where, *asked, code=3)
    assert {row["verdict"] for row in outcome["rows"] if row["backend"] != "golden"} == {"skipped"}
    assert "GMAC would take it" in outcome["rows"][-1]["note"]
    assert "litert-reference: 'depth' was skipped in every case" in outcome["problems"]
    (outcome,) = parity(where, *asked, "--all-cases")
    assert len({row["case"] for row in outcome["rows"] if row["backend"] != "golden"}) > 5


@pytest.mark.parametrize("recipe", ["fp16", "small"])
def test_bundles_of_one_model_and_recipe_share_what_pytorch_made(
    recipe: str, two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    of_model = reference.of_model

    def counted(found: Recipe, *arguments: Any) -> reference.Reference:
        made.append(found.name)
        return of_model(found, *arguments)

    def named(data: dict[str, Any]) -> None:
        data["recipe"]["name"], data["recipe"]["passes"] = recipe, list(recipes.find(recipe).steps)

    monkeypatch.setattr(reference, "of_model", counted)
    known = Subjects(None, None, "noise")
    subjects = []
    for target in ("android", "web"):
        folder = tmp_path / target
        shutil.copytree(two.bundles[target].directory, folder)
        subjects.append(known.of(bundles.read(resealed(folder, named)), two.model))
    assert made == [recipe]
    assert subjects[0].reference is subjects[1].reference


def test_the_numbers_of_a_file_are_compared_once_for_all_sizes(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = of_golden(two.bundles["android"])
    compared: list[Subject] = []
    monkeypatch.setattr(harness, "_constants", compared.append)
    found = harness.judge(replace(one, further={"9x9": one}), BackendChoice(("litert",)))
    assert compared == [replace(one, further={"9x9": one})]
    assert {row.case for row in found.report.rows} >= {"noise", "noise at 9x9"}
