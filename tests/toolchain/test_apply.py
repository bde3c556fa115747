"""`mlship apply`: the pixels go where they should, whatever the net says."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from converters.api import Tensors
from model_defs import zoo
from model_defs.pixels import open_picture, save_picture
from toolchain.applications import depth, networks
from toolchain.cli.main import main
from toolchain.data.cases import PHOTO

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 90, 150


class Told:
    """A runner that answers what a function makes of its inputs."""

    backend = "told"

    def __init__(self, name: str, answer: Callable[[Tensors], np.ndarray]) -> None:
        self.name, self.answer = name, answer

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        return {self.name: self.answer(inputs)}

    def close(self) -> None:
        """Nothing to free."""


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Tensors], np.ndarray]], None]:
    """Puts an answer in the place of the net."""

    def put(answer: Callable[[Tensors], np.ndarray]) -> None:
        @contextmanager
        def network(bundle: Path | None, *names: str) -> Any:
            spec = zoo.load(names[0])
            yield networks.Network(spec.inputs, spec.outputs, Told(spec.outputs[0].name, answer))

        monkeypatch.setattr(networks, "network", network)

    return put


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    save_picture(path, RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    return path


def apply(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["apply", *(str(a) for a in arguments)])


def at_peak(shape: tuple[int, ...], x: float, y: float) -> np.ndarray:
    """A map with one bright spot, in shares of the map."""
    rows, columns = np.indices(shape[2:])
    squared = (rows / shape[2] - y) ** 2 + (columns / shape[3] - x) ** 2
    return np.exp(-squared * 200)[None, None].astype(np.float32)


@pytest.mark.parametrize(("x", "left"), [(0.1, 0), (0.5, 30), (0.9, 60)])
def test_crop_follows_the_saliency(tell: Any, photo: Path, x: float, left: int) -> None:
    tell(lambda inputs: at_peak((1, 1, 480, 640), x, 0.5))
    out = photo.with_name("out.png")
    result = apply("crop", photo, "-o", out, "--ratio", "1:1", "--json")
    assert result.exit_code == 0, result.output
    window = json.loads(result.stdout)["window"]
    size, found, top = window.split("+")
    assert (size, top) == ("90x90", "0")
    assert abs(int(found) - left) <= 3
    cut = open_picture(photo)[:, int(found) : int(found) + 90]
    np.testing.assert_array_equal(open_picture(out), cut)


def test_a_tight_crop_is_smaller_and_holds_the_peak(tell: Any, photo: Path) -> None:
    tell(lambda inputs: at_peak((1, 1, 480, 640), 0.5, 0.5))
    out = photo.with_name("out.png")
    result = apply("crop", photo, "-o", out, "--ratio", "1:1", "--tight", "0.8", "--json")
    size, left, top = json.loads(result.stdout)["window"].split("+")
    side = int(size.split("x")[0])
    assert side < 60
    assert int(left) < WIDTH / 2 < int(left) + side
    assert int(top) < HEIGHT / 2 < int(top) + side


@pytest.mark.parametrize("click", [(20, 30), (75, 45), (149, 89), (0, 0)])
def test_a_click_lands_where_it_was_made(tell: Any, photo: Path, click: tuple[int, int]) -> None:
    """A net that selects what is within 24 of its own pixels of a positive click."""
    tell(lambda inputs: (inputs["clicks"][:, :1] * 255 < 24).astype(np.float32))
    out = photo.with_name("out.png")
    result = apply("select", photo, "-o", out, "--click", f"{click[0]},{click[1]}")
    assert result.exit_code == 0, result.output
    mask = open_picture(out)[..., 0] > 0
    rows, columns = np.indices(mask.shape)
    distance = np.hypot(rows - click[1], columns - click[0])
    radius = 24 * WIDTH / 512
    assert mask[distance < radius - 1.5].all()
    assert not mask[distance > radius + 1.5].any()


def test_negative_clicks_have_their_own_map(tell: Any, photo: Path) -> None:
    seen: list[np.ndarray] = []

    def answer(inputs: Tensors) -> np.ndarray:
        seen.append(inputs["clicks"])
        return inputs["clicks"][:, :1]

    tell(answer)
    apply("select", photo, "-o", photo.with_name("o.png"), "--click", "20,20", "--not", "100,50")
    (maps,) = seen
    assert maps[0, 0].min() == maps[0, 1].min() == 0
    assert not np.array_equal(maps[0, 0], maps[0, 1])


def test_inpainting_leaves_every_other_pixel_alone(tell: Any, photo: Path) -> None:
    tell(lambda inputs: np.where(inputs["mask"] > 0, 0.5, inputs["image"]).astype(np.float32))
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[30:50, 60:90] = 255
    hole = photo.with_name("mask.png")
    save_picture(hole, mask)
    out = photo.with_name("out.png")
    for flags in ([], ["--shrink"]):
        result = apply("inpaint", photo, "-o", out, "--mask", hole, *flags)
        assert result.exit_code == 0, result.output
        before, after = open_picture(photo), open_picture(out)
        np.testing.assert_array_equal(after[mask == 0], before[mask == 0])
        assert abs(after[35:45, 65:85].astype(int) - 191).max() <= 2


def test_a_bundle_of_fixed_size_draws_twice_what_fits_into_it(tell: Any, photo: Path) -> None:
    tell(lambda inputs: inputs["image"])
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[30:50, 60:90] = 255
    hole = photo.with_name("mask.png")
    save_picture(hole, mask)
    out = photo.with_name("out.png")
    result = apply("inpaint", photo, "-o", out, "--mask", hole, "--twice")
    assert result.exit_code == 0, result.output
    assert (open_picture(out) == open_picture(photo))[mask == 0].all()


def test_a_bundle_of_fixed_size_does_not_draw_all_twice(tell: Any, photo: Path) -> None:
    tell(lambda inputs: inputs["image"])
    hole = photo.with_name("mask.png")
    save_picture(hole, np.full((HEIGHT, WIDTH), 255, np.uint8))
    out = photo.with_name("out.png")
    result = apply("inpaint", photo, "-o", out, "--mask", hole, "--twice")
    assert result.exit_code == 2
    assert "use the PyTorch model" in result.stderr
    assert not out.exists()


def test_bokeh_keeps_what_is_in_focus(tell: Any, photo: Path) -> None:
    tell(halves)
    smooth = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    smooth[:, WIDTH // 2 :] = 200
    smooth[::4] += 40
    save_picture(photo, smooth)
    out = photo.with_name("out.png")
    result = apply("bokeh", photo, "-o", out, "--focus", f"{WIDTH - 20},40")
    assert result.exit_code == 0, result.output
    before, after = open_picture(photo).astype(int), open_picture(out).astype(int)
    assert abs(before - after)[:, WIDTH // 2 + 20 :].max() <= 1
    assert after[:, : WIDTH // 2 - 20].std() < 0.5 * before[:, : WIDTH // 2 - 20].std()


def halves(inputs: Tensors) -> np.ndarray:
    """The right half is near."""
    depth = np.full((1, 1, 256, 256), 0.9, np.float32)
    depth[..., :128] = 0.1
    return depth


def test_everything_that_was_pointed_at_is_sharp(tell: Any, photo: Path) -> None:
    tell(halves)
    out = photo.with_name("out.png")
    result = apply("bokeh", photo, "-o", out, "--focus", "5,40", "--focus", "140,40")
    assert result.exit_code == 0, result.output
    before, after = open_picture(photo).astype(int), open_picture(out).astype(int)
    assert np.median(abs(before - after)) <= 1


def test_grading_lightens_the_near_half_and_darkens_the_far_one(tell: Any, photo: Path) -> None:
    tell(lambda inputs: np.linspace(0, 1, 256, dtype=np.float32)[None, None, None].repeat(256, 2))
    save_picture(photo, np.full((HEIGHT, WIDTH, 3), 120, np.uint8))
    out = photo.with_name("out.png")
    result = apply("grade", photo, "-o", out, "--focus", f"{WIDTH // 2},40", "--stops", "1")
    assert result.exit_code == 0, result.output
    far, at, near = open_picture(out)[40, [5, WIDTH // 2, WIDTH - 5], 0].astype(int)
    linear = ((np.array([far, at, near]) / 255 + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(linear / linear[1], [0.5, 1, 2], rtol=0.03)


def test_a_sticker_is_hidden_by_what_is_nearer(tell: Any, photo: Path) -> None:
    tell(halves)
    red = photo.with_name("red.png")
    save_picture(red, np.dstack([np.full((20, 40), v, np.uint8) for v in (255, 0, 0, 255)]))
    save_picture(photo, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    out = photo.with_name("out.png")
    middle = f"{WIDTH // 2},40"
    result = apply("sticker", photo, "-o", out, "--sticker", red, "--at", middle, "--depth", "0.5")
    assert result.exit_code == 0, result.output
    shown = open_picture(out)[..., 0] == 255
    assert shown[30:50, WIDTH // 2 - 20 : WIDTH // 2 - 3].all()
    assert not shown[:, WIDTH // 2 + 3 :].any()
    result = apply("sticker", photo, "-o", out, "--sticker", red, "--at", "130,40")
    assert (open_picture(out)[..., 0] == 255).sum() == 20 * 40


def test_metres_are_turned_into_nearness() -> None:
    metres = np.array([[1.0, 2.0], [4.0, 0.0]], np.float32)
    np.testing.assert_allclose(depth._relative(metres), [[0.1, 0.05], [0.025, 1]])


@pytest.mark.parametrize("style", ["cutout", "pop", "stencil", "double"])
def test_portrait_styles_are_written(tell: Any, photo: Path, style: str) -> None:
    tell(lambda inputs: (at_peak((1, 1, 224, 224), 0.5, 0.5) > 0.5).astype(np.float32))
    out = photo.with_name("out.png")
    second = ["--second", photo] if style == "double" else []
    result = apply("portrait", photo, "-o", out, "--style", style, *second)
    assert result.exit_code == 0, result.output
    with Image.open(out) as image:
        assert image.size == (WIDTH, HEIGHT)
        assert image.mode == ("RGBA" if style == "cutout" else "RGB")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("crop", "--ratio", "0:1"), "not a ratio"),
        (("crop", "--ratio", "nan:1"), "not a ratio"),
        (("crop", "--ratio", "inf:1"), "not a ratio"),
        (("crop", "--ratio", "1:1", "--tight", "2"), "not a number above 0 to 1"),
        (("select",), "nothing was clicked"),
        (("select", "--click", "500,1"), "outside of the picture"),
        (("select", "--click", "5"), "not x,y"),
        (("bokeh", "--focus", "0,-1"), "outside of the picture"),
        (("bokeh", "--aperture", "nan"), "not a number from 0 to 500"),
        (("bokeh", "--aperture", "-1"), "not a number from 0 to 500"),
        (("grade", "--focus", "5,5", "--stops", "inf"), "not a number from -8 to 8"),
        (("grade",), "Missing option '--focus'"),
        (("sticker", "--sticker", "none.png", "--at", "5,5"), "none.png"),
        (("sticker", "--sticker", str(PHOTO), "--at", "999,5"), "outside of the picture"),
        (("portrait", "--style", "double"), "needs another picture"),
        (("portrait", "--feather", "0"), "not a number above 0"),
        (("crop", "--ratio", "1:1", "--bundle", "none"), "no bundle here"),
    ],
    ids=" ".join,
)
def test_bad_input_exits_2(photo: Path, arguments: tuple[str, ...], message: str) -> None:
    command, *options = arguments
    out = photo.with_name("out.png")
    result = apply(command, photo, "-o", out, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not out.exists()


def test_a_cutout_needs_transparency(photo: Path) -> None:
    result = apply("portrait", photo, "-o", photo.with_name("out.jpg"))
    assert result.exit_code == 2
    assert "no transparency" in result.stderr


def test_an_empty_or_mis_sized_mask_is_refused(photo: Path) -> None:
    hole, out = photo.with_name("mask.png"), photo.with_name("out.png")
    save_picture(hole, np.zeros((HEIGHT, WIDTH), np.uint8))
    assert "the mask is empty" in apply("inpaint", photo, "-o", out, "--mask", hole).stderr
    save_picture(hole, np.full((5, 5), 255, np.uint8))
    result = apply("inpaint", photo, "-o", out, "--mask", hole)
    assert result.exit_code == 2
    assert "5 x 5 pixels" in result.stderr


def test_without_a_bundle_the_pytorch_model_runs(photo: Path) -> None:
    result = apply("bokeh", photo, "-o", photo.with_name("o.png"), "--json")
    said = json.loads(result.stdout)
    assert said["backend"] == "pytorch"
    assert said["weights"] == "depth.safetensors"
