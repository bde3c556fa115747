"""A net with every kind of kernel, what a converter makes of it, and its numbers read back."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from converters import mil
from converters.api import Artifact, Program
from converters.capture import capture
from converters.export import export
from converters.mil.plan import Scope, plan_block
from converters.processes.worker import Worker
from model_defs.spec import ModelSpec, TensorSpec
from toolchain.recipes import recipes, targets


class Kernels(nn.Module):
    """Every layer that has a kernel, some of which are transposed, flipped or joined."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.grouped = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3, groups=2)
        self.depthwise, self.up = nn.Conv2d(32, 32, 3, groups=32), nn.ConvTranspose2d(32, 16, 2, 2)
        self.linear = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.up(self.depthwise(self.grouped(self.conv(x)).relu()))
        return self.linear(x.mean((2, 3)))


def program_of(module: nn.Module) -> Program:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.1)
    image = TensorSpec("image", (1, 3, 12, 12), "image", low=0, high=1)
    result = TensorSpec("result", (1, 5), "map", tolerance=0.1)
    return capture(ModelSpec("net", lambda: module, (image,), (result,)))


def after(recipe: str, module: nn.Module) -> Program:
    """The program of a module after a recipe."""
    program = program_of(module)
    for step in recipes.find(recipe).load():
        program = step(program)
    return program


def converted(program: Program, target: str, folder: Path) -> Artifact:
    with Worker(targets.TARGETS[target].format) as worker:
        return worker.convert(export(program, folder / "export"), folder)


def planned(artifact: Artifact) -> tuple[mil.Package, Scope]:
    """A package, and the constants of its function with their expressions worked out."""
    package = mil.open_package(artifact.path)
    scope = Scope(package.main.opset)
    for value in package.main.inputs:
        scope.declare(value.name, value.type)
    plan_block(package.main.block, scope)
    return package, scope
