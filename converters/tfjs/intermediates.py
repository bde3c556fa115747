"""What a TF.js model computes in between."""

from __future__ import annotations

import json
from collections.abc import Iterator

from converters.api import Artifact
from converters.intermediates.guide import Guide, Observed, as_pytorch
from converters.tfjs.runner import NodeRunner


def watch(artifact: Artifact, guide: Guide) -> Iterator[Observed]:
    """Every node of the graph that our lowering named."""
    known = guide.origins("tfjs")
    model = json.loads((artifact.path / "model.json").read_text(encoding="utf-8"))
    nodes = [node["name"] for node in model["modelTopology"]["node"] if node["op"] != "Const"]
    wanted = [node for node in nodes if node in known and known[node][0] in guide.onnx_names]
    runner = NodeRunner(artifact)
    try:
        found = runner.intermediates(guide.inputs, wanted)
    finally:
        runner.close()
    for name, array in found.items():
        yield from as_pytorch(known[name], name, array, guide)
