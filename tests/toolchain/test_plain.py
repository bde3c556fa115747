"""What names and files hold is shown as text: no cursor moves, and no CI server is commanded."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from toolchain.cli.command import print_defect
from toolchain.cli.main import main
from toolchain.report import plain, terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n::error::b", "a\n: :error::b"),
        ("  ::set-output name=x::y", "  : :set-output name=x::y"),
        ("##vso[task.setvariable]x", "# #vso[task.setvariable]x"),
        ("a picture ##[add-mask]x", "a picture # #[add-mask]x"),
        ("a picture ##VSO[x]y", "a picture # #VSO[x]y"),
        ("## a title", "## a title"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\rb", "a\\x0db"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("model::depth at 3", "model::depth at 3"),
        ("größe\tin\npx", "größe\tin\npx"),
    ],
)
def test_a_text_acts_on_nothing(text: str, shown: str) -> None:
    assert plain.as_text(text) == shown


def test_cells_and_styles_are_plain_too(capsys: pytest.CaptureFixture[str]) -> None:
    table = terminal.table("a title", "name")
    table.add_row("x\x1b[31m\n::error::cell")
    table.add_row(terminal.styled("\n::error::", ("styled\x1b", "red")))
    terminal.show(table, "::error::line")
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert not [line for line in shown.splitlines() if line.strip().startswith("::")]
    assert "[31m" in shown


def test_progress_on_a_terminal_is_plain_too(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(written, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", written)
    with terminal.progress() as say:
        say("net\x1b]0;", "stage\x1b]0;\u202e")
        say("net\x1b]0;", "next\x1b]0;")
        say("net\x1b]0;", "")
    shown = written.getvalue()
    assert "\\x1b]0;" in shown
    assert "\x1b]0;" not in shown
    assert "\u202e" not in shown


def test_a_traceback_is_plain_too(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise KeyError("x") from ValueError("\x1b[2J\n::error::")
    except KeyError as error:
        print_defect(error, as_json=False, step="a step")
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "\x1b[2J" not in shown
    assert not [line for line in shown.splitlines() if line.startswith("::")]


@pytest.mark.parametrize("option", [(), ("--backend", "mil")])
def test_a_file_s_name_commands_no_log(option: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "a\n::error::b\x1b"
    folder.mkdir()
    (folder / "manifest.json").write_text("{")
    result = CliRunner().invoke(main, ["parity", str(folder), *option])
    assert result.exit_code == 2
    assert "\x1b" not in result.output
    assert not [line for line in result.output.splitlines() if line.strip().startswith("::")]
    assert ": :error::b" in result.output


@pytest.mark.parametrize("command", ["parity", "inspect", "size", "verify", "blame", "bench"])
@pytest.mark.parametrize("path", ["x" * 300, "/".join(["folder"] * 900), "a\0b"])
def test_a_path_that_no_system_takes_is_an_error(command: str, path: str) -> None:
    result = CliRunner().invoke(main, [command, path])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.output.startswith(("error: ", "Usage: "))
