"""The command line as a whole: its tables of commands, and what each command has."""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from model_defs.errors import ERRORS, worst_code
from toolchain import cli
from toolchain.cli.apply import APPLICATIONS
from toolchain.cli.main import COMMANDS, main
from toolchain.report import terminal

ROWS = [
    (name, path)
    for table in (COMMANDS, APPLICATIONS)
    for rows in table.values()
    for name, path in rows.items()
]


@pytest.mark.parametrize(("name", "path"), ROWS)
def test_a_command_is_named_as_its_row_and_its_file(name: str, path: str) -> None:
    module, attribute = path.split(":")
    found = getattr(importlib.import_module(module), attribute)
    assert isinstance(found, click.Command)
    assert [found.name, module.rsplit(".")[-1], attribute.removesuffix("_")] == [name] * 3


@pytest.mark.parametrize(("name", "path"), ROWS)
def test_a_command_has_json_and_says_its_exit_codes(name: str, path: str) -> None:
    module, attribute = path.split(":")
    found = getattr(importlib.import_module(module), attribute)
    if not isinstance(found, click.Group):
        assert "--json" in [option for one in found.params for option in one.opts]
    assert str(found.epilog).startswith("Exit codes: 0 ok")


def test_every_file_with_a_command_has_a_row() -> None:
    home = Path(next(iter(cli.__path__)))
    files = [
        ".".join(("toolchain", "cli", *file.relative_to(home).with_suffix("").parts))
        for file in home.rglob("*.py")
        if "\n@command\n" in file.read_text(encoding="utf-8")
    ]
    assert len(files) > 20
    assert not {*files} - {path.split(":")[0] for _, path in ROWS}


def test_help_has_every_command_below_its_heading() -> None:
    text = CliRunner().invoke(main, ["--help"]).output
    for heading, rows in COMMANDS.items():
        below = text.split(f"\n{heading}:\n")[1].split("\n\n")[0]
        assert [line.split()[0] for line in below.splitlines()] == [*rows]


def test_help_takes_less_than_a_third_of_a_second_of_a_processor() -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        code = "from toolchain.cli.main import main; main(['--help'])"
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.3


def test_a_command_imports_no_other() -> None:
    code = (
        "import sys\n"
        "from toolchain.cli.main import main\n"
        "try: main(['lock', '--help'])\n"
        "except SystemExit: pass\n"
        "print(*sorted(m for m in sys.modules if m.startswith('toolchain.cli.')))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shared = ("command", "group", "main", "options")
    assert ran.stdout.splitlines()[-1].split() == sorted(
        f"toolchain.cli.{name}" for name in ("lock", *shared)
    )


@pytest.fixture
def defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def examine() -> None:
        raise KeyError("nobody foresaw")

    monkeypatch.setattr("toolchain.debug.doctor.examine", examine)


@pytest.mark.usefixtures("defect")
def test_a_defect_ends_with_4_and_says_how_to_report_it() -> None:
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 4
    assert "Traceback" in result.stderr
    assert "error: mlship doctor failed: KeyError: 'nobody foresaw'" in result.stderr
    assert "report it" in result.stderr
    assert not result.stdout


def test_a_command_that_cannot_be_imported_is_a_defect_too() -> None:
    code = (
        "import sys\n"
        "sys.modules['toolchain.cli.lock'] = None\n"
        "sys.argv = ['mlship', 'lock']\n"
        "from toolchain.cli.main import program\n"
        "program()\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 4
    assert "error: starting mlship failed: ModuleNotFoundError" in ran.stderr


@pytest.mark.usefixtures("defect")
def test_a_defect_is_json_where_that_is_asked_for() -> None:
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert result.exit_code == 4
    error = json.loads(result.stdout)["error"]
    assert error["kind"] == "InternalError"
    assert "nobody foresaw" in error["what"]


def test_the_exit_code_of_an_error_is_what_the_user_can_do() -> None:
    codes = {name: kind.exit_code for name, kind in ERRORS.items()}
    assert {name: code for name, code in codes.items() if code != 2} == {
        "TrainingDiverged": 1,
        "ParityFailed": 1,
        "BackendUnavailable": 3,
        "PassFailed": 4,
        "ClusterFailed": 4,
        "ConversionFailed": 4,
        "InternalError": 4,
    }


@pytest.mark.parametrize(
    ("codes", "worst"),
    [([], 0), ([0, 0], 0), ([0, 3], 3), ([3, 1], 1), ([1, 2, 0], 2), ([2, 4, 1], 4)],
)
def test_the_exit_code_of_many_is_the_worst(codes: list[int], worst: int) -> None:
    assert worst_code(codes) == worst


def test_an_unknown_command_is_wrong_input() -> None:
    assert CliRunner().invoke(main, ["biuld"]).exit_code == 2


def test_progress_is_said_in_a_log_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter([0.0, 3.0, 12.0, 13.0, 25.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(seconds))
    with terminal.progress() as say:
        for stage in ("capturing", "1 of 9 weighed", "2 of 9 weighed", ""):
            say("net", stage)
    assert capsys.readouterr() == ("", "net: 1 of 9 weighed\n")
