"""onnx2tf, for operations outside our own lowering and as an oracle for it.

It runs in a process of its own: it exits the interpreter on errors, and needs as working
directory a folder with a calibration file that it would otherwise download.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from model_defs.errors import ConversionFailed

if TYPE_CHECKING:
    from converters.api import Export
    from converters.lowering.lower import Lowered

SECONDS = 900
CALIBRATION = "calibration_image_sample_data_20x128x128x3_float32.npy"
OPTIONS = (
    *("--output_signaturedefs", "--copy_onnx_input_output_names_to_tflite"),
    *("--non_verbose", "--verbosity", "error"),
)


def convert(export: Export) -> Lowered:
    """The graph that onnx2tf makes of an export's ONNX file; ConversionFailed if it fails."""
    from converters.lowering.frozen import frozen

    with saved_model(export.onnx) as folder:
        return frozen(folder, export.inputs, export.outputs)


def note(reason: str) -> str:
    """What the manifest says of an artifact that came this way."""
    return f"written by onnx2tf {version('onnx2tf')}: {reason}"


@contextmanager
def saved_model(onnx: Path) -> Iterator[Path]:
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
