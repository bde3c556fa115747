"""What a sweep leaves in its folder: tables, the page, and of the picked one all that ships it."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

from toolchain.bundle.files import whole, write_whole
from toolchain.recipes import recipes
from toolchain.sweep import train
from toolchain.sweep.sweep import Swept
from toolchain.sweep.table import Table
from toolchain.sweep.variant import source_of

PAGE, VARIANT, WEIGHTS, SOURCE, COMMAND = (
    "index.html",
    "variant.json",
    "weights.safetensors",
    "model.py",
    "build.txt",
)


def write(folder: Path, swept: Swept, page: str) -> None:
    """The tables in the order of the variants, and the page."""
    table = Table(folder)
    table.write([row.cells(swept.machine) for row in swept.rows], swept.to_json())
    write_whole(folder / PAGE, page)


def write_pick(folder: Path, swept: Swept) -> Path:
    """The picked variant: its weights, its specification, its recipe, and how it is built."""
    row = swept.pick
    assert row is not None
    weights = train.weights_of(row.variant, row.steps)
    with whole(folder / WEIGHTS) as fresh:
        shutil.copy(weights, fresh)
    write_whole(folder / SOURCE, source_of(row.variant))
    write_whole(folder / VARIANT, json.dumps(row.to_json(swept.machine), indent=1) + "\n")
    recipe = recipes.find(row.variant.recipe)
    named = recipe.name
    if recipe.layers:  # a file of mlship shrink: kept beside the weights
        named = str(folder / "recipe.json")
        write_whole(Path(named), recipes.text_of(recipe))
    places = " ".join(f"--target {name}" for name in swept.sweep.targets)
    command = (
        f"mlship build {shlex.quote(f'{folder / SOURCE}:spec')} {places} "
        f"--recipe {shlex.quote(named)} --weights {shlex.quote(str(folder / WEIGHTS))}\n"
    )
    write_whole(folder / COMMAND, command)
    return folder
