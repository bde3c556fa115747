"""A recipe in a file, which `mlship shrink` writes: its model, its reader, its writer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from converters.encodings import BITS
from model_defs.errors import BadRecipe
from toolchain.bundle.reading import (
    DataFile,
    StrictModel,
    json_object,
    read_text,
    upgraded,
    validated,
)

SCHEMA = 1
KINDS = tuple(name for name in BITS if name.startswith(("int", "palette")) and name != "int32")
"""The types that `weights-mixed` knows; its own table imports torch."""


def _check_kind(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no type that a layer may be given: {', '.join(KINDS)}")
    return kind


class RecipeFile(StrictModel):
    """The steps of a recipe, and of `weights-mixed` what becomes of which layer."""

    version: Literal[1] = Field(default=1, alias="schema")
    name: str
    passes: tuple[str, ...] = Field(min_length=1)
    layers: Mapping[str, Annotated[str, AfterValidator(_check_kind)]]


def read(path: Path) -> RecipeFile:
    """The recipe in a file. Raises BadRecipe.

    The first files said nothing of their schema.
    """
    file = DataFile("the recipe", str(path), BadRecipe, "run mlship shrink again")
    data = {"schema": 1, **json_object(read_text(path, file), file)}
    return validated(RecipeFile, upgraded(data, SCHEMA, {}, file), file)


def text_of(recipe: RecipeFile) -> str:
    """What a file holds."""
    return json.dumps(recipe.model_dump(mode="json"), indent=1) + "\n"
