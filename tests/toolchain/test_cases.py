"""The cases: what each feeds, and to which models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_defs.errors import BadPicture, UnknownName
from model_defs.pixels import save_picture
from model_defs.spec import Preprocess, TensorSpec
from toolchain.data import cases

GREY = Preprocess(colour="GRAY", mean=(0.0,), std=(255.0,), filter="nearest")
IMAGE = TensorSpec("image", (1, 3, 24, 36), "image", low=0, high=1, preprocess=Preprocess())
MASK = TensorSpec("mask", (1, 1, 24, 36), "mask", low=0, high=1, preprocess=GREY)
CLICKS = TensorSpec("clicks", (1, 2, 24, 36), "clicks", low=0, high=1)


def every(*inputs: TensorSpec) -> dict[str, dict[str, np.ndarray]]:
    return cases.build(inputs, cases.names_for(inputs))


def test_a_model_gets_the_cases_that_fit_it() -> None:
    assert "tall" in cases.names_for((IMAGE,))
    assert not any("mask" in name or "click" in name for name in cases.names_for((IMAGE,)))
    assert {"one-pixel-mask", "full-mask"} <= set(cases.names_for((IMAGE, MASK)))
    assert {"corner-clicks", "no-clicks"} <= set(cases.names_for((IMAGE, CLICKS)))
    features = TensorSpec("f", (1, 8, 4, 4), "features", low=0, high=6)
    assert cases.names_for((features,)) == cases.CASES


def test_all_cases_fit_the_inputs_and_stay_in_bounds() -> None:
    for name, tensors in every(IMAGE, MASK, CLICKS).items():
        for spec in (IMAGE, MASK, CLICKS):
            values = tensors[spec.name]
            assert (values.shape, values.dtype) == (spec.shape, np.float32), name
            assert values.min() >= 0, name
            assert values.max() <= 1, name


def test_no_two_cases_are_the_same() -> None:
    found = every(IMAGE, MASK, CLICKS)
    seen = {b"".join(t.tobytes() for t in tensors.values()) for tensors in found.values()}
    assert len(seen) == len(found)


def test_an_unknown_case_is_told_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'border-mask'"):
        cases.build((IMAGE,), ("borders-mask",))


def test_they_are_the_same_each_time() -> None:
    first, second = every(IMAGE, MASK), every(IMAGE, MASK)
    for case, tensors in first.items():
        for name, values in tensors.items():
            np.testing.assert_array_equal(values, second[case][name])


def test_masks_hold_nothing_but_0_and_1() -> None:
    for name, tensors in every(IMAGE, MASK).items():
        assert set(np.unique(tensors["mask"])) <= {0.0, 1.0}, name
    assert every(IMAGE, MASK)["one-pixel-mask"]["mask"].sum() == 1


def test_clicks_are_distances_to_opposite_corners() -> None:
    clicks = every(IMAGE, CLICKS)["corner-clicks"]["clicks"]
    assert clicks[0, 0, 0, 0] == clicks[0, 1, -1, -1] == 0
    assert clicks[0, 0, 0, 10] == pytest.approx(10 / 255)


def test_files_of_other_modes_become_rgb() -> None:
    found = every(IMAGE)
    grey = found["grey-file"]["image"]
    np.testing.assert_array_equal(grey[:, 0], grey[:, 1])
    left, right = np.split(found["rgba-file"]["image"], 2, axis=3)
    assert left.mean() > right.mean()


def test_saturated_pixels_are_at_the_ends() -> None:
    found = every(IMAGE)
    shares = {
        case: float(((found[case]["image"] < 0.02) | (found[case]["image"] > 0.98)).mean())
        for case in ("photo", "saturated")
    }
    assert shares["saturated"] > 0.4 > 4 * shares["photo"]


class TestFolders:
    def picture(self, path: Path, value: int, shape: tuple[int, ...] = (10, 10)) -> None:
        save_picture(path, np.full(shape, value, np.uint8))

    def test_a_mask_lies_beside_its_picture(self, tmp_path: Path) -> None:
        self.picture(tmp_path / "cat.jpg", 128, (10, 14, 3))
        self.picture(tmp_path / "cat.mask.png", 255)
        self.picture(tmp_path / "dog.png", 0, (5, 5, 3))
        found = cases.of_folder(tmp_path, (IMAGE, MASK))
        assert list(found) == ["cat.jpg", "dog.png"]
        assert found["cat.jpg"]["mask"].min() == 1
        assert found["dog.png"]["image"].max() == 0
        assert 0 < found["dog.png"]["mask"].mean() < 1

    def test_what_takes_no_picture_refuses_one(self, tmp_path: Path) -> None:
        self.picture(tmp_path / "cat.png", 128, (10, 14, 3))
        self.picture(tmp_path / "cat.clicks.png", 1)
        with pytest.raises(BadPicture, match="'clicks' takes no picture"):
            cases.of_folder(tmp_path, (IMAGE, CLICKS))

    def test_a_file_that_is_no_picture_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "cat.png").write_text("hello")
        with pytest.raises(BadPicture, match="not a picture"):
            cases.of_folder(tmp_path, (IMAGE,))

    def test_a_model_without_pictures_is_told(self, tmp_path: Path) -> None:
        self.picture(tmp_path / "cat.png", 128, (10, 14, 3))
        with pytest.raises(BadPicture, match="takes no pictures"):
            cases.of_folder(tmp_path, (CLICKS,))
