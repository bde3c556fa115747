"""The wheel: one package with our rooms in it, whose names a user may have for folders, too."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from textwrap import dedent

import pytest

from model_defs.installation import DISTRIBUTION, FOLDER, ROOMS, VERSION
from setup import LEFT_OUT, renamed
from toolchain.ci import template

UNWANTED = ("node_modules", "__pycache__")
DOTTED = re.compile(r"\w+(\.\w+)+(:\w+)?")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "LICENSE", "README.md", "mlship.py")

BLOCKS = """
    from torch import nn


    def block():
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1)
        )
"""
NET = """
    from torch import nn
    from converters.blocks import block
    from mlship import ModelSpec, TensorSpec


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = block()

        def forward(self, image):
            return self.layers(image).sigmoid()


    image = TensorSpec("image", (1, 3, 32, 32), "image", low=0, high=1)
    shade = TensorSpec("shade", (1, 1, 32, 32), "map", low=0, high=1, tolerance=0.01)
    spec = ModelSpec("net", Net, inputs=(image,), outputs=(shade,))
"""


def ran(*command: object, folder: Path, python_path: str = "") -> str:
    """What a program prints, run in a folder without what this test's own process imports."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if python_path:
        environment["PYTHONPATH"] = python_path
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copy_of_checkout(folder: Path) -> Path:
    """The folder, with all that a wheel is made of in it: a build leaves files where it is run."""
    for room in ROOMS:
        shutil.copytree(FOLDER / room, folder / room, ignore=shutil.ignore_patterns(*UNWANTED))
    for name in FILES:
        shutil.copy(FOLDER / name, folder / name)
    return folder


def built(kind: str, folder: Path, out: Path) -> Path:
    """The wheel or sdist of the project in a folder."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})"
    ran(sys.executable, "-c", code, folder=folder)
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """$MLSHIP_WHEEL, which `make dist` sets, or one that is made here, out of a copy."""
    if "MLSHIP_WHEEL" in os.environ:
        return Path(os.environ["MLSHIP_WHEEL"])
    copy = copy_of_checkout(tmp_path_factory.mktemp("copy"))
    return built("wheel", copy, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel, and of ours the packages, but not us.

    Packages are found by a .pth file, which names the folder: pip's files in it that make a
    checkout importable are not read, so that nothing but the wheel can be what is imported.
    """
    folder = tmp_path_factory.mktemp("environment")
    ran(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder)
    python = folder / "bin" / "python"
    asked = ("install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", wheel)
    ran(sys.executable, "-m", "pip", "--python", python, *asked, folder=folder)
    paths = sysconfig.get_paths()
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "packages.pth").write_text("\n".join({paths["purelib"], paths["platlib"]}))
    return python


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with packages of our rooms' names, and a model that is built of one of theirs."""
    for room in ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text("MINE = True\n")
    (tmp_path / "converters" / "blocks.py").write_text(dedent(BLOCKS))
    (tmp_path / "my_net.py").write_text(dedent(NET))
    return tmp_path


def sources(wheel: Path) -> dict[str, str]:
    """The modules of a wheel: their path, and their source."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".py")]
        return {name: archive.read(name).decode() for name in names}


def modules_named(source: str) -> set[str]:
    """The modules that a source imports, as they are written, and those it names in strings."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{a.name}" for a in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and DOTTED.fullmatch(str(node.value)):
            found.add(str(node.value).partition(":")[0])
    return found


def test_it_holds_all_files_of_our_rooms(wheel: Path) -> None:
    wanted = set()
    for room in ROOMS:
        for path in (FOLDER / room).rglob("*"):
            name = path.relative_to(FOLDER).as_posix()
            left_out = name.startswith(LEFT_OUT) or {*UNWANTED} & {*path.parts}
            if path.is_file() and not left_out:
                wanted.add(f"mlship/{name}")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    found = {name for name in names if name.startswith("mlship/")}
    assert found == wanted | {"mlship/__init__.py", "mlship/py.typed"}
    assert {name.split("/")[0] for name in names - found} == {
        f"{DISTRIBUTION.replace('-', '_')}-{VERSION}.dist-info"
    }


def test_it_says_what_it_is(wheel: Path) -> None:
    about = f"{DISTRIBUTION.replace('-', '_')}-{VERSION}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        said = archive.read(f"{about}/METADATA").decode()
        assert archive.read(f"{about}/top_level.txt") == b"mlship\n"
        assert b"mlship = mlship:main" in archive.read(f"{about}/entry_points.txt")
        assert b"Apache License" in archive.read(f"{about}/licenses/LICENSE")
    assert f"Name: {DISTRIBUTION}\n" in said
    assert "License-Expression: Apache-2.0\n" in said


