"""What all tests share: a cache of their own, the same random numbers, two threads, tiny models."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from own_models import TWO, Two, tiny

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ["MLSHIP_DATA"] = tempfile.mkdtemp(prefix="mlship-tests-")
"""Not the user's own; one for the run, so that fixtures' caches are believed by later tests."""
atexit.register(shutil.rmtree, os.environ["MLSHIP_DATA"], ignore_errors=True)


QUICK = frozenset((Path(__file__).parent / "quick.txt").read_text(encoding="utf-8").split())
"""The files of tests that are for the loop while one works: `make quick`. They build no net."""


LONGEST = (
    "tests/toolchain/test_zoo_on_every_backend.py",
    "tests/toolchain/test_fast.py",
    "tests/toolchain/test_ci.py",
    "tests/toolchain/test_ci_planted.py",
    "tests/converters/test_wild.py",
    "tests/converters/test_random_networks.py",
    "tests/toolchain/test_narrow_nets.py",
)
"""The files that take minutes begin first: begun last, one of them keeps all but one process idle
(`--no-loadscope-reorder` leaves the order as it is here)."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(
        key=lambda item: ranks.get(item.path.relative_to(config.rootpath).as_posix(), len(LONGEST))
    )
    for item in items:
        is_listed = item.path.relative_to(config.rootpath).as_posix() in QUICK
        if is_listed and item.get_closest_marker("slow") is None:
            item.add_marker("quick")


@pytest.fixture(autouse=True)
def _builds_no_net(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick test that starts a converter fails, whichever tests it is run with."""
    if request.node.get_closest_marker("quick") is not None:
        from converters.processes.worker import Worker

        def refuse(*_: object) -> None:
            pytest.fail(f"a quick test builds a net: take {request.path.name} out of quick.txt")

        monkeypatch.setattr(Worker, "__init__", refuse)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts with an empty cache, unless it shares one on purpose."""
    monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def _own_random_numbers() -> None:
    """A test draws the same weights whichever tests ran before it. PyTorch's first seed is fixed,
    so a test that imports it needs no other."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def write_tiny(tmp_path: Path) -> Callable[..., str]:
    """Writes a model file of a user's own; returns `path:spec`."""

    def write(body: str = "x", build: str = "lambda: Net().eval()", name: str = "net.py") -> str:
        path = tmp_path / name
        path.write_text(tiny(body, build))
        return f"{path}:spec"

    return write


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.py, a cache, the bundles of one build for all targets and its output."""
    from click.testing import CliRunner

    from toolchain.cli.main import main

    root = tmp_path_factory.mktemp("shared")
    (root / "net.py").write_text(tiny())
    command = ["build", f"{root}/net.py:spec", "--target", "all", "--out", str(root / "dist")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSHIP_CACHE", str(root / "cache"))
        result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    (root / "printed.txt").write_text(result.stdout)
    return root


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> Two:
    """A model with a map and a mask, whose bundles are honest; recipe fp16."""
    from click.testing import CliRunner

    from toolchain.bundle import bundle
    from toolchain.cli.main import main

    root = tmp_path_factory.mktemp("two")
    (root / "net.py").write_text(TWO)
    model = f"{root}/net.py:spec"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSHIP_CACHE", str(root / "cache"))
        result = CliRunner().invoke(main, ["build", model, "--target", "all", "--out", str(root)])
    assert result.exit_code == 0, result.output
    targets = ("ios", "android", "web")
    return Two(model, root / "cache", {t: bundle.read(Path(root) / f"two-{t}") for t in targets})
