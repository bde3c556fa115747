"""Layers of a TF.js model, by the names that its sizes go by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure.size import layer_of


def by_layer(milliseconds: Mapping[str, float], folder: Path) -> dict[str, float]:
    """What each node takes, added up by layer: that of its weights, else by the node's own name.

    Constants and inputs, which compute nothing, are left out.
    """
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    stored = {w["name"] for group in model["weightsManifest"] for w in group["weights"]}
    found: dict[str, float] = {}
    for node in model["modelTopology"]["node"]:
        if node["op"] in ("Const", "Placeholder") or node["name"] not in milliseconds:
            continue
        weights = [name for name in node.get("input", ()) if name in stored]
        layer = layer_of(weights[0] if weights else node["name"])
        found[layer] = found.get(layer, 0.0) + milliseconds[node["name"]]
    return found
