"""PyTorch to .mlpackage with coremltools: python -m benchmarks.studies.peers.plain_coremltools."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path


def convert(model: str, directory: Path) -> None:
    """Write `directory/model.mlpackage` in float32."""
    import coremltools as ct
    import torch

    from benchmarks.studies.peers.subjects import given

    spec, module, example = given(model)
    converted = ct.convert(
        torch.jit.trace(module, example),
        inputs=[ct.TensorType(name=t.name, shape=t.shape) for t in spec.inputs],
        outputs=[ct.TensorType(name=t.name) for t in spec.outputs],
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=ct.precision.FLOAT32,
    )
    converted.save(str(directory / "model.mlpackage"))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    convert(sys.argv[1], Path(sys.argv[2]))