def test_every_module_is_called_what_it_is_in_the_wheel(wheel: Path) -> None:
    found = sources(wheel)
    there = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in found}
    for path, source in found.items():
        for module in modules_named(source):
            assert module.split(".")[0] not in ROOMS, f"{path} names {module}"
            room = ".".join(module.split(".")[1:2])
            if module.startswith("mlship.") and room in ROOMS:
                known = {module, module.rpartition(".")[0]} & there
                assert known, f"{path} names {module}, which is not there"


def test_a_module_that_was_not_renamed_would_be_seen() -> None:
    lines = ["from converters.api import Program", "import model_defs.zoo", "X = 'toolchain.x:Y'"]
    assert modules_named("\n".join(lines)) == {
        *("converters.api", "converters.api.Program", "model_defs.zoo", "toolchain.x")
    }


@pytest.mark.parametrize(
    ("ours", "wheels"),
    [
        ("from toolchain.build import cache", "from mlship.toolchain.build import cache"),
        ("import converters.api as api", "import mlship.converters.api as api"),
        ("x = 'ü'; y = 'toolchain.x:Y'", "x = 'ü'; y = 'mlship.toolchain.x:Y'"),
        (
            "def f():\n    from model_defs import zoo",
            "def f():\n    from mlship.model_defs import zoo",
        ),
        ("x = 'converters'", "x = 'converters'"),
        ("x = 'see converters.api'", "x = 'see converters.api'"),
        ("from toolchains import x", "from toolchains import x"),
        ("from . import converters", "from . import converters"),
    ],
)
def test_names_of_our_modules_are_rewritten_and_nothing_else(ours: str, wheels: str) -> None:
    assert renamed(ours) == wheels


def test_a_name_that_would_be_gone_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1: write 'from converters.api import'"):
        renamed("import converters.api\nconverters.api.Program")


def test_a_file_of_the_old_names_gets_ours(python: Path, tmp_path: Path) -> None:
    code = """
        import mlship
        from model_defs.spec import ModelSpec
        from toolchain.training import task
        import mlship.toolchain.training.task as same
        from converters import formats
        print(ModelSpec is mlship.ModelSpec, task is same, task.__spec__.name, formats.__name__)
    """
    said = ran(python, "-c", dedent(code), folder=tmp_path).split()
    assert said == ["True", "True", "mlship.toolchain.training.task", "mlship.converters.formats"]


def test_a_package_of_ones_own_goes_before_ours(python: Path, repository: Path) -> None:
    code = """
        import mlship, converters, toolchain
        from converters import blocks
        try:
            import toolchain.build
        except ModuleNotFoundError as error:
            print(error.name, mlship.ModelSpec.__module__, converters.MINE)
    """
    said = ran(python, "-c", dedent(code), folder=repository).split()
    assert said == ["toolchain.build", "mlship.model_defs.spec", "True"]


def test_the_workflow_finds_the_folder_of_npm(python: Path, repository: Path) -> None:
    workflow = (template.HERE / template.FILES[".github/workflows/mlship.yml"]).read_text()
    (code,) = re.findall(r"NODE: (.*)", workflow)
    assert 'npm ci --prefix "$(python -P -c "$NODE")"' in workflow
    folder = Path(ran(python, "-P", "-c", code, folder=repository).strip())
    assert folder.parts[-4:] == ("mlship", "converters", "tfjs", "node")
    assert {"package.json", "package-lock.json", ".npmrc"} <= {p.name for p in folder.iterdir()}


def test_the_command_works_beside_packages_of_our_names(python: Path, repository: Path) -> None:
    program = python.with_name("mlship")
    assert ran(program, "--version", folder=repository) == f"mlship {VERSION}\n"
    ran(program, "build", "my_net.py:spec", "--target", "ios", folder=repository)
    code = """
        import mlship, my_net, torch

        net = my_net.Net().eval()
        (built,) = mlship.convert(net, torch.rand(1, 3, 32, 32), targets="ios", out="notebook")
        assert mlship.ModelSpec is type(my_net.spec), built.ok
    """
    ran(python, "-c", dedent(code), folder=repository)
    for folder in ("dist", "notebook"):
        ran(program, "inspect", f"{folder}/net-ios", folder=repository)


@pytest.mark.slow
def test_the_sdist_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    copy, out, again = (tmp_path / name for name in ("copy", "out", "again"))
    for folder in (copy, out, again):
        folder.mkdir()
    given = os.environ.get("MLSHIP_SDIST")
    sdist = Path(given) if given else built("sdist", copy_of_checkout(copy), out)
    shutil.unpack_archive(sdist, tmp_path / "unpacked")
    (folder,) = (tmp_path / "unpacked").iterdir()
    assert contents(built("wheel", folder, again)) == contents(wheel)


def contents(wheel: Path) -> dict[str, int]:
    """The files of a wheel and their checksums."""
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist()}
