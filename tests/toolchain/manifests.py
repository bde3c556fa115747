"""Manifests of a tiny bundle, and bundles that say something else, as if they were built so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_defs.spec import TensorSpec
from toolchain.bundle.bundle import MANIFEST
from toolchain.bundle.files import entries_below, file_digest
from toolchain.bundle.manifest import Contents, digest_of

Change = Callable[[dict[str, Any]], object]
IMAGE = TensorSpec("image", (1, 3, 4, 4), "image", low=0, high=1)
DEPTH = TensorSpec("depth", (1, 1, 4, 4), "map", tolerance=0.01)


def port(spec: TensorSpec) -> dict[str, Any]:
    shape = list(spec.shape)
    axes = list(range(len(shape)))
    return {"name": spec.name, "stored_as": "x", "shape": shape, "axes": axes, "dtype": "float32"}


def contents() -> Contents:
    """What a build says of `tiny.bin`."""
    row = {
        **{"backend": "mil", "case": "photo", "output": "depth", "verdict": "passed"},
        **{"error": 1e-3, "tolerance": 1e-2, "where": "", "note": "", "hint": ""},
        **{"metrics": {"PSNR": 60.0}, "question": "accurate"},
    }
    data = {
        "schema": 5,
        "model": {
            **{"name": "tiny", "summary": "a tiny net", "parameters": 125},
            "weights": {"kind": "file", "file": "tiny.pt", "sha256": "0" * 64},
        },
        "target": "ios",
        "recipe": {
            **{"name": "fp16", "passes": ["fold-batchnorm", "weights-fp16"], "pruned": False},
            **{"layers": {}, "keep": {"head": "float16 ends at 65504"}},
            "pass_report": [
                {
                    **{"after": "as trained", "bytes": 500, "parameters": 125, "macs": 2000},
                    **{"moved": 0.0, "metrics": {}},
                }
            ],
        },
        "inputs": [IMAGE.to_json()],
        "outputs": [DEPTH.to_json()],
        "state": {},
        "artifact": {
            **{"path": "tiny.bin", "format": "coreml", "precision": "float16", "notes": []},
            **{"inputs": [port(IMAGE)], "outputs": [port(DEPTH)], "entries": [], "entry": ""},
        },
        "notes": [],
        "parity": {
            **{"ok": True, "required": ["mil"], "questions": ["accurate"]},
            **{"constants": {"numbers": 125, "equal": 125, "folded": 0, "faults": []}},
            "rows": [row],
        },
        **{"golden": [], "golden_at": {}, "golden_rounded": []},
        "tools": {"torch": "2.13.0"},
        "compute": "all",
    }
    return Contents.model_validate_json(json.dumps(data))


def with_digest(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "digest": digest_of(data)}


def resealed(folder: Path, change: Change = lambda manifest: None) -> Path:
    """A bundle's folder with a changed manifest that vouches for all its files."""
    path = folder / MANIFEST
    data = json.loads(path.read_text())
    path.unlink()
    data["files"] = {
        name: {"sha256": file_digest(folder / name), "bytes": status.st_size}
        for name, status in entries_below(folder).items()
    }
    change(data)
    path.write_text(json.dumps(with_digest(data)))
    return folder
