"""The inputs that models are proved on: a photograph, noise, the extremes, and odd files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from model_defs.errors import BadPicture, UnknownName
from model_defs.pixels import open_picture, to_tensor
from model_defs.spec import TensorSpec

PHOTO = Path(__file__).parent / "photos" / "astronaut.png"
CASES = ("photo", "noise", "zeros", "ones", "checkerboard")
"""What every build is proved on; `mlship parity` adds those of MORE that fit the model."""

SQUARE = 16

Picture = Callable[[int, int, int], np.ndarray]
"""(height, width, seed) -> (H, W, 3), 8 bit; of any size, the pre-processing resizes it."""

Plane = Callable[[TensorSpec, int], np.ndarray]
"""(spec, seed) -> values in 0..1 of the spec's shape, for inputs that are no pictures."""


@dataclass(frozen=True)
class Case:
    """One input for each kind of tensor; `needs` names the kinds without which it adds nothing."""

    picture: Picture
    plane: Plane
    needs: frozenset[str] = frozenset()


def build(
    inputs: tuple[TensorSpec, ...], names: Iterable[str] = CASES, step: int = 0
) -> dict[str, dict[str, np.ndarray]]:
    """Case -> input name -> (1, C, H, W), the same on every machine.

    Inputs that take pictures get pictures through their own pre-processing; others get
    patterns between their bounds, whole numbers where they are such. "zeros" and "ones" are black
    and white. At a later `step` they have moved on a little, and are darker. Raises UnknownName.
    """
    every = BASE | MORE
    names = tuple(names)
    for name in names:
        if name not in every:
            raise UnknownName.among("case", name, every)
    return {
        name: {spec.name: _tensor(every[name], spec, i, step) for i, spec in enumerate(inputs)}
        for name in names
    }


def names_for(inputs: tuple[TensorSpec, ...]) -> tuple[str, ...]:
    """All cases that fit these inputs: no mask cases for a model without masks."""
    kinds = {_kind(spec) for spec in inputs}
    return CASES + tuple(name for name, case in MORE.items() if case.needs & kinds)


