"""A net that reads text, convolutions before LSTMs of both directions, as each target has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from converters import formats
from converters.api import Artifact, Program
from converters.capture import capture, example
from converters.tflite.partitions import Partitions, partitions
from model_defs.spec import ModelSpec, TensorSpec
from tests.converters.kernels import converted


class Crnn(nn.Module):
    """Shi et al., An end-to-end trainable network for image-based sequence recognition (2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU()),
            nn.MaxPool2d((8, 2), (8, 2)),
        )
        self.steps = nn.LSTM(12, 10, 2, bidirectional=True)
        self.letters = nn.Linear(20, 7)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        columns = self.features(image).squeeze(2).permute(2, 0, 1)  # (W, N, C)
        y, (_, cell) = self.steps(columns)
        return self.letters(y + cell.mean()).softmax(2)


@pytest.fixture(scope="module")
def program() -> Program:
    torch.manual_seed(0)
    image = TensorSpec("image", (1, 1, 16, 32), "image", low=0, high=1)
    letters = TensorSpec("letters", (8, 1, 7), "features", tolerance=1e-4)
    net = Crnn()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.4)
    nn.init.uniform_(net.features[4].running_var, 0.5, 2)
    return capture(ModelSpec("crnn", lambda: net, (image,), (letters,)))


def run(artifact: Artifact, image: np.ndarray) -> np.ndarray:
    runner = formats.open_runner(artifact)
    try:
        return runner.run({"image": image})["letters"]
    finally:
        runner.close()


@pytest.mark.parametrize("target", ["ios", "android", "web"])
def test_reads_as_pytorch_does(target: str, program: Program, tmp_path: Path) -> None:
    artifact = converted(program, target, tmp_path)
    assert artifact.notes == ()
    (image,) = example(program.spec)
    with torch.no_grad():
        want = program.module(image).numpy()
    assert np.abs(run(artifact, image.numpy()) - want).max() < 1e-4
    if target == "android":
        assert partitions(artifact.path) == Partitions(1, ())
