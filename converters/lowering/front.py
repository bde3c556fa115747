"""onnx2tf, for operations outside our own lowering and as an oracle for it.

It runs in a process of its own: it exits the interpreter on errors, and needs as working
directory a folder with a calibration file that it would otherwise download. It keeps names but
not layouts, so that each tensor's order of axes is read from its shape, and only if that
leaves no doubt.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import numpy as np

from converters.api import Export, Port
from model_defs.errors import ConversionFailed, UnsupportedOperation
from model_defs.spec import TensorSpec

if TYPE_CHECKING:
    from converters.lowering.call import Target
    from converters.lowering.lower import Lowered

Via = Literal["lowering", "onnx2tf"]

SECONDS = 900
CALIBRATION = "calibration_image_sample_data_20x128x128x3_float32.npy"
OPTIONS = (
    *("--output_signaturedefs", "--copy_onnx_input_output_names_to_tflite"),
    *("--non_verbose", "--verbosity", "error"),
)


def preload() -> None:
    """Import what `lowered` needs, while there is nothing to lower yet."""
    import converters.lowering.graph
    import converters.lowering.lower
    import converters.lowering.rewrites  # noqa: F401


def lowered(export: Export, target: Target, via: Via) -> tuple[Lowered, tuple[str, ...]]:
    """The TensorFlow graph of an export, and what the manifest should say of how it came.

    What our lowering refuses goes through onnx2tf; if that fails as well, our own reason is
    the error, with what onnx2tf said.
    """
    if via == "onnx2tf":
        return _converted(export), (_note("as asked"),)
    try:
        return emitted(export, target), ()
    except UnsupportedOperation as reason:
        try:
            return _converted(export), (_note(reason.what),)
        except ConversionFailed as error:
            what = f"{reason.what}; and {error.what}"
            raise UnsupportedOperation(what, where=reason.where, do=reason.do) from error


def emitted(export: Export, target: Target) -> Lowered:
    """What our own lowering makes of an export; UnsupportedOperation for what it does not know."""
    from converters.lowering.graph import read_graph
    from converters.lowering.lower import lower
    from converters.lowering.rewrites import rewritten

    as_stored = bool(export.mixed or (export.grids and target == "tflite"))  # TF.js sums later
    graph = rewritten(read_graph(export.onnx), target, as_stored=as_stored)
    return lower(graph, export.inputs, export.outputs, target)


def _converted(export: Export) -> Lowered:
    from converters.lowering.frozen import frozen

    with onnx2tf(export.onnx) as folder:
        return frozen(folder, export.inputs, export.outputs)


@contextmanager
def onnx2tf(onnx: Path) -> Iterator[Path]:
    """A folder with onnx2tf's SavedModel; ConversionFailed otherwise."""
    with TemporaryDirectory() as folder:
        np.save(Path(folder, CALIBRATION), np.zeros((20, 128, 128, 3), np.float32))
        output = Path(folder, "output")
        command = [sys.executable, "-m", "onnx2tf", "-i", str(onnx.resolve()), "-o", str(output)]
        try:
            process = subprocess.run(
                [*command, *OPTIONS],
                cwd=folder,
                env=_environment(),
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ConversionFailed(f"onnx2tf did not end within {SECONDS} s") from error
        if process.returncode != 0 or not (output / "saved_model.pb").is_file():
            raise ConversionFailed(f"onnx2tf failed: {_last_words(process)}")
        yield output


def _note(reason: str) -> str:
    """What the manifest says of an artifact that came this way."""
    return f"written by onnx2tf {version('onnx2tf')}: {reason}"


def _environment() -> dict[str, str]:
    """With our programs first on the path: it calls `onnxsim` as one."""
    programs = str(Path(sys.executable).parent)
    return dict(
        os.environ,
        PATH=os.pathsep.join([programs, os.environ.get("PATH", "")]),
        TF_CPP_MIN_LOG_LEVEL="3",
        CUDA_VISIBLE_DEVICES="",
    )


def _last_words(process: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (process.stdout + process.stderr).splitlines()]
    errors = [line for line in lines if "ERROR" in line or "Error" in line]
    return (errors or [line for line in lines if line] or [f"exit {process.returncode}"])[-1]


def ports(
    specs: Sequence[TensorSpec], stored: Mapping[str, tuple[tuple[int, ...], str]]
) -> tuple[Port, ...]:
    """Ports for tensors whose names, shapes and types a file declares.

    Raises ConversionFailed for a missing name, or for a shape that fits no layout or several.
    """
    if sorted(stored) != sorted(spec.name for spec in specs):
        raise ConversionFailed(f"onnx2tf names tensors {sorted(stored)}")
    return tuple(_port(spec, *stored[spec.name]) for spec in specs)


def _port(spec: TensorSpec, shape: tuple[int, ...], kind: str) -> Port:
    layouts = {Port.of(spec, channels_last=last) for last in (True, False)}
    fitting = [port for port in layouts if port.shape == shape]
    if len(fitting) != 1:
        raise ConversionFailed(
            f"onnx2tf stores '{spec.name}' as {shape}: "
            + ("its layout cannot be told" if fitting else f"no layout of {spec.shape}"),
            do="use sizes that differ from the number of channels",
        )
    return replace(fitting[0], dtype=kind)
