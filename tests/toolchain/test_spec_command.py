"""`mlship spec` and `mlship build --example`: a module's specification, found and kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from converters.capture import capture
from model_defs import lookup
from model_defs.errors import BadSpec
from tests.toolchain.projects import mlship
from toolchain.build.own_module import made, read_examples

NET = """
import torch
from torch import nn
from widths import WIDTH

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.words = nn.Conv2d(3, WIDTH, 3, padding=1), nn.Embedding(30, WIDTH)

    def forward(self, image, *, tokenIds, keep):
        y = self.conv(image) + self.words(tokenIds).mean(1)[:, :, None, None]
        return {"logits": y, "labels": y.argmax(1), "kept": keep & (tokenIds > 3), "none": None}

def make():
    return nn.Sequential(nn.Conv2d(3, 2, 1))

plain = make()
number = 5
def wrong():
    return 5
def fails():
    raise ValueError("no luck")
"""
EXAMPLES = ("image=1,3,16,16", "tokenIds=1,6:int64:0..29", "keep=1,6:bool")
ASKED = tuple(part for one in EXAMPLES for part in ("--example", one))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nets").mkdir()
    for name in ("net.py", "my-net.py"):
        (tmp_path / "nets" / name).write_text(NET)
    (tmp_path / "nets" / "widths.py").write_text("WIDTH = 5\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_it_prints_is_a_specification_as_it_is(folder: Path) -> None:
    result = mlship("spec", "nets/net.py:Net", *ASKED, "--name", "kept-net", "--tolerance", "0.05")
    assert result.exit_code == 0, result.output
    (folder / "spec.py").write_text(result.stdout)
    assert "# found by running the module: input tokenids (1, 6) is int64 0 to 29" in result.stdout
    built = mlship("build", "spec.py:spec", "--target", "web", "--json")
    assert built.exit_code == 0, built.output
    (row,) = json.loads(built.stdout)
    assert (row["model"], row["ok"]) == ("kept-net", True)
    spec = lookup.load(f"{folder}/spec.py:spec")
    assert [(t.name, t.shape, t.dtype) for t in (*spec.inputs, *spec.outputs)] == [
        ("image", (1, 3, 16, 16), "float32"),
        ("tokenids", (1, 6), "int64"),
        ("keep", (1, 6), "bool"),
        ("logits", (1, 5, 16, 16), "float32"),
        ("labels", (1, 16, 16), "int64"),
        ("kept", (1, 6), "bool"),
    ]
    assert spec.outputs[0].tolerance == 0.05


def test_the_same_without_a_file_in_between(folder: Path) -> None:
    built = mlship("build", "nets/net.py:Net", *ASKED, "--target", "android", "--json")
    assert built.exit_code == 0, built.output
    assert json.loads(built.stdout)[0]["ok"]


@pytest.mark.parametrize("what", ["nets/net.py:make", "nets/net.py:plain", "nets/my-net.py:plain"])
def test_of_a_module_or_what_makes_it(folder: Path, what: str) -> None:
    torch.save(made(f"{folder}/{what}").state_dict(), folder / "nets" / "w.pt")
    result = mlship("spec", what, "--example", "2,3,8,8", "--weights", "nets/w.pt")
    assert result.exit_code == 0, result.output
    (folder / "spec.py").write_text(result.stdout)
    spec = lookup.load(f"{folder}/spec.py:spec")
    assert spec.inputs[0].shape == (2, 3, 8, 8)
    assert spec.call is None
    assert spec.weights == folder / "nets" / "w.pt"
    assert list(spec.build().state_dict()) == ["0.weight", "0.bias"]


def test_what_is_printed_is_laid_out_as_ruff_would(folder: Path) -> None:
    text = mlship("spec", "nets/net.py:Net", *ASKED).stdout
    code = [line for line in text.splitlines() if not line.startswith("#")]
    assert max(map(len, code)) <= 100
    assert "'" not in "".join(code).replace("call=", "")
    named = json.loads(mlship("spec", "nets/net.py:Net", *ASKED, "--json").stdout)
    assert named["source"] == text
    assert named["inputs"][1]["high"] == 29


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nets/net.py:Net", "--example", "3x8"), "'3x8' is no example"),
        (("nets/net.py:Net", "--example", "1,3:float16"), "is no example"),
        (
            ("nets/net.py:Net", "--example", "1,9:int64"),
            "say the least and the largest: --example 1,9:int64:0..9",
        ),
        (("nets/net.py:Net", "--example", "1,9:int64:9..0"), "9 is not below 0"),
        (("nets/net.py:Net", "--example", "1,0"), "holds no numbers"),
        (("nets/net.py:Net", "--example", "image=1,3", "--example", "1,3"), "without a name first"),
        (
            ("nets/net.py:Net", "--example", "1,3,8,8", "--example", "image=1,3,8,8"),
            "multiple values for argument 'image'",
        ),
        (("nets/net.py:Net", "--example", "1,3,8,8"), "forward does not take the example"),
        (("nets/net.py:Net",), "what the module takes is not known"),
        (("depth", "--example", "1,3,8,8"), "an example is of a module, and 'depth' names none"),
        (("nets/net.py:number", "--example", "1"), "number is a int, and makes no module"),
        (("nets/net.py:wrong", "--example", "1"), "wrong() returned a int"),
        (("nets/net.py:fails", "--example", "1"), "fails() failed: ValueError: no luck"),
        (("nets/net.py:nothing", "--example", "1"), "nothing"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    result = mlship("spec", *arguments)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_class_without_an_example_is_told_of_it(folder: Path) -> None:
    result = mlship("build", "nets/net.py:Net", "--target", "web")
    assert result.exit_code == 2
    assert "--example 1,3,224,224" in result.stderr


def test_the_numbers_of_an_example_reach_its_bounds() -> None:
    (tokens,) = read_examples(["2,50:int32:-3..9"])
    assert (int(tokens.min()), int(tokens.max()), tokens.dtype) == (-3, 9, torch.int32)
    named = read_examples(["a=4:bool", "b=1,1,2,2:float32:-1..1"])
    assert isinstance(named, dict)
    assert (named["a"].dtype, float(named["b"].min())) == (torch.bool, -1)
    with pytest.raises(BadSpec, match="two have the same name"):
        read_examples(["a=4", "a=5"])


def test_inputs_by_position_go_before_those_by_name(folder: Path) -> None:
    free = EXAMPLES[0].removeprefix("image=")
    asked = tuple(part for one in (free, *EXAMPLES[1:]) for part in ("--example", one))
    result = mlship("spec", "nets/net.py:Net", *asked)
    assert result.exit_code == 0, result.output
    assert "net(image, tokenIds=tokenids, keep=keep)" in result.stdout
    (folder / "spec.py").write_text(result.stdout)
    kept = lookup.load("spec.py:spec")
    assert [t.name for t in capture(kept).spec.inputs] == ["image", "tokenids", "keep"]


def test_a_state_that_is_said_with_an_example_is_no_proposal_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def forward(self, x, hidden):\n"
        "        return {'y': x.mean(1, keepdim=True), 'hidden': (hidden - 2 * x).tanh()}\n"
    )
    monkeypatch.chdir(tmp_path)
    shapes = ("--example", "1,3,8,8", "--example", "hidden=1,3,8,8")
    result = mlship(
        "build", "net.py:Net", *shapes, "--target", "web", "--state", "hidden=hidden_out"
    )
    assert result.exit_code == 0, result.output
    assert "by their names" not in result.output
    manifest = json.loads((tmp_path / "dist" / "net-web" / "manifest.json").read_text())
    held = next(one for one in manifest["inputs"] if one["name"] == "hidden")
    assert (held["kind"], held["low"]) == ("state", -1.0)
