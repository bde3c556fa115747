"""mlship.toml: what it says, and what is said to those who write it wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_models import tiny

from model_defs.errors import (
    BadConfig,
    BadRecipe,
    MlshipError,
    UnknownName,
    UnsupportedOption,
)
from toolchain.ci import config

WHOLE = """
[project]
targets = ["ios", "web"]
recipe = "fp32"
out = "bundles"

[models.depth]
[models.tiny]
spec = "net.py:spec"
targets = ["android"]
recipe = "fp16"

[budgets]
level = "warn"
wire = "9 MB"
psnr = { limit = 30, level = "error" }

[budgets.depth]
psnr = 35

[budgets.depth.ios]
level = "error"
wire = "4 MB"
"""


def project(tmp_path: Path, text: str) -> config.Project:
    (tmp_path / "net.py").write_text(tiny())
    (tmp_path / "mlship.toml").write_text(text)
    return config.read(tmp_path)


def test_models_take_what_the_project_says_and_their_own(tmp_path: Path) -> None:
    found = project(tmp_path, WHOLE)
    depth, own = found.models
    assert (depth.name, depth.spec, depth.recipe.name) == ("depth", "depth", "fp32")
    assert [t.name for t in depth.targets] == ["ios", "web"]
    assert own.spec == f"{tmp_path}/net.py:spec"
    assert [t.name for t in own.targets] == ["android"]
    assert own.recipe.name == "fp16"
    assert found.out == tmp_path / "bundles"
    assert found.baseline == tmp_path / "mlship.baseline.json"


def test_the_nearest_budget_wins(tmp_path: Path) -> None:
    budgets = project(tmp_path, WHOLE).budgets

    def of(model: str, target: str) -> dict[str, tuple[float, str]]:
        return {b.key: (b.limit, b.level) for b in budgets[model, target]}

    assert of("depth", "ios") == {"wire": (4e6, "error"), "psnr": (35, "warn")}
    assert of("depth", "web") == {"wire": (9e6, "warn"), "psnr": (35, "warn")}
    assert of("tiny", "android") == {"wire": (9e6, "warn"), "psnr": (30, "error")}


def test_a_file_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text("[models.depth]\n")
    assert config.read(path).models[0].name == "depth"


ONE = "[models.depth]\n"


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("models = ", BadConfig, "no TOML"),
        ("", BadConfig, "no model"),
        ("models = 3", BadConfig, "no model"),
        (f"{ONE}[budget]\n", UnknownName, "did you mean 'budgets'"),
        (f"{ONE}[project]\ntarget = ['ios']", UnknownName, "did you mean 'targets'"),
        (f"{ONE}[project]\ntargets = 'ios'", BadConfig, "targets is not a list of names"),
        (f"{ONE}[project]\ntargets = [1]", BadConfig, "targets is not a list of names"),
        (f"{ONE}[project]\nrecipe = 16", BadConfig, "recipe is not a text"),
        (f"{ONE}[project]\ntargets = ['iso']", UnknownName, "did you mean 'ios'"),
        (f"{ONE}[project]\nrecipe = 'fp61'", UnknownName, "did you mean 'fp16'"),
        (f"{ONE}[project]\nrecipe = 'weights-int4=0'", BadRecipe, "write weights-int4"),
        (
            f"{ONE}[project]\nrecipe = 'uint8'\ntargets = ['ios']",
            UnsupportedOption,
            "does not store",
        ),
        (f"{ONE}[project]\nrequire = ['litr']", UnknownName, "did you mean 'litert'"),
        ("[models.dpeth]", UnknownName, "did you mean 'depth'"),
        ("[models.depth]\nweigths = 'x'", UnknownName, "did you mean 'weights'"),
        ("[models.depth]\nweights = 'x.pt'", BadConfig, "there is no file x.pt"),
        ("[models]\ndepth = 3", BadConfig, "not a table"),
        ("[models.hydra]", BadConfig, "several models"),
        (f"{ONE}[budgets.dpeth]\nwire = 3", UnknownName, "did you mean 'depth'"),
        (f"{ONE}[budgets.depth]\nwires = 3", UnknownName, "did you mean 'wire'"),
        (f"{ONE}[budgets.depth.iso]\nwire = 3", UnknownName, "unknown budget 'iso'"),
        (f"{ONE}[budgets.depth.ios]\nwire = -3", BadConfig, "a number from 0"),
        (f"{ONE}[budgets.depth.ios]\nwire = '3 M'", BadConfig, "is no limit of wire"),
        (f"{ONE}[budgets]\nlevel = 'fatal'", BadConfig, "level is 'fatal'"),
        (
            "[project]\ntargets = ['web']\n[models.depth]\n[budgets.depth.ios]\nwire = 3",
            BadConfig,
            "depth is not built for ios",
        ),
    ],
)
def test_mistakes_are_told(tmp_path: Path, text: str, kind: type[MlshipError], said: str) -> None:
    with pytest.raises(kind) as caught:
        project(tmp_path, text)
    assert said in str(caught.value)
    assert "mlship.toml" in caught.value.where


def test_a_missing_file_leads_to_init(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="there is no mlship.toml") as caught:
        config.read(tmp_path)
    assert caught.value.do == "mlship init"
