"""PyTorch to .onnx with torch.onnx, for ONNX Runtime, in an environment of its own."""

from __future__ import annotations

import sys
from pathlib import Path


def convert(model: str, directory: Path) -> None:
    """Write `directory/model.onnx`, its tensors in PyTorch's layout and by the spec's names."""
    import torch

    from benchmarks.studies.peers.subjects import given

    spec, module, example = given(model)
    torch.onnx.export(
        module,
        example,
        str(directory / "model.onnx"),
        input_names=[t.name for t in spec.inputs],
        output_names=[t.name for t in spec.outputs],
        dynamo=True,
        external_data=False,
    )


if __name__ == "__main__":
    convert(sys.argv[1], Path(sys.argv[2]))
