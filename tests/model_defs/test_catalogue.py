"""The catalogue says what the zoo's models are, without building one."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

from model_defs import catalogue, zoo

LIST = [sys.executable, "-m", "toolchain.cli.main", "list"]


def test_the_catalogue_is_current() -> None:
    current = catalogue.text_of(catalogue.compute())
    assert catalogue.FILE.read_text(encoding="utf-8") == current, "python -m model_defs.catalogue"


def test_a_model_names_its_products() -> None:
    found = {row.name: row.products for row in catalogue.read()}
    assert [*found] == [*zoo.MODELS]
    assert found["depth-trunk"] == ["hydra"]
    assert found["saliency"] == []


def test_list_builds_nothing() -> None:
    code = (
        "import sys\n"
        "from toolchain.cli.main import main\n"
        "try: main(['list', '--json'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'numpy', 'rich') if m in sys.modules], file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines()[-1] == "[]"
    rows = json.loads(ran.stdout)
    assert rows[0]["name"] == "select"
    assert rows[0]["parameters"] == 1_074_855


def test_list_takes_less_than_a_second_of_a_processor() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(LIST, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
