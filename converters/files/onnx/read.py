"""From an ONNX file to a specification whose build() computes what the file does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from converters.describe import describe_run
from converters.files.example import RANGE, SEED, name_of
from converters.files.onnx import module
from converters.files.onnx.graph import Fed, OnnxGraph, read_graph
from converters.files.onnx.prove import prove
from converters.lowering.graph import Shape
from converters.signature import tensor_name
from model_defs.errors import BadSpec
from model_defs.spec import ModelSpec


def read(path: Path, shapes: Mapping[str, Shape] | None = None) -> ModelSpec:
    """The specification of an ONNX file, proved against ONNX's own evaluators on one example.

    `shapes` fix inputs with dynamic dimensions, by their names in the file. What was decided is in
    the notes. Raises BadArtifact for a file that is not sound, BadSpec for a dimension that is not
    fixed, UnsupportedOperation for an operator that is not read, ConversionFailed where what was
    made of the file computes something else.
    """
    graph = read_graph(path, shapes)
    example = _example(graph)
    made = module.build(graph, example)
    evaluator = prove(graph, made, example)
    with torch.no_grad():
        found = made(*example)
    results = found if isinstance(found, tuple) else (found,)
    inputs = dict(zip(_names(graph.inputs), example, strict=True))
    spec = describe_run(
        name_of(path),
        made,
        inputs,
        dict(zip(graph.outputs, results, strict=True)),
        notes=(
            *graph.notes,
            f"equal to {path.name} as {evaluator} runs it, on one example",
            RANGE,
        ),
    )
    renamed = _renamed([fed.name for fed in graph.inputs], [one.name for one in spec.inputs])
    renamed += _renamed(graph.outputs, [one.name for one in spec.outputs])
    return spec if not renamed else _noted(spec, renamed)


def _example(graph: OnnxGraph) -> tuple[torch.Tensor, ...]:
    """Noise of 0 to 1 for each input."""
    generator = torch.Generator().manual_seed(SEED)
    if not graph.inputs:
        raise BadSpec("the network has no inputs", where=str(graph.path))
    for fed in graph.inputs:
        if fed.dtype != "float32":
            raise BadSpec(
                f"input '{fed.name}' is {fed.dtype}, not float32",
                where=str(graph.path),
                do="export the network with a float input, and cast it inside",
            )
    return tuple(torch.rand(fed.shape, generator=generator) for fed in graph.inputs)


def _names(inputs: Sequence[Fed]) -> list[str]:
    """Names that every format takes, each once."""
    names: list[str] = []
    for fed in inputs:
        name, number = tensor_name(fed.name), 2
        while name in names:
            name, number = f"{tensor_name(fed.name)}_{number}", number + 1
        names.append(name)
    return names


def _renamed(old: Sequence[str], new: Sequence[str]) -> list[str]:
    return [
        f"'{before}' of the file is called {after}"
        for before, after in zip(old, new, strict=True)
        if before != after
    ]


def _noted(spec: ModelSpec, notes: Sequence[str]) -> ModelSpec:
    return replace(spec, notes=(*notes, *spec.notes))
