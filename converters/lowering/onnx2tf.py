"""onnx2tf, for operations outside our own lowering and as an oracle for it.

It runs in a process of its own: it exits the interpreter on errors, and needs as working
directory a folder with a calibration file that it would otherwise download. It is asked once for
an export, by the converter that needs it first; what it said is kept beside the ONNX file, for
the others.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from converters.processes import children
from converters.progress import tell
from model_defs.errors import ConversionFailed

if TYPE_CHECKING:
    from converters.api import Export
    from converters.lowering.lower import Lowered

SECONDS = 600
"""It may take, of a large graph on a slow machine; a minute is usual."""
CALIBRATION = "calibration_image_sample_data_20x128x128x3_float32.npy"
OPTIONS = (
    *("--output_signaturedefs", "--copy_onnx_input_output_names_to_tflite"),
    *("--non_verbose", "--verbosity", "error"),
)


def convert(export: Export) -> Lowered:
    """The graph that onnx2tf makes of an export's ONNX file; ConversionFailed if it fails."""
    from converters.lowering.frozen import frozen

    tell(f"asking onnx2tf, which takes minutes (at most {SECONDS // 60})")
    folder = saved_model(export.onnx)
    tell("converting")
    return frozen(folder, export.inputs, export.outputs)


def note(reason: str) -> str:
    """What the manifest says of an artifact that came this way."""
    return f"written by onnx2tf {version('onnx2tf')}: {reason}"


def saved_model(onnx: Path) -> Path:
    """The folder with onnx2tf's SavedModel of an ONNX file; ConversionFailed without one.

    Made once: whoever comes while it is being made waits for it.
    """
    from filelock import FileLock

    folder = onnx.with_name(f"{onnx.stem}.onnx2tf")
    answer = folder / "answer.json"
    with FileLock(f"{folder}.lock"):
        if not answer.is_file():
            folder.mkdir(exist_ok=True)
            refusal = _ask(onnx.resolve(), folder)
            answer.write_text(json.dumps({"refusal": refusal}), encoding="utf-8")
    refusal = json.loads(answer.read_text(encoding="utf-8"))["refusal"]
    if refusal:
        raise ConversionFailed(refusal)
    return folder / "output"


def _ask(onnx: Path, folder: Path) -> str:
    """Have the SavedModel written to `folder/output`; why there is none, or ""."""
    np.save(folder / CALIBRATION, np.zeros((20, 128, 128, 3), np.float32))
    program = ["-m", "converters.processes.children", "onnx2tf"]
    command = [sys.executable, *program, "-i", str(onnx), "-o", "output"]
    try:
        process = children.run(
            [*command, *OPTIONS],
            cwd=folder,
            env=_environment(),
            capture_output=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"onnx2tf did not end within {SECONDS} s"
    if process.returncode != 0 or not (folder / "output" / "saved_model.pb").is_file():
        last = f"exit {process.returncode}"
        return f"onnx2tf failed: {last_words(process.stdout + process.stderr) or last}"
    return ""


def _environment() -> dict[str, str]:
    """With our programs first on the path: it calls `onnxsim` as one."""
    programs = str(Path(sys.executable).parent)
    return dict(
        os.environ,
        PATH=os.pathsep.join([programs, os.environ.get("PATH", "")]),
        TF_CPP_MIN_LOG_LEVEL="3",
        CUDA_VISIBLE_DEVICES="",
    )


RAISED = re.compile(r"(\w+\.)*\w*(Error|Exception): .*")
LOG = re.compile(r"[IWEF]\d{4} |\d{4}-\d\d-\d\d |WARNING|INFO|\s")
"""How a line begins that TensorFlow logs, or that belongs to the line before it."""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
NODE = "onnx_op_name:"
WRAPPED = "Exception encountered when calling layer"
"""How Keras begins an error: its cause is in the next line with words."""


def last_words(printed: str) -> str:
    """The error itself out of all that was printed, and the ONNX node at which it was raised."""
    lines = [COLOUR.sub("", line).rstrip() for line in printed.splitlines()]
    raised = [index for index, line in enumerate(lines) if RAISED.fullmatch(line)]
    if raised:
        said = lines[raised[-1]]
        if WRAPPED in said:
            kind = said.partition(":")[0]
            after = [line for line in lines[raised[-1] + 1 :] if line]
            said = f"{kind}: {after[0]}" if after else said
    else:
        own = [line for line in lines if line and not LOG.match(line)]
        errors = [line for line in own if line.startswith("ERROR:")]
        said = (errors[:1] or own[-1:] or [""])[0]
    nodes = [line.partition(NODE)[2].strip() for line in lines if NODE in line]
    return f"{said} (at {nodes[-1]})" if nodes else said
