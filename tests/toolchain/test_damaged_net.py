"""A net as people have it, damaged at random places in each format: the layer is named.

18 files were damaged once, and 14 of them passed under a tolerance that is meant for rounding.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from own_models import SEGMENTS

from converters.api import Program
from converters.export import export
from converters.intermediates.guide import Guide
from tests.toolchain.manifests import resealed
from tests.toolchain.test_damaged import DAMAGES, TARGETS, put
from toolchain.bundle import bundle as bundles
from toolchain.cli.main import main
from toolchain.debug.blame import blame, layers_of
from toolchain.parity import constants, harness
from toolchain.parity.harness import BackendChoice
from toolchain.parity.subject import Subject, Subjects

PRECISE = {"ios": "mil-weights-only", "android": "litert", "web": "tfjs-wasm"}
"""Of each target's backends that which computes in float32."""
PLACES = np.random.default_rng(18)


@dataclass
class Built:
    """The honest bundles, on one case, and what names a file's layers, made once."""

    subjects: dict[str, Subject]
    program: Program
    folder: Path
    guides: dict[bool, Guide]

    def damaged(self, target: str, name: str, kind: str, folder: Path) -> Subject:
        shutil.copytree(self.subjects[target].bundle.directory, folder)
        own = self.program.module.get_parameter(name).detach().numpy()
        put(bundles.read(folder).artifact, own, DAMAGES[kind])
        return replace(self.subjects[target], bundle=bundles.read(resealed(folder)))

    def guide(self, onnx: bool) -> Guide:
        if onnx not in self.guides:
            where = self.folder / f"guide-{onnx}"
            inputs = self.subjects["android"].inputs["noise"]
            self.guides[onnx] = Guide(export(self.program, where, onnx=onnx), inputs)
        return self.guides[onnx]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("segments")
    (root / "net.py").write_text(SEGMENTS)
    model = f"{root}/net.py:spec"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSHIP_CACHE", os.fspath(root / "cache"))
        patch.setattr("toolchain.build.unrounded.LARGE", 10)  # one conversion for each is enough
        result = CliRunner().invoke(main, ["build", model, "--target", "all", "--out", str(root)])
    assert result.exit_code == 0, result.output
    known = Subjects(None, None, "noise")
    found = {t: known.of(bundles.read(root / f"segments-{t}"), model) for t in TARGETS}
    faithful = found["ios"].reference.faithful
    assert faithful is not None
    assert faithful.program is not None
    yield Built(found, faithful.program, root, {})
    torch.set_num_threads(threads)


@pytest.mark.parametrize("target", TARGETS)
def test_each_number_of_the_file_is_the_program_s(target: str, built: Built) -> None:
    """Nothing is a product that was rounded again: gates keep their factors to themselves."""
    found = constants.compare(built.subjects[target].artifact, built.program)
    assert (found.report.folded, found.report.faults, found.lost) == (0, (), frozenset())


def places() -> Iterator[tuple[str, str, int]]:
    for target in TARGETS:
        for kind in DAMAGES:
            yield target, kind, int(PLACES.integers(1000))


@pytest.mark.parametrize(("target", "kind", "place"), list(places()))
def test_parity_and_blame_name_the_layer(
    target: str, kind: str, place: int, built: Built, tmp_path: Path
) -> None:
    names = [n for n, p in built.program.module.named_parameters() if p.numel() > 2]
    name = names[place % len(names)]
    layer = name.rpartition(".")[0]
    subject = built.damaged(target, name, kind, tmp_path / "damaged")
    report = harness.judge(subject, BackendChoice((PRECISE[target],))).report
    assert not report.ok
    assert layer in " ".join(report.problems)
    accused = [
        fault.layer for fault in constants.compare(subject.artifact, built.program).report.faults
    ]
    if not accused:  # zeros may be anybody's: what they compute is not
        first = layers_of(subject, PRECISE[target], built.guide(target != "ios"), None).first
        assert first is not None
        accused = [one.module for one in first.layers]
    assert layer in accused


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", DAMAGES)
def test_all_of_blame_names_it(target: str, kind: str, built: Built, tmp_path: Path) -> None:
    subject = built.damaged(target, "high.1.layers.2.up.bias", kind, tmp_path / "damaged")
    found = blame(subject, (PRECISE[target],))
    assert found.exit_code == 1
    first = found.backends[0].first
    assert first is not None
    assert "high.1.layers.2.up" in [one.module for one in first.layers]
