"""Deep random networks whose norms are far from fresh ones, and the false alarms of parity on them.

    python -m tests.converters.random_networks.deep              50 of 20 to 200 layers
    python -m tests.converters.random_networks.deep --only 7 9   these of them

Files that are right have to pass, whatever float32 does to a net: in each recipe and format, by
the product's own verdicts. Of files that are wrong `tests/toolchain/test_damaged.py` asks.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from converters import backends
from converters.api import Artifact, Program
from converters.export import export
from converters.formats import FORMATS, prepare_runner
from model_defs.spec import ModelSpec, TensorSpec
from tests.converters.random_networks.draw import (
    LAYERS,
    Draw,
    Layer,
    Network,
    described,
    norm,
    normalised,
    steady,
)
from tests.converters.random_networks.warm import WarmConverter
from toolchain.data import cases
from toolchain.parity import compare, constants
from toolchain.parity.reference import Reference, of_build
from toolchain.recipes import pipeline, recipes

COUNT, DEPTH = 50, (20, 200)
RECIPES = ("fp32", "fp16")
TRIES = 12
"""For each layer: most that are drawn leave the bounds."""
MOST = 4096
LEAST_SIDE = 3


def far_from_fresh(module: nn.Module, draw: Draw) -> None:
    """Means of -5 to 5, variances of 0.01 to 100, and weights likewise; kernels as initialised."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.uniform_(-5, 5)
            part.running_var.copy_(10 ** torch.empty_like(part.running_var).uniform_(-2, 2))
            if part.affine:
                sign = torch.randint(2, part.weight.shape) * 2 - 1
                part.weight.copy_(sign * 10 ** torch.empty_like(part.weight).uniform_(-2, 2))
                part.bias.uniform_(-5, 5)


def deep_network(number: int, depth: tuple[int, int] = DEPTH) -> tuple[Network, Tensor]:
    """The network of this number, and an input: the same on every machine.

    Every third layer is a norm, or has one; a layer that leaves the bounds, that is constant, or
    that enlarges noise is passed over, so that there is something to be said of what comes out.
    """
    draw = Draw(number)
    torch.manual_seed(draw.whole(0, 2**16))
    x = torch.randn(1, draw.whole(2, 4), draw.whole(6, 12), draw.whole(6, 12))
    layers: list[Layer] = []
    y, wanted = x, draw.whole(*depth)
    with torch.no_grad():
        for _ in range(TRIES * wanted):
            kind = draw.one_of((norm, normalised) if draw.whole(0, 2) == 0 else LAYERS)
            layer = kind(draw, y)
            if isinstance(layer, nn.Module):
                layer.eval().requires_grad_(False)
                far_from_fresh(layer, draw)
            try:
                z = layer(y)
            except RuntimeError:  # too small for this kernel
                continue
            if _is_fit(z) and steady(layer, y, z):
                layers, y = [*layers, layer], z
            if len(layers) == wanted:
                break
    return Network(layers).eval(), x


def _is_fit(y: Tensor) -> bool:
    inside = y.dim() == 4 and y.numel() <= MOST and min(y.shape[2:]) >= LEAST_SIDE
    return inside and 1e-3 < float(y.abs().max()) < 1e4 and bool(y.std() > 0.02 * y.abs().max())


class Alarms:
    """Warm converters of all formats, and what parity says of their files; a context manager."""

    def __init__(self) -> None:
        self._warm = {"coreml": WarmConverter("coreml"), "tf": WarmConverter("tflite", "tfjs")}

    def __enter__(self) -> Alarms:
        return self

    def __exit__(self, *error: object) -> None:
        for warm in self._warm.values():
            warm.close()

    def of(self, network: nn.Module, x: Tensor, recipe: str) -> list[str]:
        """Each red of a network's files, as parity says it: of a right file there is none."""
        captured, asked = _program(network, x), recipes.find(recipe)
        shipped = pipeline.run(captured, asked.load())
        reference = of_build(asked, captured, shipped, cases.build(captured.spec.inputs))
        found: list[str] = []
        with tempfile.TemporaryDirectory(prefix="mlship-") as work:
            bare = dataclasses.replace(export(shipped, Path(work)), graph=None)
            for kind in FORMATS:
                folder = Path(work) / kind
                folder.mkdir()
                warm = self._warm.get(kind, self._warm["tf"])
                artifact = warm.convert(kind, bare, folder)
                found += [f"{recipe} {kind}: {red}" for red in _reds(artifact, reference)]
        return found


def _program(network: nn.Module, x: Tensor) -> Program:
    with torch.no_grad():
        shape = tuple(network(x).shape)
    inputs = (TensorSpec("x", tuple(x.shape), "features", low=-3, high=3),)
    outputs = (TensorSpec("y", shape, "features", tolerance=1e9),)
    return Program(ModelSpec("deep", lambda: network, inputs, outputs), network)


def _reds(artifact: Artifact, reference: Reference) -> Iterator[str]:
    """What says that a file is not the program: its constants, and the faithful verdict."""
    assert reference.faithful is not None
    assert reference.faithful.program is not None
    numbers = constants.compare(artifact, reference.faithful.program)
    for fault in numbers.report.faults:
        yield f"constant {fault.name} of {fault.layer}: {fault.what}"
    prepare_runner(artifact.format)
    found = backends.of_format(artifact.format)
    precise = next(b for b in found if not b.system and b.in_float32(artifact.precision))
    runner = precise.open(artifact)
    try:
        rows = compare.check(runner, reference.of_file(numbers.lost).of("faithful"))
    finally:
        runner.close()
    yield from (f"{r.backend} {r.case}: {r.note}" for r in rows if r.verdict == "failed")


def main() -> int:
    """Judge the networks that are asked for; 1 where any raises an alarm."""
    parser = argparse.ArgumentParser(prog="python -m tests.converters.random_networks.deep")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", default=range(COUNT))
    warnings.simplefilter("ignore")
    wrong = 0
    with Alarms() as alarms:
        for number in parser.parse_args().only:
            start = time.monotonic()
            network, x = deep_network(number)
            found = [red for recipe in RECIPES for red in alarms.of(network, x, recipe)]
            wrong += bool(found)
            said = f"{len(found)} false alarms" if found else "no alarm"
            took = time.monotonic() - start
            print(
                f"network {number}: {len(network.layers)} layers, {said}, {took:.0f} s", flush=True
            )
            if found:
                print(json.dumps({"layers": described(network), "alarms": found}, indent=1))
    print(f"{wrong} networks with a false alarm")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
