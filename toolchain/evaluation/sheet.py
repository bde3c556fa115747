"""Contact sheets: what went in, what is true, what came out."""

from __future__ import annotations

import numpy as np
from PIL import Image

from model_defs.procedures.arrays import Pixels
from toolchain.evaluation.dataset import Answer, Exam, Question

SHOWN = 6
"""Scenes; all photographs are shown, too."""

HEIGHT = 112


def sheet(exam: Exam, questions: list[Question], answer: Answer) -> Pixels:
    """A column a question, scenes first; rows: input, truth (black if unknown), output."""
    scenes = [question for question in questions if question.set == "scenes"][:SHOWN]
    photographs = [question for question in questions if question.set == "photographs"]
    columns = [np.vstack([_tile(p) for p in exam.shown(q, answer)]) for q in scenes + photographs]
    gap = np.full((3 * HEIGHT, 4, 3), 255, np.uint8)
    return np.hstack([part for column in columns for part in (column, gap)][:-1])


def _tile(picture: Pixels) -> Pixels:
    height, width = picture.shape[:2]
    size = (round(width * HEIGHT / height), HEIGHT)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
