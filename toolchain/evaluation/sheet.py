"""Contact sheets: what went in, what is true, what came out."""

from __future__ import annotations

import numpy as np
from PIL import Image

from model_defs.procedures.arrays import Pixels
from toolchain.evaluation.dataset import EvalDataset, EvalSample, Predict

SHOWN = 6
"""Scenes; all photographs are shown, too."""

HEIGHT = 112


def sheet(dataset: EvalDataset, samples: list[EvalSample], predict: Predict) -> Pixels:
    """A column a sample, scenes first; rows: input, truth (black if unknown), output."""
    scenes = [sample for sample in samples if sample.set == "scenes"][:SHOWN]
    photographs = [sample for sample in samples if sample.set == "photographs"]
    columns = [
        np.vstack([_tile(p) for p in dataset.shown(q, predict)]) for q in scenes + photographs
    ]
    gap = np.full((3 * HEIGHT, 4, 3), 255, np.uint8)
    return np.hstack([part for column in columns for part in (column, gap)][:-1])


def _tile(picture: Pixels) -> Pixels:
    height, width = picture.shape[:2]
    size = (round(width * HEIGHT / height), HEIGHT)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
