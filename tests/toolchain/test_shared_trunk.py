"""Hydra's parts share one file of weights, and a head that is trained leaves the trunk alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from converters.capture import capture
from model_defs import zoo
from toolchain.training import hydra
from toolchain.training.loop import train
from toolchain.training.state import Settings

pytestmark = pytest.mark.usefixtures("one_thread")


def test_trunk_and_head_are_the_whole_nets_parts() -> None:
    image = torch.rand(1, 3, 256, 256, generator=torch.manual_seed(0))
    whole, trunk, head = (
        capture(zoo.load(name)).module for name in ("depth", "depth-trunk", "depth-head")
    )
    assert torch.equal(head(*trunk(image)), whole(image))


@pytest.mark.parametrize("part", ["depth-trunk", "depth-head"])
def test_a_part_takes_its_own_of_a_whole_file_or_a_file_of_its_own(
    part: str, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    spec = zoo.load(part)
    assert spec.weights is not None
    shipped = capture(spec).module.state_dict()
    path = tmp_path / "own.safetensors"
    save_file({name: tensor + 1 for name, tensor in shipped.items()}, path)
    own = capture(spec, path).module.state_dict()
    assert all(torch.equal(own[name], tensor + 1) for name, tensor in shipped.items())


def test_training_a_head_leaves_the_trunk_as_it_is(tmp_path: Path) -> None:
    task = hydra.PORTRAIT_HEAD
    settings = Settings(steps=2, batch=2, size=0.25, rate=0.01, held_out=2)
    net = task.net(0.25)
    before = {name: tensor.clone() for name, tensor in net.trunk.state_dict().items()}
    built = replace(task, build=lambda height, width: net)
    found = train(built, settings, tmp_path)
    assert all(torch.equal(net.trunk.state_dict()[name], old) for name, old in before.items())
    weights = load_file(found.weights)
    assert weights.keys() == zoo.load("portrait-head").build().state_dict().keys()
    trunk = capture(zoo.load("depth-trunk")).module.state_dict()
    assert all(torch.equal(before[name], tensor) for name, tensor in trunk.items())
