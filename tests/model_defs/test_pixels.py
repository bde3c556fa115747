"""Pixels to tensors and back, against closed forms."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model_defs.errors import BadPicture, BadSpec
from model_defs.pixels import open_picture, place, save_picture, to_picture, to_tensor
from model_defs.spec import Postprocess, Preprocess, TensorSpec

RNG = np.random.default_rng(0)
SPEC = TensorSpec("image", (1, 3, 8, 8), "image", preprocess=Preprocess())


def picture(height: int = 8, width: int = 8) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def with_rule(**changes: object) -> TensorSpec:
    return replace(SPEC, preprocess=replace(Preprocess(), **changes))  # type: ignore[arg-type]


def test_a_picture_of_the_right_size_is_only_normalised() -> None:
    pixels = picture()
    tensor, _ = to_tensor(pixels, SPEC)
    np.testing.assert_allclose(tensor[0], pixels.transpose(2, 0, 1) / 255, rtol=1e-6)
    assert tensor.dtype == np.float32


def test_mean_and_std_are_per_channel_in_the_order_of_the_colour() -> None:
    pixels = picture()
    rule = with_rule(colour="BGR", mean=(103.94, 116.78, 123.68), std=(50.0, 60.0, 70.0))
    tensor, _ = to_tensor(pixels, rule)
    np.testing.assert_allclose(tensor[0, 0], (pixels[..., 2] - 103.94) / 50, rtol=1e-5)
    np.testing.assert_allclose(tensor[0, 2], (pixels[..., 0] - 123.68) / 70, rtol=1e-5)


def test_shrinking_is_free_of_aliases() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    tensor, _ = to_tensor(stripes, SPEC)
    np.testing.assert_allclose(tensor[..., 1:-1], 0.5, atol=0.01)


def test_stretch_ignores_the_aspect_ratio() -> None:
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 20:] = 255
    tensor, _ = to_tensor(wide, with_rule(filter="nearest"))
    np.testing.assert_array_equal(tensor[0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1])


def test_letterbox_keeps_the_aspect_ratio_and_pads() -> None:
    wide = np.full((10, 20, 3), 255, np.uint8)
    tensor, where = to_tensor(wide, with_rule(resize="letterbox", pad=51))
    assert where.target == (0, 2, 8, 6)
    np.testing.assert_allclose(tensor[0, 0, :, 0], [0.2, 0.2, 1, 1, 1, 1, 0.2, 0.2], rtol=1e-6)


def test_crop_keeps_the_middle() -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    tensor, where = to_tensor(wide, with_rule(resize="crop"))
    assert where.source == (10, 0, 20, 10)
    np.testing.assert_array_equal(tensor, 1)


@pytest.mark.parametrize("size", [(10, 30), (31, 7), (8, 8), (1, 50)])
@pytest.mark.parametrize("resize", ["stretch", "letterbox", "crop"])
def test_an_output_is_put_back_over_its_picture(size: tuple[int, int], resize: str) -> None:
    """A net that returns its input gives back the picture, up to what resizing loses."""
    height, width = size
    spec = TensorSpec(
        "image",
        (1, 3, 64, 64),
        "image",
        preprocess=Preprocess(resize=resize),  # type: ignore[arg-type]
    )
    ramp = np.linspace(50, 200, width)[None, :, None] + np.zeros((height, width, 3))
    pixels = ramp.astype(np.uint8)
    tensor, where = to_tensor(pixels, spec)
    back = to_picture(tensor, Postprocess(colour="RGB"), where)
    assert back.shape == (height, width, 3)
    left, top, right, bottom = where.source
    inside = (slice(top, bottom), slice(left, right))
    np.testing.assert_allclose(back[inside].astype(int), pixels[inside].astype(int), atol=6)


def test_a_coarser_output_lies_over_the_same_part() -> None:
    rule = Preprocess(resize="letterbox")
    where = place(20, 10, 8, 8, rule)
    coarse = np.zeros((1, 1, 4, 4), np.float32)
    coarse[0, 0, 1:3] = 1
    np.testing.assert_array_equal(to_picture(coarse, Postprocess(filter="nearest"), where), 255)


def test_bounds_may_be_the_outputs_own() -> None:
    where = place(8, 8, 8, 8, Preprocess())
    ramp = np.linspace(3, 7, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    shown = to_picture(ramp, Postprocess(low=None, high=None), where)
    assert (shown.min(), shown.max()) == (0, 255)
    flat = to_picture(ramp * 0 + 3, Postprocess(low=None, high=None), where)
    assert (flat.min(), flat.max()) == (0, 0)


class TestFiles:
    def save(self, path: Path, mode: str, array: np.ndarray) -> Path:
        Image.fromarray(array).convert(mode).save(path)
        return path

    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "1", "CMYK"])
    def test_reads_every_kind_of_picture(self, tmp_path: Path, mode: str) -> None:
        suffix = ".tiff" if mode == "CMYK" else ".png"
        path = self.save(tmp_path / f"a{suffix}", mode, picture(5, 7))
        read = open_picture(path)
        assert read.shape == (5, 7, 3)
        assert read.dtype == np.uint8

    def test_transparency_is_laid_over_white(self, tmp_path: Path) -> None:
        clear = np.zeros((4, 4, 4), np.uint8)
        Image.fromarray(clear).save(tmp_path / "a.png")
        assert (open_picture(tmp_path / "a.png") == 255).all()

    def test_16_bits_become_8(self, tmp_path: Path) -> None:
        Image.fromarray(np.full((4, 4), 65535, np.uint16)).save(tmp_path / "a.png")
        assert (open_picture(tmp_path / "a.png") == 255).all()

    def test_the_exif_orientation_is_applied(self, tmp_path: Path) -> None:
        image = Image.fromarray(picture(5, 9))
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(tmp_path / "a.jpg", exif=exif)
        assert open_picture(tmp_path / "a.jpg").shape == (9, 5, 3)

    def test_what_is_saved_is_read(self, tmp_path: Path) -> None:
        pixels = picture()
        save_picture(tmp_path / "a.png", pixels)
        np.testing.assert_array_equal(open_picture(tmp_path / "a.png"), pixels)

    @pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n broken"])
    def test_refuses_what_is_no_picture(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(BadPicture):
            open_picture(tmp_path / "a.png")

    def test_refuses_a_truncated_picture(self, tmp_path: Path) -> None:
        path = self.save(tmp_path / "a.png", "RGB", picture(64, 64))
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(BadPicture, match="cannot be read"):
            open_picture(path)

    def test_refuses_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(BadPicture, match="no such picture"):
            open_picture(tmp_path / "none.png")

    def test_refuses_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BadPicture):
            open_picture(tmp_path)


def test_a_tensor_without_preprocessing_takes_no_picture() -> None:
    with pytest.raises(BadSpec, match="takes no picture"):
        to_tensor(picture(), replace(SPEC, preprocess=None))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_pictures_of_these_formats_are_read(format: str, tmp_path: Path) -> None:
    path = tmp_path / "a.picture"
    Image.new("RGB", (5, 3), (200, 100, 50)).save(path, format)
    assert open_picture(path).shape == (3, 5, 3)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n(ran) print\n%%EOF\n"


@pytest.mark.parametrize("content", [EPS, b"", b"text", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_of_these_is_refused_and_not_run(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*args: Any, **options: Any) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.Popen", started)
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(BadPicture) as caught:
        open_picture(path)
    assert str(path) in str(caught.value)


def test_a_pipe_or_a_device_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(BadPicture, match="not a picture"):
            open_picture(path)
