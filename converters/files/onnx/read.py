"""From an ONNX file to a specification whose build() computes what the file does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from converters.describe import describe_run
from converters.files.example import name_of, unsaid
from converters.files.onnx import module
from converters.files.onnx.graph import Fed, OnnxGraph, read_graph
from converters.files.onnx.prove import prove
from converters.files.request import FileRequest, InputExample
from converters.signature import tensor_name
from model_defs.errors import BadSpec
from model_defs.spec import DTYPES, ModelSpec


def read(request: FileRequest) -> ModelSpec:
    """The specification of an ONNX file, proved against ONNX's own evaluators on one example.

    What the user says of inputs fixes dynamic dimensions. What was decided is in the notes.

    Raises BadArtifact for a file that is not sound, BadSpec for a dimension that is not
    fixed, UnsupportedOperation for an operator that is not read, ConversionFailed where what was
    made of the file computes something else.
    """
    path = request.path
    graph = read_graph(request)
    examples = _examples(graph, request)
    example = tuple(one.tensor() for one in examples)
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
            *unsaid(examples),
        ),
    )
    renamed = _renamed([fed.name for fed in graph.inputs], [one.name for one in spec.inputs])
    renamed += _renamed(graph.outputs, [one.name for one in spec.outputs])
    return spec if not renamed else _noted(spec, renamed)


def _examples(graph: OnnxGraph, request: FileRequest) -> tuple[InputExample, ...]:
    """What is fed to each input, of the type that the file declares."""
    if not graph.inputs:
        raise BadSpec("the network has no inputs", where=str(graph.path))
    said = request.of(tuple(fed.name for fed in graph.inputs))
    return tuple(_example(fed, said.get(fed.name), graph.path) for fed in graph.inputs)


def _example(fed: Fed, said: InputExample | None, path: Path) -> InputExample:
    if fed.dtype not in DTYPES or (said and said.dtype not in ("float32", fed.dtype)):
        raise BadSpec(
            f"input '{fed.name}' is {fed.dtype}, not {said.dtype if said else 'float32'}",
            where=str(path),
            do=f"export the network with an input of {', '.join(DTYPES)}, and cast it inside",
        )
    bounds = said or InputExample(fed.name, fed.shape)
    return replace(bounds, name=fed.name, shape=fed.shape, dtype=fed.dtype)


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
