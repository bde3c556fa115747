"""The zoo's networks as TFLite: one XNNPACK partition, and not a transpose within."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.capture import capture
from converters.export import export
from converters.lowering.call import Target
from converters.lowering.graph import read_graph
from converters.lowering.rewrites import rewritten
from converters.tflite.convert import convert as to_tflite
from converters.tflite.partitions import Partitions, partitions
from model_defs import zoo
from tests.converters.tf_checks import operations

SMALL = ("select-coarse", "portrait-head", "depth-trunk", "depth-head", "saliency")
"""Lowered here; `make slow` lowers them all, and `make zoo` counts partitions in its table."""


def is_whole_and_nhwc(name: str, directory: Path) -> None:
    artifact = to_tflite(export(capture(zoo.load(name)), directory), directory)
    assert artifact.notes == ()
    assert partitions(artifact.path) == Partitions(1, ())
    assert "TRANSPOSE" not in operations(artifact.path)


@pytest.mark.parametrize("name", SMALL)
def test_a_small_model_is_one_partition_without_transposes(name: str, tmp_path: Path) -> None:
    is_whole_and_nhwc(name, tmp_path)


@pytest.mark.parametrize("target", ["tflite", "tfjs"])
def test_inpainting_convolves_the_small_maps_that_it_enlarges(
    target: Target, tmp_path: Path
) -> None:
    found = export(capture(zoo.load("inpaint-lite")), tmp_path)
    graph = rewritten(read_graph(found.onnx), target)
    assert [node.op for node in graph.nodes].count("ConvOfNearest") == 3
    assert "nearest" not in [node.attributes.get("mode") for node in graph.nodes]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in zoo.MODELS if name not in SMALL])
def test_a_model_is_one_partition_without_transposes(name: str, tmp_path: Path) -> None:
    is_whole_and_nhwc(name, tmp_path)