def of_folder(folder: Path, inputs: tuple[TensorSpec, ...]) -> dict[str, dict[str, np.ndarray]]:
    """A case for each picture in a folder, named after its file.

    `cat.jpg` goes to the first input that takes pictures, `cat.mask.png` beside it to the input
    `mask`; what has no file of its own gets the pattern of the case "photo". Raises BadPicture.
    """
    takers = [spec for spec in inputs if spec.preprocess is not None]
    if not takers:
        raise BadPicture("the model takes no pictures", do="leave --cases away")
    names = {spec.name for spec in inputs}
    main = [p for p in pictures_in(folder) if Path(p.stem).suffix.removeprefix(".") not in names]
    return {path.name: _of_file(path, inputs, takers[0]) for path in main}


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in order of their names; BadPicture if there are none."""
    found = [p for p in sorted(folder.glob("*")) if p.suffix.lower() in SUFFIXES]
    if not found:
        raise BadPicture("the folder holds no pictures", where=str(folder), do="put PNGs in it")
    return found


SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def _of_file(
    path: Path, inputs: tuple[TensorSpec, ...], first: TensorSpec
) -> dict[str, np.ndarray]:
    case = {}
    for i, spec in enumerate(inputs):
        own = [
            p for s in SUFFIXES if (p := path.with_name(f"{path.stem}.{spec.name}{s}")).is_file()
        ]
        source = path if spec == first else next(iter(own), None)
        if source is None:
            case[spec.name] = _tensor(BASE["photo"], spec, i)
        elif spec.preprocess is None:
            raise BadPicture(f"input '{spec.name}' takes no picture", where=str(source))
        else:
            case[spec.name] = to_tensor(open_picture(source), spec)[0]
    return case


def _kind(spec: TensorSpec) -> str:
    return "picture" if spec.kind == "image" and spec.preprocess is not None else spec.kind


STRIDE = 32
"""At each step what is shown moves by this part of its width, and a place at least."""
DIMMED = 0.06
"""At each step what is shown loses this share of its light."""


def _tensor(case: Case, spec: TensorSpec, seed: int, step: int = 0) -> np.ndarray:
    seed += 1000 * step  # noise is new at each step
    if spec.preprocess is not None and spec.kind == "image":
        height, width = spec.shape[2:]
        picture = _moved(case.picture(height, width, seed), step, axis=1)
        dimmed = (picture * (1 - DIMMED * step)).astype(np.uint8) if step else picture
        return to_tensor(dimmed, spec)[0]
    low = 0.0 if spec.low is None else spec.low
    high = low + 1.0 if spec.high is None else spec.high
    plane = case.plane if not case.needs or spec.kind in case.needs else _blob
    shown = _moved(np.broadcast_to(plane(spec, seed), spec.shape), step, axis=-1)
    if spec.is_float and spec.kind not in ("mask", "clicks"):
        shown = shown * (1 - DIMMED * step)
    values = shown * (high - low) + low
    return np.asarray(values if spec.is_float else np.rint(values)).astype(spec.dtype)


def _moved(shown: np.ndarray, step: int, axis: int) -> np.ndarray:
    return np.roll(shown, step * max(1, shown.shape[axis] // STRIDE), axis) if step else shown


# Pictures -----------------------------------------------------------------------------------


def _photo(height: int, width: int, seed: int) -> np.ndarray:
    return open_picture(PHOTO)


def _noise_picture(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _flat_picture(value: int) -> Picture:
    return lambda height, width, seed: np.full((height, width, 3), value, np.uint8)


def _checker_picture(height: int, width: int, seed: int) -> np.ndarray:
    plane = (_squares(height, width) * 255).astype(np.uint8)
    return np.repeat(plane[..., None], 3, axis=2)


def _cut(left: int, top: int, width: int, height: int) -> Picture:
    """A part of the photograph, whose size fits no model."""
    return lambda *_: open_picture(PHOTO)[top : top + height, left : left + width]


def _saturated(height: int, width: int, seed: int) -> np.ndarray:
    """The photograph with nearly every channel at 0 or 255."""
    stretched = (open_picture(PHOTO).astype(int) - 128) * 8 + 128
    return stretched.clip(0, 255).astype(np.uint8)


def _filed(mode: str) -> Picture:
    """The photograph as it comes out of a PNG file of another mode."""

    def picture(height: int, width: int, seed: int) -> np.ndarray:
        image = Image.fromarray(open_picture(PHOTO)).convert(mode)
        if mode == "RGBA":
            ramp = np.linspace(0, 255, image.width).astype(np.uint8)
            image.putalpha(Image.fromarray(np.tile(ramp, (image.height, 1))))
        file = io.BytesIO()
        image.save(file, "PNG")
        file.seek(0)
        return open_picture(file)  # type: ignore[arg-type]

    return picture


# Planes -------------------------------------------------------------------------------------


def _blob(spec: TensorSpec, seed: int) -> np.ndarray:
    """A disc in the middle for masks, the distance from the middle for everything else."""
    if len(spec.shape) < 2:
        return np.zeros(spec.shape)
    height, width = spec.shape[-2:]
    rows, columns = np.indices((height, width))
    distance = np.hypot((rows + 0.5) / height - 0.5, (columns + 0.5) / width - 0.5)
    return (distance < 0.25).astype(np.float64) if spec.kind == "mask" else distance.clip(0, 1)


def _noise_plane(spec: TensorSpec, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).random(spec.shape)
    return (values > 0.5).astype(np.float64) if spec.kind == "mask" else values


def _flat_plane(value: float) -> Plane:
    return lambda spec, seed: np.full(spec.shape, value)


def _checker_plane(spec: TensorSpec, seed: int) -> np.ndarray:
    if len(spec.shape) < 2:
        return np.zeros(spec.shape)
    return _squares(*spec.shape[-2:])


def _squares(height: int, width: int) -> np.ndarray:
    rows, columns = np.indices((height, width)) // SQUARE
    return (rows + columns) % 2


def _one_pixel(spec: TensorSpec, seed: int) -> np.ndarray:
    """A single 1, off the middle, where odd and even sizes part."""
    values = np.zeros(spec.shape)
    values[..., spec.shape[-2] // 3, spec.shape[-1] // 3] = 1
    return values


def _half(spec: TensorSpec, seed: int) -> np.ndarray:
    """1 in the left half, as far as three borders."""
    values = np.zeros(spec.shape)
    values[..., : spec.shape[-1] // 2] = 1
    return values


def _corner_clicks(spec: TensorSpec, seed: int) -> np.ndarray:
    """Distances to a click in the first corner, then in the last; at most 255 pixels."""
    height, width = spec.shape[-2:]
    rows, columns = np.indices((height, width))
    first = np.hypot(rows, columns)
    both = np.stack([first, first[::-1, ::-1]])[np.arange(spec.shape[1]) % 2]
    return (both / 255).clip(0, 1)[None]


BASE: dict[str, Case] = {
    "photo": Case(_photo, _blob),
    "noise": Case(_noise_picture, _noise_plane),
    "zeros": Case(_flat_picture(0), _flat_plane(0)),
    "ones": Case(_flat_picture(255), _flat_plane(1)),
    "checkerboard": Case(_checker_picture, _checker_plane),
}

_PICTURES = frozenset({"picture"})
_MASKS = frozenset({"mask", "state"})

MORE: dict[str, Case] = {
    "tall": Case(_cut(110, 0, 97, 320), _blob, _PICTURES),
    "wide": Case(_cut(0, 40, 320, 61), _blob, _PICTURES),
    "tiny": Case(_cut(150, 60, 7, 5), _blob, _PICTURES),
    "saturated": Case(_saturated, _blob, _PICTURES),
    "grey-file": Case(_filed("L"), _blob, _PICTURES),
    "rgba-file": Case(_filed("RGBA"), _blob, _PICTURES),
    "empty-mask": Case(_photo, _flat_plane(0), _MASKS),
    "full-mask": Case(_photo, _flat_plane(1), _MASKS),
    "one-pixel-mask": Case(_photo, _one_pixel, _MASKS),
    "border-mask": Case(_photo, _half, _MASKS),
    "no-clicks": Case(_photo, _flat_plane(1), frozenset({"clicks"})),
    "corner-clicks": Case(_photo, _corner_clicks, frozenset({"clicks"})),
}
