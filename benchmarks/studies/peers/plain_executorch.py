"""PyTorch to .pte with ExecuTorch, lowered to XNNPACK, in its own environment."""

from __future__ import annotations

import sys
from pathlib import Path


def convert(model: str, directory: Path) -> None:
    """Write `directory/model.pte`, its tensors in PyTorch's layout."""
    import torch

    from benchmarks.studies.peers.subjects import given

    _, module, example = given(model)
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.export(module, example)
    edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    (directory / "model.pte").write_bytes(edge.to_executorch().buffer)


if __name__ == "__main__":
    convert(sys.argv[1], Path(sys.argv[2]))
