"""ONNX -> NHWC TensorFlow graph -> fused graph -> `model.json` and shards."""

from __future__ import annotations

from pathlib import Path

from converters import encodings, lowering
from converters.api import Artifact, Export
from model_defs.errors import CannotWrite

FOLDER = "tfjs_model"


def preload() -> None:
    """Import what `convert` needs, while there is nothing to convert yet."""
    import converters.tfjs.channels
    import converters.tfjs.fuse
    import converters.tfjs.share
    import converters.tfjs.storing
    import converters.tfjs.write  # noqa: F401

    lowering.preload()


def convert(export: Export, directory: Path, via: lowering.Via = lowering.DEFAULT_VIA) -> Artifact:
    """Writes the folder `tfjs_model`: a graph model, named as in the spec and stored NHWC.

    Weights on one of the export's grids are stored as codes, others at its precision; tfjs
    computes in float32. What our lowering does not know goes through onnx2tf, which `via` can
    also ask for; the artifact's notes say so. Raises UnsupportedOperation, ConversionFailed or
    CannotWrite.
    """
    lowered, notes = lowering.lower_export(export, "tfjs", via)
    from converters.tfjs.channels import multiplied, stored_as
    from converters.tfjs.fuse import fused
    from converters.tfjs.share import shared
    from converters.tfjs.storing import Storing, constants
    from converters.tfjs.write import written

    grids = stored_as(export.grids)
    path, storing = directory / FOLDER, Storing(export.precision, grids, export.mixed)
    graph = multiplied(shared(fused(lowered.graph)), export.grids)
    save(written(graph, lowered.inputs, lowered.outputs, storing), path)
    notes += encodings.left(constants(graph), grids, export.precision)
    return Artifact(path, "tfjs", export.precision, lowered.inputs, lowered.outputs, notes)


def save(files: dict[str, bytes], folder: Path) -> None:
    """Writes files by name into a folder that holds nothing else; CannotWrite if it cannot."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.iterdir():
            stale.unlink()
        for name, data in files.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise CannotWrite(f"cannot write {folder}: {error.strerror}") from error
