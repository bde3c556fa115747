"""The pictures that passes look at, none of which any evaluation shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model_defs.pixels import open_picture, to_tensor
from model_defs.procedures.arrays import Pixels
from model_defs.spec import ModelSpec
from toolchain.data import cases, sequences
from toolchain.data.trunks import Trunks

if TYPE_CHECKING:
    from converters.api import Program

TEXTURES = Path(__file__).parent / "photos" / "textures"
SCENES = 6
"""Of each kind, of those that trainings see."""

Inputs = Mapping[str, np.ndarray]


def inputs_for(program: Program) -> list[Inputs]:
    """Inputs by name, of pictures where a model takes pictures: textures and drawn scenes.

    Inputs beside the pictures are the patterns of the cases in turn; a head gets what its trunk
    makes of the pictures; a model without pictures gets the cases alone. State is what the program
    itself put out last, a few pictures long.
    """
    trunks = Trunks.of(program.spec)
    found = [trunks.feed(given) for given in _of_pictures(trunks.first)]
    return list(sequences.along(program, found)) if program.spec.state else found


def _of_pictures(spec: ModelSpec) -> list[Inputs]:
    patterns = list(cases.build(spec.inputs).values())
    takers = [tensor for tensor in spec.inputs if tensor.preprocess is not None]
    if not any(tensor.kind == "image" for tensor in takers):
        return [*patterns]
    found: list[Inputs] = []
    for number, picture in enumerate(pictures()):
        given = dict(patterns[number % len(patterns)])
        for tensor in takers:
            if tensor.kind == "image":
                given[tensor.name] = to_tensor(picture, tensor)[0]
        found.append(given)
    return found


@lru_cache(maxsize=1)
def pictures() -> tuple[Pixels, ...]:
    return tuple(_pictures())


def _pictures() -> Iterator[Pixels]:
    from toolchain.data import scenery

    for path in sorted(TEXTURES.glob("*.jpg")):
        yield open_picture(path)
    for number in range(SCENES):
        for kind in scenery.KINDS:
            yield scenery.view(kind, number).picture
