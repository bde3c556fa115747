"""What onnx2tf is asked, once, and which of its many lines is its error. It is not run here."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from converters.lowering import onnx2tf
from model_defs.errors import ConversionFailed

LOGGED = """\
E0000 00:00:1795990690.281798    1978 cuda_dnn.cc:8579] Unable to register cuDNN factory: Error
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
2026-11-29 22:17:04.1: I tensorflow/core/platform/cpu_feature_guard.cc:182] Error
"""
HINTS = """\
\x1b[31mERROR:\x1b[0m input_onnx_file_path: /somewhere/model.onnx
\x1b[31mERROR:\x1b[0m onnx_op_name: wa/head/Det
\x1b[31mERROR:\x1b[0m Read this and deal with it. https://github.com/PINTO0309/onnx2tf
"""
KERAS = """\
\x1b[31mERROR:\x1b[0m The trace log is below.
Traceback (most recent call last):
  File "ops.py", line 1060, in _create_c_op
    raise ValueError(e.message)
ValueError: Exception encountered when calling layer "tf.linalg.det" (type TFOpLambda).

Dimensions must be equal, but are 2 and 3

Call arguments received by layer "tf.linalg.det" (type TFOpLambda):
"""
PLAIN = """\
Traceback (most recent call last):
  File "onnx2tf.py", line 7, in main
tensorflow.python.framework.errors_impl.InvalidArgumentError: it does not fit
"""


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        (
            KERAS + HINTS + LOGGED,
            "ValueError: Dimensions must be equal, but are 2 and 3 (at wa/head/Det)",
        ),
        (
            PLAIN + LOGGED,
            "tensorflow.python.framework.errors_impl.InvalidArgumentError: it does not fit",
        ),
        ("\x1b[31mERROR:\x1b[0m no such operation\nmore\n" + LOGGED, "ERROR: no such operation"),
        ("it gave up\n" + LOGGED, "it gave up"),
        (LOGGED, ""),
        ("", ""),
    ],
)
def test_its_own_error_is_found_among_what_is_logged(printed: str, words: str) -> None:
    assert onnx2tf.last_words(printed) == words


def asked(monkeypatch: pytest.MonkeyPatch, program: str) -> list[str]:
    """Put a program of Python in the place of onnx2tf; the list has an entry for each run."""
    runs: list[str] = []
    run = subprocess.run

    def instead(command: list[str], **options: object) -> object:
        assert command[1:3] == ["-m", "converters.processes.children"]
        runs.append(command[5])
        return run([sys.executable, "-c", program], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", instead)
    return runs


def test_it_is_asked_once_however_many_want_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = (
        "import os, time; time.sleep(0.3); os.mkdir('output'); open('output/saved_model.pb', 'w')"
    )
    runs = asked(monkeypatch, writes)
    with ThreadPoolExecutor(2) as pool:
        folders = [*pool.map(onnx2tf.saved_model, [tmp_path / "model.onnx"] * 2)]
    assert runs == [str(tmp_path / "model.onnx")]
    assert folders[0] == folders[1]
    assert (folders[0] / "saved_model.pb").is_file()


def test_its_refusal_is_kept_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = asked(monkeypatch, "raise ValueError('no such thing')")
    for _ in range(2):
        with pytest.raises(ConversionFailed, match="^onnx2tf failed: ValueError: no such thing$"):
            onnx2tf.saved_model(tmp_path / "model.onnx")
    assert len(runs) == 1


def test_its_time_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx2tf, "SECONDS", 1)
    asked(monkeypatch, "import time; time.sleep(60)")
    with pytest.raises(ConversionFailed, match="did not end within 1 s"):
        onnx2tf.saved_model(tmp_path / "model.onnx")
