"""PyTorch to .tflite with torch.onnx and onnx2tf.

python -m benchmarks.studies.peers.plain_onnx2tf MODEL DIRECTORY
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

CALIBRATION = "calibration_image_sample_data_20x128x128x3_float32.npy"


def convert(model: str, directory: Path) -> None:
    """Write `directory/model_float32.tflite` (and, as onnx2tf always does, _float16 too)."""
    import numpy as np
    import onnx2tf
    import torch

    from benchmarks.studies.peers.subjects import given

    spec, module, example = given(model)
    path = directory / "model.onnx"
    names = [t.name for t in spec.inputs], [t.name for t in spec.outputs]
    torch.onnx.export(
        module,
        example,
        str(path),
        dynamo=False,
        opset_version=17,
        input_names=names[0],
        output_names=names[1],
    )
    # onnx2tf downloads this file for any 3-channel picture, unless it lies in the folder.
    os.chdir(directory)
    np.save(CALIBRATION, np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32))
    onnx2tf.convert(
        input_onnx_file_path=str(path),
        output_folder_path=str(directory),
        output_signaturedefs=True,  # or it refuses names such as /head/layers.3/kernel
        non_verbose=True,
        verbosity="error",
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    convert(sys.argv[1], Path(sys.argv[2]))
