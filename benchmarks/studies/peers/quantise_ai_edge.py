"""ai-edge-quantizer, in litert-torch's environment, on a float32 .tflite file.

python -m benchmarks.studies.peers.quantise_ai_edge WAY SOURCE DIRECTORY PICTURES
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.studies.peers.pictures import load_pictures

WAYS = {
    "int8": "weight_only_wi8_afp32",
    "int8, activations as they come": "dynamic_wi8_afp32",
    "int8, activations too": "static_wi8_ai8",
    "int4": "weight_only_wi4_afp32",
    "int4, activations as they come": "dynamic_wi4_afp32",
}
"""What our tables call a way -> its name among ai-edge-quantizer's recipes."""


def main(way: str, source: str, directory: str, pictures: str) -> None:
    from ai_edge_quantizer import quantizer, recipe

    work = quantizer.Quantizer(source, getattr(recipe, WAYS[way])())
    calibrated = None
    if work.need_calibration:
        for end in ("INPUT", "OUTPUT"):  # pictures go in, and masks come out, as floats
            work.update_quantization_recipe(".*", end, algorithm_key="no_quantize")
        samples = [
            {name: array.transpose(0, 2, 3, 1) for name, array in inputs.items()}
            for inputs in load_pictures(Path(pictures))
        ]
        calibrated = work.calibrate({"serving_default": samples})
    made = work.quantize(calibrated)
    made.export_model(str(Path(directory) / "model.tflite"), overwrite=True)


if __name__ == "__main__":
    main(*sys.argv[1:5])
