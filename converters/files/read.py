"""From the name of a file to the specification of the model in it, whatever kind of file it is."""

from __future__ import annotations

import zipfile
from pathlib import Path

from converters.files.request import parsed
from model_defs.errors import BadArtifact
from model_defs.files import check_file
from model_defs.spec import ModelSpec

KINDS = (
    "a program of torch.export.save (.pt2), TorchScript of torch.jit.save, an ONNX file, a folder "
    "of transformers (config.json and weights), or, with --trust-pickle, a module of torch.save"
)


def read(name: str) -> ModelSpec:
    """The model of a file: `net.pt2`, `net.pt:1,3,224,224`, `net.onnx:input=1,3,224,224`.

    Which kind of file it is, is told by what is in it. Raises BadArtifact for one that is none,
    BadSpec for a shape that is none, and what the reader of its kind raises.
    """
    request = parsed(name)
    path = request.path
    if path.suffix == ".onnx":
        from converters.files.onnx.read import read as read_onnx

        return read_onnx(request)
    if not path.is_dir():
        check_file(path, "file", BadArtifact)
    kind = kind_of(path)
    if kind == "transformers":
        from converters.files.transformers import read as read_folder

        return read_folder(request)
    if kind == "program":
        from converters.files.program import read as read_program

        return read_program(request)
    if kind == "torchscript":
        from converters.files.torchscript import read as read_torchscript

        return read_torchscript(request)
    if kind == "pickle":
        from converters.files.pickled import read as read_pickled

        return read_pickled(request)
    raise BadArtifact(f"the file is {kind}, and no model", where=str(path), do=f"pass {KINDS}")


def kind_of(path: Path) -> str:
    """What is in a file or folder, in a word, or in words where it is no model."""
    if path.is_dir():
        return "transformers" if (path / "config.json").is_file() else "a folder"
    if path.stat().st_size == 0:
        return "empty"
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return _kind_of_parts(archive.namelist())
    with path.open("rb") as file:
        head = file.read(64)
    if head[:1] == b"\x80":
        return "pickle"
    if head[8:9] == b"{":
        return "weights alone (safetensors), without the net that they are of"
    return "of no kind that is known"


def _kind_of_parts(names: list[str]) -> str:
    ends = {name.partition("/")[2] for name in names}
    if "archive_format" in ends or "serialized_exported_program.json" in names:
        return "program"
    if "constants.pkl" in ends and any(name.startswith("code/") for name in ends):
        return "torchscript"
    return "pickle" if "data.pkl" in ends else "a zip archive"
