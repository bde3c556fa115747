"""Folders of one model at several sizes as one: a graph for each, shards shared."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from converters.api import Artifact, Entry
from converters.tfjs.contents import weights_of
from converters.tfjs.convert import save
from converters.tfjs.write import MODEL, shards_of

Key = tuple[bytes, int]
"""A weight's bytes, and how many of the same graph have them before it."""


def graph_of(size: str) -> str:
    """The file of a size's graph."""
    return f"model-{size}.json"


@dataclass(frozen=True)
class _Graph:
    """A graph's file, and its weights in order, each as the manifest describes it."""

    file: str
    model: dict[str, Any]
    weights: dict[Key, dict[str, Any]]

    @classmethod
    def read(cls, file: str, artifact: Artifact) -> _Graph:
        model = json.loads((artifact.path / MODEL).read_text(encoding="utf-8"))
        seen: Counter[bytes] = Counter()
        weights = {}
        for entry, data in weights_of(artifact.path, model):
            weights[data, seen[data]] = entry
            seen[data] += 1
        return cls(file, model, weights)


def merge(artifact: Artifact, further: Mapping[str, Artifact]) -> Artifact:
    """The first folder with a graph for each further size, `model.json` still the first's.

    Weights that are equal byte for byte lie in one group of shards, whatever a graph calls them:
    a group for each set of graphs that have the same ones.
    """
    graphs = [_Graph.read(MODEL, artifact)]
    graphs += [_Graph.read(graph_of(size), other) for size, other in further.items()]
    owners: dict[Key, tuple[int, ...]] = defaultdict(tuple)
    for index, graph in enumerate(graphs):
        for key in graph.weights:
            owners[key] += (index,)
    groups: dict[tuple[int, ...], list[Key]] = defaultdict(list)
    for key, who in owners.items():
        groups[who].append(key)
    files: dict[str, bytes] = {}
    manifests: list[list[dict[str, Any]]] = [[] for _ in graphs]
    for number, (who, keys) in enumerate(groups.items(), 1):
        shards = shards_of(b"".join(data for data, _ in keys), number)
        files |= shards
        for index in who:
            described = [graphs[index].weights[key] for key in keys]
            manifests[index].append({"paths": list(shards), "weights": described})
    for graph, manifest in zip(graphs, manifests, strict=True):
        model = {**graph.model, "weightsManifest": manifest}
        files[graph.file] = json.dumps(model, separators=(",", ":")).encode()
    save(files, artifact.path)
    entries = (Entry(s, graph_of(s), one.inputs, one.outputs) for s, one in further.items())
    return replace(artifact, entries=tuple(entries))
