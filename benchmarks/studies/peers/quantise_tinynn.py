"""TinyNeuralNetwork, in its environment, as its examples do it.

python -m benchmarks.studies.peers.quantise_tinynn WAY MODEL DIRECTORY PICTURES
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.studies.peers.pictures import load_pictures
from benchmarks.studies.peers.subjects import given

WAYS: dict[str, dict[str, Any]] = {
    "float16": {"float16_quantization": True},
    "int8, activations as they come": {
        "hybrid_quantization_from_float": True,
        "hybrid_per_channel": True,
        "hybrid_asymmetric_inputs": False,
        "quantize_target_type": "int8",
    },
    "int8, activations too": {"quantize_target_type": "int8"},
}
"""How TFLiteConverter is called; activations are quantised before, in PyTorch."""


def main(way: str, model: str, directory: str, pictures: str) -> None:
    import torch

    sys.modules.setdefault("torchvision", None)  # type: ignore[arg-type] # it needs none, and one for a GPU fails
    from tinynn.converter import TFLiteConverter

    _, module, example = given(model)
    inputs = [
        tuple(torch.from_numpy(array) for array in one.values())
        for one in load_pictures(Path(pictures))
    ]
    os.chdir(directory)  # it writes files of its own beside
    if way == "int8, activations too":
        module = calibrated(module, inputs)
    with torch.no_grad():
        TFLiteConverter(module, example, "model.tflite", **WAYS[way]).convert()


def calibrated(module: Any, inputs: list[Any]) -> Any:
    """The module in PyTorch's quantised kernels."""
    import torch
    from tinynn.graph.quantization.quantizer import PostQuantizer
    from tinynn.graph.tracer import model_tracer
    from torch.ao import quantization

    with model_tracer():
        quantizer = PostQuantizer(module, inputs[0], work_dir="out", config=PER_TENSOR)
        made = quantizer.quantize()
    made.apply(quantization.disable_fake_quant)
    made.apply(quantization.enable_observer)
    with torch.no_grad():
        for one in inputs:
            made(*one)
        made.apply(quantization.disable_observer)
        made.apply(quantization.enable_fake_quant)
        made(*inputs[0])
        converted = quantizer.convert(made.eval())
    torch.backends.quantized.engine = quantizer.backend
    return converted


PER_TENSOR = {"asymmetric": True, "backend": "qnnpack", "per_tensor": True}
"""Its converter refuses scales by channel where activations are quantised."""


if __name__ == "__main__":
    main(*sys.argv[1:5])
