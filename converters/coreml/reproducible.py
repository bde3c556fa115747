"""The same bytes for the same export, whenever and wherever coremltools wrote the package."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from converters.coreml import shared
from converters.mil.package import model_files, read_model

NAMESPACE = uuid.UUID("6f1a2c50-0c63-5e0e-9b7e-3d5b8a4f7c21")
"""Of the identifiers in a manifest, which are the same for every package of ours."""

CONVERSION_DATE = "com.github.apple.coremltools.conversion_date"


def make_reproducible(path: Path) -> None:
    """Takes dates, random identifiers and repeated constants out of a package, orders its maps."""
    model_file, _ = model_files(path)
    model = read_model(model_file)
    shared.share(model)
    model.description.metadata.userDefined.pop(CONVERSION_DATE, None)
    model_file.write_bytes(model.SerializeToString(deterministic=True))
    manifest_file = path / "Manifest.json"
    manifest = json.loads(manifest_file.read_bytes())
    names = {old: _identifier(e["path"]) for old, e in manifest["itemInfoEntries"].items()}
    entries = {names[old]: entry for old, entry in manifest["itemInfoEntries"].items()}
    manifest["itemInfoEntries"] = entries
    manifest["rootModelIdentifier"] = names[manifest["rootModelIdentifier"]]
    manifest_file.write_text(json.dumps(manifest, indent=4, sort_keys=True) + "\n")


def _identifier(name: str) -> str:
    return str(uuid.uuid5(NAMESPACE, name)).upper()
