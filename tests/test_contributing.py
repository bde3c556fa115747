"""CONTRIBUTING.md: its diffs apply to this tree, and what they add works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COPIED = ("model_defs", "converters", "benchmarks", "toolchain", "tests")
FILES = ("mlship.py", "setup.py", "pyproject.toml", "README.md", "CONTRIBUTING.md")
ADDED = ("model", "pass", "operator", "budget", "command")
MOST_LINES = 30
MOST_FILES = 3


def section(title: str) -> str:
    """What stands below a heading, to the next one."""
    (found,) = re.findall(rf"^### {title}\n(.*?)(?=^##)", PAGE, flags=re.DOTALL | re.MULTILINE)
    return str(found)


def diff_of(noun: str) -> str:
    """The diff that shows how to add one."""
    article = "An" if noun[0] in "aeiou" else "A"
    (found,) = re.findall(r"```diff\n(.*?)```", section(f"{article} {noun}"), flags=re.DOTALL)
    return str(found)


def changed(diff: str) -> list[str]:
    """The lines that a diff adds or takes away."""
    return [line for line in diff.splitlines() if re.match(r"[+-](?![+-]{2} )", line)]


def files_of(diff: str) -> list[str]:
    """The files that a diff touches."""
    return re.findall(r"^diff --git a/(\S+) ", diff, flags=re.MULTILINE)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the tree, which a diff may change."""
    for folder in COPIED:
        ignored = shutil.ignore_patterns("node_modules", "__pycache__", "*.safetensors", "results")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run(folder: Path, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=environment, input=text, capture_output=True, text=True
    )


@pytest.mark.parametrize("noun", ADDED)
def test_what_is_added_is_short(noun: str) -> None:
    diff = diff_of(noun)
    assert 0 < len(changed(diff)) <= MOST_LINES
    assert len(files_of(diff)) <= MOST_FILES


@pytest.mark.parametrize("noun", ADDED)
def test_what_is_added_works(copy: Path, noun: str) -> None:
    diff = diff_of(noun)
    (test,) = [file for file in files_of(diff) if Path(file).name.startswith("test_")]
    assert not (copy / test).exists()
    applied = run(copy, "git", "apply", "-", text=diff)
    assert applied.returncode == 0, applied.stderr
    pytest_ = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    passed = run(copy, *pytest_, test)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    # Without its code, the test that it brings fails: it is no test that cannot.
    rest = [file for file in files_of(diff) if file != test]
    for file in rest:
        original = ROOT / file
        shutil.copy(original, copy / file) if original.exists() else (copy / file).unlink()
    assert run(copy, *pytest_, test).returncode != 0


def test_a_format_is_shown() -> None:
    assert "one row" in section("A format")
    assert "Format(" in section("A format")


def test_no_path_of_a_machine_stands_in_it() -> None:
    assert not re.findall(r"(?<![\w.)/])/(?:work|tmp|home|root|usr)\b", PAGE)


def test_every_room_of_the_toolchain_is_named() -> None:
    rooms = {p.name for p in (ROOT / "toolchain").iterdir() if p.is_dir() and p.name[0] != "_"}
    missing = [room for room in sorted(rooms) if f"`{room}/`" not in PAGE]
    assert not missing


def test_the_glossary_has_its_words() -> None:
    rows = re.findall(
        r"^\| (.+?) \| .+ \| .+ \|$", PAGE.split("## Glossary")[1], flags=re.MULTILINE
    )
    assert 20 <= len(rows) - 2 <= 45


def test_every_file_that_the_glossary_names_is_there() -> None:
    named = re.findall(r"`((?:model_defs|converters|benchmarks|toolchain)/[\w/.]*)`", PAGE)
    assert named
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing
