"""The benchmark of scenes: a rate, and a sheet on which every sample is."""

from __future__ import annotations

import numpy as np

from benchmarks.studies.scenes import COLUMNS, rate, sheet, tile
from model_defs.scenes.sampling import sample


def test_a_sheet_holds_every_sample_in_full_rows() -> None:
    drawn = sheet(24, COLUMNS + 1)
    assert drawn.shape == (2 * 4 * 24, COLUMNS * 24, 3)
    np.testing.assert_array_equal(drawn[:96, :24], tile(sample(0, 24, 24)))
    np.testing.assert_array_equal(drawn[96:120, 24:48], sample(COLUMNS + 1, 24, 24).view.picture)


def test_small_scenes_are_made_faster_than_one_a_second() -> None:
    assert rate(24, 4) > 1
