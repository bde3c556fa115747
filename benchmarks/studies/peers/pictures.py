"""Pictures that the peers' quantisers calibrate with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

PICTURES = 24
SIDE = 256


def save_pictures(model: str, path: Path) -> None:
    """Writes an .npz of inputs (n, 3, H, W) by name: scenes that the model was trained on.

    Models that take more than a picture get an empty file: what quantises activations is left out.
    """
    from model_defs import zoo
    from model_defs.pixels import to_tensor
    from model_defs.scenes.sampling import sample

    (first, *others) = zoo.load(model).inputs
    portraits = 1.0 if model.startswith("portrait") else 0.0
    shown = [sample(n, SIDE, SIDE, portraits=portraits).view.picture for n in range(PICTURES)]
    tensors = [to_tensor(picture, first)[0] for picture in shown]
    stacked = {} if others else {first.name: np.concatenate(tensors)}
    np.savez(path, **stacked)


def load_pictures(path: Path) -> list[dict[str, np.ndarray]]:
    """What `save_pictures` wrote, as inputs by name, (1, 3, H, W) each."""
    with np.load(path) as found:
        stacked = dict(found)
    count = min(map(len, stacked.values()), default=0)
    return [{name: all_[i : i + 1] for name, all_ in stacked.items()} for i in range(count)]
