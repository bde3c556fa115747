"""Which ONNX value an operation of a .tflite or TF.js file computes, asked of our lowering.

    python -m converters.intermediates.origins TARGET < the export as JSON

The lowering gives the same names every time, so that it is run once more in a process of its
own, since it loads TensorFlow.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

from converters.api import Export
from converters.processes import children
from converters.processes.worker import QUIET
from model_defs.errors import BackendUnavailable, ConversionFailed
from model_defs.installation import IMPORTED_FROM

Origins = Mapping[str, tuple[str, tuple[int, ...]]]
"""TensorFlow's name -> the ONNX value and the order of axes in which it is stored."""


def origins(export: Export, target: str) -> Origins:
    """Of the operations that our lowering writes.

    Raises BackendUnavailable where it refuses the graph: onnx2tf, which stands in, keeps no names.
    """
    done = children.run(
        [sys.executable, "-P", "-m", "converters.intermediates.origins", target],
        input=json.dumps(export.to_json()),
        capture_output=True,
        env={**os.environ, **QUIET, "PYTHONPATH": str(IMPORTED_FROM)},
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise ConversionFailed(f"the lowering's names cannot be read: {last}")
    answer = json.loads(done.stdout)
    if "refused" in answer:
        raise BackendUnavailable(f"the file was written by onnx2tf: {answer['refused']}")
    return {name: (value, tuple(order)) for name, (value, order) in answer["origins"].items()}


def main() -> None:
    from converters.lowering import lower_without_fallback
    from model_defs.errors import UnsupportedOperation

    children.end_with_parent()
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    export, target = Export.from_json(json.load(sys.stdin)), sys.argv[1]
    try:
        lowered = lower_without_fallback(export, target)  # type: ignore[arg-type]
    except UnsupportedOperation as error:
        json.dump({"refused": error.what}, answer)
    else:
        json.dump({"origins": lowered.origins}, answer)
    answer.flush()


if __name__ == "__main__":
    main()
