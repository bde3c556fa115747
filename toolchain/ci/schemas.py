"""JSON schemas of the files that mlship writes and reads, for editors and for other tools.

    python -m toolchain.ci.schemas      writes docs/schemas/

They are made from the models that read the files.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from toolchain.bench.kept import KeptRun
from toolchain.bundle.files import write_whole
from toolchain.bundle.manifest import Manifest
from toolchain.ci.config import ProjectFile
from toolchain.ci.lock import Lock
from toolchain.ci.state import BaselineFile
from toolchain.parity.records import RecordHeader
from toolchain.recipes.recipe_file import RecipeFile

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schemas"
SCHEMAS: dict[str, type[BaseModel]] = {
    "manifest": Manifest,
    "mlship-toml": ProjectFile,
    "lock": Lock,
    "baseline": BaselineFile,
    "record": RecordHeader,
    "latencies": KeptRun,
    "recipe": RecipeFile,
}
"""By the name of their file."""


def text_of(kind: type[BaseModel]) -> str:
    """The schema of a model, as a file holds it."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **kind.model_json_schema(),
    }
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all of them."""
    for name, kind in SCHEMAS.items():
        write_whole(FOLDER / f"{name}.json", text_of(kind))


if __name__ == "__main__":
    main()
