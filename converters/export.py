"""A program on disk: its graph as ONNX for our lowering, as TorchScript for coremltools."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path

from converters.api import Export, Program
from converters.capture import example, user_code
from converters.format import Source
from converters.graph.captured import CapturedGraph
from converters.program_graph import captured_of
from model_defs.errors import ConversionFailed, MlshipError, during


def export(program: Program, directory: Path, *, onnx: bool = True) -> Export:
    """Write the program's graph as TorchScript and, where asked, as ONNX, from one capture.

    Raises BadModule for what cannot be captured, UnsupportedOperation for an operation that ONNX
    cannot hold, with the line of the module that it came from.
    """
    sources: tuple[Source, ...] = ("torchscript", "onnx") if onnx else ("torchscript",)
    written = export_each(program, directory, sources)
    for refusal in written.refused.values():
        raise refusal
    return written


def export_each(program: Program, directory: Path, sources: Collection[Source]) -> Export:
    """The same of these sources, each for itself: what one refuses leaves the others alone.

    Raises what concerns all of them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    spec = program.spec
    captured = captured_of(program)
    result = Export(
        directory,
        spec.inputs,
        spec.outputs,
        program.precision,
        digest_of(captured),
        program.grids,
        program.mixed,
        graph=captured,
    )
    layers = {layer.value: asdict(layer) for layer in captured.layers()}
    result.layers.write_text(json.dumps(layers), encoding="utf-8")
    refused: dict[str, MlshipError] = {}
    for source in ("torchscript", "onnx"):
        if source not in sources:
            continue
        try:
            with during(f"writing the graph as {source}", ConversionFailed):
                _WRITERS[source](program, captured, result)
        except MlshipError as error:
            if len(sources) == 1:
                raise
            refused[source] = error
    return replace(result, refused=refused)


def _write_torchscript(program: Program, captured: CapturedGraph, target: Export) -> None:
    from converters.graph.ranks import with_five_axes
    from converters.graph.rules import FOR_CORE_ML
    from converters.graph.script import scripted

    with user_code("the module cannot be traced"):
        ready = with_five_axes(captured.decomposed(FOR_CORE_ML))
        traced = scripted(ready, example(program.spec))
    traced.save(str(target.torchscript))


def _write_onnx(program: Program, captured: CapturedGraph, target: Export) -> None:
    import onnx

    from converters.graph.ranks import parts_of_five_axes
    from converters.graph.writing.model import onnx_model

    ready = parts_of_five_axes(captured)
    weights = target.onnx.with_suffix(".weights")
    onnx.save(onnx_model(ready, target.inputs, target.outputs, weights), target.onnx)


_WRITERS = {"torchscript": _write_torchscript, "onnx": _write_onnx}


def digest_of(captured: CapturedGraph) -> str:
    """The SHA-256 of the graph, every parameter and every constant."""
    digest = hashlib.sha256(re.sub(r"\s*#.*", "", captured.module.code).encode())
    for name, tensor in sorted(captured.module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()
