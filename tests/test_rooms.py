"""The rooms import in one direction, and the command line starts without heavy modules."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("model_defs", "converters", "benchmarks", "toolchain")
HEAVY = (
    *("torch", "tensorflow", "coremltools", "onnx", "numpy", "scipy"),
    *("rich", "PIL", "pydantic", "jinja2"),
)
PRINTERS = ("toolchain/cli", "toolchain/report", "benchmarks/studies")


def imported_rooms(source: str) -> set[str]:
    """The rooms that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found & {*ROOMS, "tests"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_to_its_left(room: str) -> None:
    files = [p for p in (ROOT / room).rglob("*.py") if "node_modules" not in p.parts]
    assert files
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    for file in files:
        wrong = imported_rooms(file.read_text(encoding="utf-8")) - allowed
        assert not wrong, f"{file.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_the_direction_rule_sees_a_wrong_import() -> None:
    assert imported_rooms("from toolchain import build\nimport torch") == {"toolchain"}


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from toolchain.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert printed.stdout.splitlines()[-1] == "[]", printed.stdout


def printing(source: str) -> set[str]:
    """What a file prints with: click, rich, and `print` where the file is no script."""
    found, script = set(), "__main__" in source
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not script:
            found.add(node.func.id)
    return found & {"click", "rich", "print"}


def test_only_the_command_line_and_reports_print() -> None:
    files = [p for room in ROOMS for p in (ROOT / room).rglob("*.py")]
    for file in files:
        name = file.relative_to(ROOT).as_posix()
        if not name.startswith(PRINTERS) and "node_modules" not in file.parts:
            found = printing(file.read_text(encoding="utf-8"))
            assert not found, f"{name} prints, with {', '.join(sorted(found))}"


def test_the_rule_of_printing_sees_what_prints() -> None:
    assert printing("def f():\n    from rich.table import Table\n    print(1)") == {"rich", "print"}
    assert printing("import click\nif __name__ == '__main__': print(1)") == {"click"}
