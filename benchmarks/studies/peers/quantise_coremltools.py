"""coremltools.optimize.

    python -m benchmarks.studies.peers.quantise_coremltools WAY SOURCE DIRECTORY

The source is a model's name for the way `float16`, and for the others what that wrote. Small
kernels are clustered with scikit-learn, which this project does not need: it is looked for in
an environment of its own (`python -m benchmarks.measure.peers.install scikit-learn`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.measure.peers.install import FOLDER
from benchmarks.studies.peers.subjects import given
from converters.coreml.tools import coremltools

WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "int8": ("LinearQuantizer", {"mode": "linear_symmetric", "dtype": "int8"}),
    "int4": ("LinearQuantizer", {"mode": "linear_symmetric", "dtype": "int4"}),
    "int4, blocks of 32": (
        "LinearQuantizer",
        {
            "mode": "linear_symmetric",
            "dtype": "int4",
            "granularity": "per_block",
            "block_size": 32,
        },
    ),
    "palette, 6 bits": ("Palettizer", {"mode": "kmeans", "nbits": 6}),
    "palette, 4 bits": ("Palettizer", {"mode": "kmeans", "nbits": 4}),
    "palettes of 16 channels, 4 bits": (
        "Palettizer",
        {
            "mode": "kmeans",
            "nbits": 4,
            "granularity": "per_grouped_channel",
            "group_size": 16,
        },
    ),
}


def convert(model: str, path: Path) -> None:
    """In float16, as coremltools does it by itself."""
    import numpy as np
    import torch

    ct = coremltools()
    spec, module, example = given(model)
    converted = ct.convert(
        torch.jit.trace(module, example),
        inputs=[ct.TensorType(t.name, t.shape, dtype=np.float32) for t in spec.inputs],
        outputs=[ct.TensorType(t.name, dtype=np.float32) for t in spec.outputs],
        minimum_deployment_target=ct.target.iOS18,
        skip_model_load=True,
    )
    converted.save(str(path))


def quantise(way: str, source: Path, path: Path) -> None:
    """With the defaults of coremltools, which leave kernels of up to 2048 numbers as they are."""
    sys.path += map(str, FOLDER.glob("scikit-learn/lib/python3.*/site-packages"))
    ct = coremltools()
    from coremltools.optimize import coreml as optimize

    kind, options = WAYS[way]
    config = optimize.OptimizationConfig(getattr(optimize, f"Op{kind}Config")(**options))
    verb = {"LinearQuantizer": "linear_quantize_weights", "Palettizer": "palettize_weights"}[kind]
    package = ct.models.MLModel(str(source), skip_model_load=True)
    getattr(optimize, verb)(package, config).save(str(path))


def main(way: str, source: str, directory: str) -> None:
    path = Path(directory) / "model.mlpackage"
    if way == "float16":
        convert(source, path)
    else:
        quantise(way, Path(source), path)


if __name__ == "__main__":
    main(*sys.argv[1:4])
