"""The rooms import in one direction, without circles; a name means one thing; imports wait."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("model_defs", "converters", "benchmarks", "toolchain")
"""Each imports only from itself and from those before it; mlship.py sees all."""

INSIDE = {
    "toolchain": (
        *("bundle", "data", "quantization", "pruning", "passes", "recipes", "parity", "training"),
        *("build", "cluster", "evaluation", "search", "sweep", "bench", "debug", "applications"),
        *("ci", "signing"),
        *("report", "cli"),
    ),
    "converters": (
        *("processes", "channels", "graph", "mil", "lowering", "files", "intermediates"),
        *("coreml", "tflite", "tfjs", "browser"),
    ),
    "benchmarks": ("measure", "studies"),
}
"""The same for the rooms inside a room."""

HEAVY = (
    *("torch", "tensorflow", "coremltools", "onnx", "numpy", "scipy"),
    *("rich", "PIL", "pydantic", "jinja2", "cryptography", "model_signing"),
)
PRINTERS = ("toolchain.cli", "toolchain.report", "benchmarks.studies")


@cache
def modules() -> Mapping[str, str]:
    """Module -> source, of all that is ours."""
    found = {}
    for path in [p for room in ROOMS for p in (ROOT / room).rglob("*.py")]:
        if "node_modules" not in path.parts:
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path.read_text(encoding="utf-8")
    return found


def imports(source: str, known: Mapping[str, str]) -> set[str]:
    """The modules that a file imports, wherever in it and whatever for: lazily, for types alone."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in names}
    return found


def wrong_rooms(source: str, room: str, order: tuple[str, ...], depth: int = 0) -> set[str]:
    """The rooms of an order, to the right of this one, that a file imports."""
    parts = [name.split(".") for name in imports(source, modules())]
    outer = next((name for name in INSIDE if depth and INSIDE[name] == order), "")
    inside = {p[depth] for p in parts if len(p) > depth and (not depth or p[0] == outer)}
    return inside & {*order[order.index(room) + 1 :], "tests"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_to_its_left(room: str) -> None:
    files = {name: source for name, source in modules().items() if name.split(".")[0] == room}
    assert files
    for name, source in files.items():
        wrong = wrong_rooms(source, room, ROOMS)
        assert not wrong, f"{name} imports {', '.join(sorted(wrong))}"


@pytest.mark.parametrize(
    ("outer", "room"), [(outer, room) for outer, order in INSIDE.items() for room in order]
)
def test_a_room_inside_a_room_imports_only_those_to_its_left(outer: str, room: str) -> None:
    prefix = f"{outer}.{room}"
    files = {n: s for n, s in modules().items() if n == prefix or n.startswith(f"{prefix}.")}
    assert files
    for name, source in files.items():
        wrong = wrong_rooms(source, room, INSIDE[outer], depth=1)
        assert not wrong, f"{name} imports {', '.join(sorted(wrong))}"


def test_every_folder_of_a_room_has_its_place_in_the_order() -> None:
    for outer, order in INSIDE.items():
        folders = {path.parent.name for path in (ROOT / outer).glob("*/__init__.py")}
        assert folders == set(order)
        assert len(order) <= 20


def test_the_toolchain_has_no_file_beside_its_rooms() -> None:
    assert [path.name for path in (ROOT / "toolchain").glob("*.py")] == ["__init__.py"]


def test_no_file_imports_what_imports_it() -> None:
    try:
        tuple(TopologicalSorter(_graph(modules())).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")


def _graph(known: Mapping[str, str]) -> dict[str, set[str]]:
    return {
        name: {found for found in imports(source, known) if found in known and found != name}
        for name, source in known.items()
    }


def test_a_public_class_name_stands_for_one_thing() -> None:
    homes = defaultdict(list)
    for name, source in modules().items():
        for made in _public_classes(source):
            homes[made].append(name)
    twice = {made: names for made, names in homes.items() if len(names) > 1}
    assert not twice


def _public_classes(source: str) -> Iterator[str]:
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


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
    for name, source in modules().items():
        if not name.startswith(PRINTERS):
            found = printing(source)
            assert not found, f"{name} prints, with {', '.join(sorted(found))}"


def test_the_rule_of_printing_sees_what_prints() -> None:
    assert printing("def f():\n    from rich.table import Table\n    print(1)") == {"rich", "print"}
    assert printing("import click\nif __name__ == '__main__': print(1)") == {"click"}


def test_these_rules_see_what_breaks_them() -> None:
    assert wrong_rooms("from toolchain.build import build\nimport torch", "converters", ROOMS) == {
        "toolchain"
    }
    lazy = "def f():\n    from toolchain.cli import main\n"
    assert wrong_rooms(lazy, "ci", INSIDE["toolchain"], depth=1) == {"cli"}
    circle = {"a": "from b import c", "b": "if True:\n    import a"}
    with pytest.raises(CycleError):
        tuple(TopologicalSorter(_graph(circle)).static_order())
    assert [*_public_classes("class A: ...\nclass _B: ...\nclass C: ...")] == ["A", "C"]


def loaded(code: str) -> list[str]:
    """The heavy modules that are there after a program has run."""
    code += f"\nimport sys\nprint([m for m in {HEAVY!r} if m in sys.modules])\n"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert printed.returncode == 0, printed.stderr
    return [name.strip("' ") for name in printed.stdout.splitlines()[-1][1:-1].split(",") if name]


@pytest.mark.parametrize("command", [[], ["build"], ["ci"], ["sign"]])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    words = [*command, "--help"]
    code = f"from toolchain.cli.main import main\ntry: main({words!r})\nexcept SystemExit: pass"
    assert loaded(code) == []


def test_what_is_loaded_is_seen() -> None:
    assert loaded("import numpy") == ["numpy"]
