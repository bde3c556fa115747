"""A converter's process converts for one after the other, and what it writes does not show it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from own_models import TWO

from converters.api import Export
from converters.capture import capture
from converters.export import export
from converters.processes import worker
from converters.processes.worker import Worker
from model_defs import lookup
from model_defs.errors import ConversionFailed, MlshipError


@pytest.fixture(autouse=True)
def _nobody_waits() -> Iterator[None]:
    worker.end_waiting()
    yield
    worker.end_waiting()


@pytest.fixture(scope="module")
def exported(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Export, Export]:
    """Two models."""
    root = tmp_path_factory.mktemp("exports")
    (root / "two_net.py").write_text(TWO)
    names = (f"{shared}/net.py:spec", f"{root}/two_net.py:spec")
    first, second = (
        export(capture(lookup.load(name)), root / str(number)) for number, name in enumerate(names)
    )
    return first, second


def content(path: Path) -> dict[str, bytes]:
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


def converted(by: Worker, what: Export, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    return content(by.convert(what, folder).path)


@pytest.mark.parametrize("kind", ["coreml", "tflite", "tfjs"])
def test_what_a_process_converted_before_does_not_show(
    kind: str, exported: tuple[Export, Export], tmp_path: Path
) -> None:
    one, other = exported
    with Worker(kind) as cold:
        first = converted(cold, one, tmp_path / "cold")
    with Worker(kind) as warm:
        assert warm._loaded is cold._loaded
        converted(warm, other, tmp_path / "other")
    with Worker(kind) as again:
        assert again._loaded is cold._loaded
        assert converted(again, one, tmp_path / "again") == first
        assert len(list(again._loaded._temporary.iterdir())) <= 1, "of the last conversion"


def test_files_of_several_sizes_are_made_one_after_the_other(
    exported: tuple[Export, Export], tmp_path: Path
) -> None:
    """The process has a temporary folder of its own for them, which stays."""
    several = replace(exported[0], several=True)
    found = []
    for name in ("first", "again"):
        with Worker("tflite") as one:
            (tmp_path / name).mkdir()
            made = one.convert(several, tmp_path / name, further={"32x48": several})
            found.append((one._loaded, content(made.path)))
    assert found[0] == found[1]


def test_it_writes_where_this_process_is_now(
    exported: tuple[Export, Export], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "there"):
        (tmp_path / name / "out").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name)
        with Worker("tflite") as one:
            one.convert(exported[0], Path("out"))
        assert any((tmp_path / name / "out").iterdir())


def test_two_at_once_are_two_processes_and_one_waits(
    exported: tuple[Export, Export], tmp_path: Path
) -> None:
    with Worker("tflite") as one, Worker("tflite") as other:
        assert one._loaded is not other._loaded
        converted(one, exported[0], tmp_path / "one")
    assert len(worker._waiting) == 1


def test_one_that_failed_is_not_kept(exported: tuple[Export, Export], tmp_path: Path) -> None:
    with Worker("tflite") as one, pytest.raises(MlshipError):
        one.convert(Export(tmp_path, (), (), "float32"), tmp_path)
    assert not worker._waiting
    assert one._loaded._process.poll() is not None


def test_one_that_has_grown_is_not_kept(
    exported: tuple[Export, Export], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LARGEST", 1)
    with Worker("tflite") as one:
        converted(one, exported[0], tmp_path / "one")
    assert not worker._waiting


def test_one_that_died_while_it_waited_is_not_taken() -> None:
    with Worker("tflite") as one:
        pass
    one._loaded._process.kill()
    one._loaded._process.wait()
    with Worker("tflite") as other:
        assert other._loaded is not one._loaded


def test_another_environment_takes_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with Worker("tflite") as one:
        pass
    monkeypatch.setenv("MLSHIP_CACHE", "elsewhere")
    with Worker("tflite") as same:
        assert same._loaded is one._loaded
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with Worker("tflite") as other:
        assert other._loaded is not one._loaded


def test_a_crash_says_the_words_of_this_conversion(
    exported: tuple[Export, Export], tmp_path: Path
) -> None:
    with Worker("tflite") as one:
        converted(one, exported[0], tmp_path / "one")
    with Worker("tflite") as again:
        again._loaded._process.kill()
        with pytest.raises(ConversionFailed, match=r"ended by signal 9\n"):
            again.convert(exported[0], tmp_path)
