"""The zoo's hard nets, narrow and small, built for every target in float16 and proved there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from model_defs import zoo
from toolchain.build.build import build
from toolchain.build.request import BuildRequest, Built
from toolchain.recipes import recipes, targets

NETS = """
from dataclasses import replace
from model_defs.blocks import initialise
from model_defs.inpaint import GMCNN, INPAINT_REFLECT
from model_defs.inpaint_pconv import INPAINT_PCONV, UNet


def narrow(spec, build, size):
    resized = lambda tensor: replace(tensor, shape=(*tensor.shape[:2], size, size))
    return replace(spec, name=f"narrow-{spec.name}", build=build,
                   inputs=tuple(map(resized, spec.inputs)),
                   outputs=tuple(map(resized, spec.outputs)))


pconv = narrow(INPAINT_PCONV, lambda: initialise(UNet(4), gain=0.95, contrast=2.0), 256)
reflect = narrow(INPAINT_REFLECT, lambda: initialise(GMCNN(4, port=True), gain=0.72), 200)
"""
BACKENDS = {"mil", "litert", "tfjs-wasm"}


@pytest.fixture
def built(tmp_path: Path, request: pytest.FixtureRequest) -> list[Built]:
    """The named net, built for all targets."""
    (tmp_path / "nets.py").write_text(NETS)
    model = f"{tmp_path / 'nets.py'}:{request.param}"
    everywhere, fp16 = targets.find(("all",)), recipes.find("fp16")
    return build(BuildRequest((model,), everywhere, fp16, out=tmp_path / "dist"))


@pytest.mark.parametrize("built", ["pconv"], indirect=True)
def test_partial_convolutions_are_finite_in_float16_for_every_mask(built: list[Built]) -> None:
    assert {one.exit_code for one in built} == {0}
    every = [row for one in built if one.report for row in one.report.rows]
    rows = [row for row in every if row.question == "accurate"]
    assert {row.backend for row in rows} == BACKENDS
    masks = zoo.load("inpaint-pconv").cases
    assert masks == ("empty-mask", "full-mask", "one-pixel-mask", "border-mask")
    for backend in BACKENDS:
        passed = {row.case for row in rows if (row.backend, row.verdict) == (backend, "passed")}
        assert {"photo", "ones", *masks} <= passed


@pytest.mark.parametrize("built", ["reflect"], indirect=True)
def test_padding_by_reflection_before_dilation_keeps_the_layout(built: list[Built]) -> None:
    assert {one.exit_code for one in built} == {0}
    for one in built:
        assert one.bundle is not None
        golden = load_file(one.bundle.directory / one.bundle.manifest.golden[0])
        assert np.ptp(golden["result"] - golden["image"]) > 0.1  # something was drawn
