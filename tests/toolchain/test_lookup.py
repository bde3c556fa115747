"""From what the user types to a specification."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from model_defs import lookup
from model_defs.errors import BadSpec, UnknownName


def test_a_name_of_the_zoo() -> None:
    assert lookup.expand("depth") == ("depth",)
    assert lookup.load("depth").name == "depth"


def test_a_product_is_its_models() -> None:
    assert {"depth", "depth-trunk", "depth-head"} <= set(lookup.expand("hydra"))


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'depth'"):
        lookup.expand("dpeth")


def test_a_file_of_ones_own(write_tiny: Callable[..., str]) -> None:
    (name,) = lookup.expand(write_tiny())
    assert Path(name).is_absolute()
    assert lookup.load(name).name == "tiny"


def test_a_file_may_import_its_neighbours(tmp_path: Path, write_tiny: Callable[..., str]) -> None:
    (tmp_path / "my_layers.py").write_text("from torch import nn\nWIDTH = 4\n")
    name = write_tiny()
    path = tmp_path / "net.py"
    path.write_text("from my_layers import WIDTH\n" + path.read_text())
    assert lookup.load(lookup.expand(name)[0]).name == "tiny"


def test_a_package_that_a_checkout_hides_needs_a_wheel(
    tmp_path: Path, write_tiny: Callable[..., str]
) -> None:
    name = write_tiny()
    path = tmp_path / "net.py"
    path.write_text("from converters.my_blocks import block\n" + path.read_text())
    with pytest.raises(BadSpec) as caught:
        lookup.load(name)
    assert caught.value.do == ""
    (tmp_path / "converters").mkdir()
    (tmp_path / "converters" / "my_blocks.py").write_text("block = 1\n")
    with pytest.raises(BadSpec, match="install mlship from a wheel"):
        lookup.load(name)


@pytest.mark.parametrize("name", ["net.py", "net.py:", "net.py:a b", "dir/net.pyc:spec"])
def test_a_file_without_an_attribute_is_refused(name: str) -> None:
    with pytest.raises(BadSpec, match=r"path/to/file\.py:spec"):
        lookup.expand(name)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSpec, match="no such file"):
        lookup.load(f"{tmp_path}/none.py:spec")


def test_a_missing_attribute_lists_the_specs(write_tiny: Callable[..., str]) -> None:
    with pytest.raises(UnknownName, match="known: spec"):
        lookup.load(write_tiny().replace(":spec", ":specs"))


def test_an_attribute_that_is_no_spec_is_refused(write_tiny: Callable[..., str]) -> None:
    with pytest.raises(BadSpec, match="Net is a type, not a ModelSpec"):
        lookup.load(write_tiny().replace(":spec", ":Net"))


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        ("import torch\n1 / 0\n", "ZeroDivisionError", ":2"),
        ("import no_such_package\n", "no_such_package", ":1"),
        ("def f(:\n", "SyntaxError", ":1"),
    ],
)
def test_a_file_that_cannot_be_imported_names_the_line(
    tmp_path: Path, source: str, message: str, line: str
) -> None:
    path = tmp_path / "net.py"
    path.write_text(source)
    with pytest.raises(BadSpec, match=message) as caught:
        lookup.load(f"{path}:spec")
    assert caught.value.where == f"{path}{line}"


@pytest.mark.parametrize("code", ["import sys\nsys.exit(0)\n", "raise SystemExit\n"])
def test_a_file_that_ends_the_program_is_bad_input(tmp_path: Path, code: str) -> None:
    (tmp_path / "net.py").write_text(code)
    with pytest.raises(BadSpec, match="SystemExit") as caught:
        lookup.load(f"{tmp_path}/net.py:spec")
    assert f"net.py:{code.count(chr(10))}" in caught.value.where


def test_two_projects_may_each_have_a_module_of_one_name(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b")):
        (tmp_path / name / "parts").mkdir(parents=True)
        (tmp_path / name / "net.py").write_text(f"from parts.width import WIDTH\nSTEP = {number}\n")
        (tmp_path / name / "parts" / "__init__.py").write_text("")
        (tmp_path / name / "parts" / "width.py").write_text(f"WIDTH = {number + 10}\n")
        (tmp_path / name / "spec.py").write_text(
            "from net import STEP, WIDTH\nboth = (STEP, WIDTH)\n"
        )
    for name, both in (("a", (0, 10)), ("b", (1, 11)), ("a", (0, 10))):
        assert lookup.load_as(f"{tmp_path}/{name}/spec.py:both", tuple) == both


def test_a_module_that_something_else_imported_is_not_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "width_of_mine.py").write_text(f"WIDTH = {name!r}\n")
    (tmp_path / "b" / "spec.py").write_text("from width_of_mine import WIDTH\n")
    monkeypatch.syspath_prepend(tmp_path / "a")
    import_module("width_of_mine")
    assert lookup.load_as(f"{tmp_path}/b/spec.py:WIDTH", str) == "b"
