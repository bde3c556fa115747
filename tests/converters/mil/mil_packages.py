"""Tiny packages for tests: many small functions converted at once, each with its own output."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from converters import mil
from converters.coreml import defects
from converters.coreml.tools import coremltools, quiet


@dataclass(frozen=True)
class Case:
    """A function of tensors, what it is fed, and the operations that it must become."""

    function: Callable[..., Any]
    inputs: tuple[Tensor, ...]
    ops: tuple[str, ...] = ()
    tolerance: float = 1e-5
    modules: tuple[nn.Module, ...] = ()

    def expected(self) -> list[np.ndarray]:
        with torch.no_grad():
            results = self.function(*self.inputs)
        many = results if isinstance(results, tuple | list) else [results]
        return [r.numpy() for r in many]


class _All(nn.Module):
    def __init__(self, cases: Iterable[Case]) -> None:
        super().__init__()
        self.cases = list(cases)
        self.kept = nn.ModuleList([m for c in self.cases for m in c.modules])

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        left, outputs = list(inputs), []
        for case in self.cases:
            mine, left = left[: len(case.inputs)], left[len(case.inputs) :]
            results = case.function(*mine)
            outputs += list(results) if isinstance(results, tuple | list) else [results]
        return tuple(o if o.is_floating_point() else o.float() for o in outputs)


@dataclass
class Battery:
    """All cases as one package, converted when first asked for and run once."""

    cases: Mapping[str, Case]
    target: str = "iOS17"
    precision: str = "FLOAT32"
    repaired: bool = True
    package: mil.Package | None = None
    results: dict[str, list[np.ndarray]] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    def run(self, directory: Path) -> None:
        if self.package is not None:
            return
        inputs = [t for c in self.cases.values() for t in c.inputs]
        path = directory / "all.mlpackage"
        names = self._names()
        convert(
            _All(self.cases.values()),
            inputs,
            path,
            names,
            self.target,
            self.precision,
            self.repaired,
        )
        self.package = mil.open_package(path)
        feed = {f"in_{i}": t.numpy() for i, t in enumerate(inputs)}
        outputs = self.package.main.run(feed)
        self.results = {n: [outputs[o] for o in outs] for n, outs in self.names.items()}

    def _names(self) -> list[str]:
        for i, (name, case) in enumerate(self.cases.items()):
            self.names[name] = [f"out_{i}_{j}" for j in range(len(case.expected()))]
        return [n for names in self.names.values() for n in names]

    def check(self, name: str, directory: Path) -> None:
        """The case's results equal PyTorch's, by the operations that it names."""
        self.run(directory)
        assert self.package is not None
        case = self.cases[name]
        used = set().union(*(producers(self.package, o) for o in self.names[name]))
        assert set(case.ops) <= used, f"{name} became {sorted(used)}"
        for ours, theirs in zip(self.results[name], case.expected(), strict=True):
            compare(ours, theirs, case.tolerance)


def compare(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    """Equal shapes and numbers, to a tolerance relative to the largest of them."""
    assert ours.shape == theirs.shape
    assert ours.size
    theirs = theirs.astype(np.float64)
    scale = max(1.0, float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0)))
    np.testing.assert_allclose(ours.astype(np.float64), theirs, rtol=0, atol=tolerance * scale)


def convert(
    module: nn.Module,
    examples: Iterable[Tensor],
    path: Path,
    outputs: Iterable[str] | None = None,
    target: str = "iOS17",
    precision: str = "FLOAT32",
    repaired: bool = True,
    image_outputs: list[Any] | None = None,
    **options: Any,
) -> Any:
    """Traces and converts a module; inputs are called in_0, in_1 ...; returns the MLModel."""
    ct = coremltools()
    if repaired:
        defects.repair()
    example = tuple(examples)
    traced = traced_quietly(module, example)
    specs = [
        ct.TensorType(f"in_{i}", t.shape, dtype=np.int32 if t.dtype == torch.int32 else np.float32)
        for i, t in enumerate(example)
    ]
    if image_outputs is not None:
        options["outputs"] = image_outputs
    if outputs is not None:
        options["outputs"] = [ct.TensorType(n, dtype=np.float32) for n in outputs]
    options = {"inputs": specs, **options}
    with quiet():
        model = ct.convert(
            traced,
            convert_to="mlprogram",
            minimum_deployment_target=ct.target[target],
            compute_precision=ct.precision[precision],
            skip_model_load=True,
            **options,
        )
    model.save(str(path))
    return model


def traced_quietly(module: nn.Module, example: tuple[Tensor, ...]) -> torch.jit.ScriptModule:
    """The traced module; what a tracer warns of is not the subject of these tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(module.eval(), example, check_trace=False)


def build(program: Callable[[], Any], path: Path, target: str = "iOS17") -> mil.Package:
    """The package of a program written with coremltools' Builder, kept as it is written."""
    ct = coremltools()
    with quiet():
        model = ct.convert(
            program(),
            convert_to="mlprogram",
            minimum_deployment_target=ct.target[target],
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
        )
    model.save(str(path))
    return mil.open_package(path)


def op_types(package: mil.Package, function: str | None = None) -> list[str]:
    """The types of a function's operations in order, constants left out."""
    block = (package.main if function is None else package[function]).block
    return [o.type for o in block.operations if o.type != "const"]


def producers(package: mil.Package, output: str) -> set[str]:
    """The types of all operations that a value depends on."""
    by_result = {r.name: o for o in package.main.block.operations for r in o.results}
    seen: set[str] = set()
    todo = [output]
    while todo:
        name = todo.pop()
        if name in seen or name not in by_result:
            continue
        seen.add(name)
        todo += list(by_result[name].reads())
    return {by_result[n].type for n in seen}
