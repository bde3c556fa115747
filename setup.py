"""How a wheel is made: our rooms go below one package, `mlship`, and are renamed in the code.

`model_defs`, `converters`, `benchmarks` and `toolchain` are names that a user's repository may
have, too. In a wheel they are `mlship.model_defs` and so on; `mlship.py` is `mlship/__init__.py`.
An editable install is the checkout as it is. All else is in pyproject.toml.

What is rewritten: `from ROOM.x import y`, `import ROOM.x`, and strings that are nothing but the
name of one of our modules ("converters.processes.worker", "toolchain.passes.int8:Int8").
"""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

PACKAGE = "mlship"
ROOMS = ("model_defs", "converters", "benchmarks", "toolchain")
OURS = re.compile(rf"({'|'.join(ROOMS)})(\.[A-Za-z0-9_]+)+(:[A-Za-z0-9_]+)?")
LEFT_OUT = ("benchmarks/studies", "benchmarks/results")
"""What remakes the tables of a checkout, and these tables."""


def renamed(source: str) -> str:
    """The source of a module with our rooms' names as they are in a wheel.

    Raises ValueError for `import ROOM` and `import ROOM.x`, whose name ROOM would be gone, unless
    they stand there for their effect alone: `import ROOM.x  # noqa: F401`.
    """
    lines = source.splitlines(keepends=True)
    for line, column in sorted(_places(ast.parse(source), lines), reverse=True):
        text = lines[line - 1].encode()  # ast counts columns in bytes
        lines[line - 1] = (text[:column] + f"{PACKAGE}.".encode() + text[column:]).decode()
    return "".join(lines)


def _places(tree: ast.AST, lines: list[str]) -> list[tuple[int, int]]:
    """Where one of our rooms is named: line, from 1, and column, from 0."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and _is_ours(node.module or ""):
            found.append((node.lineno, node.col_offset + len("from ")))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if _is_ours(alias.name):
                    found.append((alias.lineno, alias.col_offset))
                    _check_unused(tree, alias)
        elif isinstance(node, ast.Constant) and OURS.fullmatch(str(node.value)):
            found.append((node.lineno, node.col_offset + 1))
    return found


def _is_ours(module: str) -> bool:
    return module.split(".")[0] in ROOMS


def _check_unused(tree: ast.AST, alias: ast.alias) -> None:
    room = alias.name.split(".")[0]
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if alias.asname is None and room in names:
        raise ValueError(f"line {alias.lineno}: write 'from {alias.name} import', see setup.py")


class BuildBelowOnePackage(build_py):
    """Puts the rooms below one package, unless the install is editable."""

    def run(self) -> None:
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)  # of an older build
        super().run()
        if not self.editable_mode:
            below_one_package(Path(self.build_lib))


def below_one_package(folder: Path) -> None:
    """Move what was built in the folder to where a wheel has it, and rename it in the code."""
    for left_out in LEFT_OUT:
        shutil.rmtree(folder / left_out, ignore_errors=True)
    package = folder / PACKAGE
    package.mkdir()
    (folder / f"{PACKAGE}.py").rename(package / "__init__.py")
    for room in ROOMS:
        (folder / room).rename(package / room)
    shutil.copy(package / ROOMS[0] / "py.typed", package / "py.typed")
    for path in package.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        try:
            path.write_text(renamed(source), encoding="utf-8")
        except ValueError as error:
            raise ValueError(f"{path.relative_to(package)}: {error}") from error


class WheelOfOnePackage(bdist_wheel):
    """Says in its metadata, too, that it holds one package."""

    def write_wheelfile(self, wheelfile_base: str, *args: str, **options: str) -> None:
        super().write_wheelfile(wheelfile_base, *args, **options)
        Path(wheelfile_base, "top_level.txt").write_text(f"{PACKAGE}\n", encoding="utf-8")


if __name__ == "__main__":
    setup(cmdclass={"build_py": BuildBelowOnePackage, "bdist_wheel": WheelOfOnePackage})
