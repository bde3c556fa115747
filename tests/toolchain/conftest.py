"""What tests share: a small model of two outputs, built for all targets; one thread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from own_models import TWO, Two

from toolchain.bundle import bundle


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For training: steps this small wait for each other longer than they work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> Two:
    """A model with a map and a mask, whose bundles are honest; recipe fp16."""
    from toolchain.cli.main import main

    root = tmp_path_factory.mktemp("two")
    (root / "net.py").write_text(TWO)
    model = f"{root}/net.py:spec"
    before = os.environ.get("MLSHIP_CACHE")
    os.environ["MLSHIP_CACHE"] = str(root / "cache")
    try:
        result = CliRunner().invoke(main, ["build", model, "--target", "all", "--out", str(root)])
    finally:
        if before is not None:
            os.environ["MLSHIP_CACHE"] = before
    assert result.exit_code == 0, result.output
    targets = ("ios", "android", "web")
    return Two(model, root / "cache", {t: bundle.read(Path(root) / f"two-{t}") for t in targets})
