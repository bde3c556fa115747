"""How much a program's outputs depend on each number of its parameters."""

from __future__ import annotations

import copy

import numpy as np
import torch

from converters.api import Program
from converters.program_graph import tensors_of
from converters.signature import outputs_of

CASES = ("photo", "noise", "checkerboard")
DRAWS = 4
"""Random directions of the outputs for each case."""


def collect_squared_gradients(program: Program) -> dict[str, np.ndarray]:
    """Parameter -> the mean square of what it moves the outputs by, in tolerances, of its shape.

    The diagonal of the Gauss-Newton matrix, seen in random directions (Hutchinson 1990): needs
    inputs, but no labels.
    """
    from toolchain.data import cases

    module = copy.deepcopy(program.module).requires_grad_(True)
    random = torch.Generator().manual_seed(0)
    found = {n: torch.zeros_like(p) for n, p in module.named_parameters()}
    for case in cases.build(program.spec.inputs, CASES).values():
        outputs = outputs_of(program.spec, module(*tensors_of(program, case)))
        for _ in range(DRAWS):
            module.zero_grad(set_to_none=True)
            _seen(program, outputs, random).backward(retain_graph=True)
            for name, parameter in module.named_parameters():
                if parameter.grad is not None:
                    found[name] += parameter.grad**2
    return {name: total.numpy() / (len(CASES) * DRAWS) for name, total in found.items()}


def _seen(
    program: Program, outputs: tuple[torch.Tensor, ...], random: torch.Generator
) -> torch.Tensor:
    """The outputs in a random direction, in units of their tolerances."""
    total = torch.zeros(())
    for spec, output in zip(program.spec.outputs, outputs, strict=True):
        if not spec.is_float:  # labels have no gradient
            continue
        signs = torch.randint(0, 2, output.shape, generator=random) * 2 - 1
        total = total + (output * signs).sum() / (spec.noticeable or 1.0)
    return total
