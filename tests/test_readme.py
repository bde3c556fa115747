"""What the README shows works."""

from __future__ import annotations

import json
import re
from pathlib import Path

from click.testing import CliRunner

from toolchain.cli import main

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def own_model() -> str:
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    return str(block)


def test_a_model_of_ones_own_is_short() -> None:
    assert len(own_model().splitlines()) < 40


def test_a_model_of_ones_own_is_built_for_every_target(tmp_path: Path) -> None:
    (tmp_path / "my_net.py").write_text(own_model())
    asked = ["build", f"{tmp_path}/my_net.py:spec", "--target", "all", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, [*asked, "--json"])
    assert result.exit_code == 0, result.output
    assert [entry["ok"] for entry in json.loads(result.stdout)] == [True, True, True]
