"""From what the user typed to specifications: names of the zoo, file.py:spec, models' files."""

from __future__ import annotations

import importlib.util
import re
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from model_defs import zoo
from model_defs.errors import BadSpec, MlshipError, UnknownName
from model_defs.files import check_file
from model_defs.installation import FOLDER, PREFIX, ROOMS
from model_defs.spec import ModelSpec

Kind = TypeVar("Kind")

FILE_OF_MODEL = re.compile(
    r"(?P<path>.*\.(onnx|pt2|pt|pth|ts|torchscript|ckpt|safetensors))(?P<said>(:[^:]+)*)"
)
"""A file that holds a model, and what is said of it: sizes of its inputs, that it is trusted."""
READER = "converters.files.read:read"
"""What makes a specification of such a file: imported when there is one."""
TRUST_PICKLE = "trust-pickle"


def file_of_model(name: str) -> tuple[Path, tuple[str, ...]] | None:
    """The file, or the folder of transformers, in a name, and what is said behind it."""
    match = FILE_OF_MODEL.fullmatch(name)
    path, said = (match["path"], match["said"]) if match else name.partition(":")[::2]
    if match is None and not (path and Path(path, "config.json").is_file()):
        return None
    return Path(path), tuple(word for word in said.split(":") if word)


def said_of(name: str, example: Sequence[str], trust_pickle: bool) -> str:
    """The name of a model's file with what is said of it beside it; any other as it is."""
    if file_of_model(name) is None:
        return name
    return ":".join([name, *example, *([TRUST_PICKLE] if trust_pickle else [])])


EXAMPLE = ", or say what it takes: mlship spec, or build, --example 1,3,224,224"


def expand(name: str) -> tuple[str, ...]:
    """The models of a product, or the one model; files become absolute paths.

    Raises UnknownName, which suggests the nearest model or product. Imports no model.
    """
    if not name:
        raise BadSpec("no model was named", do="name one that mlship list shows, or pass --all")
    if ".py" in name:
        path, _, attribute = name.rpartition(":")
        if not path.endswith(".py") or not attribute.isidentifier():
            raise BadSpec(
                f"'{name}' does not name a specification", do="write it as path/to/file.py:spec"
            )
        return (f"{Path(path).absolute()}:{attribute}",)
    file = file_of_model(name)
    if file is not None:
        return (":".join([str(file[0].absolute()), *file[1]]),)
    if name in zoo.PRODUCTS:
        return zoo.PRODUCTS[name].models
    if name not in zoo.MODELS:
        raise UnknownName.among("model", name, [*zoo.MODELS, *zoo.PRODUCTS])
    return (name,)


def shipped() -> tuple[str, ...]:
    """Every model of the zoo that is not a baseline; imports them all."""
    return tuple(name for name in zoo.MODELS if not zoo.load(name).baseline)


def load(name: str | ModelSpec) -> ModelSpec:
    """The specification of one of the names that `expand` returns; one that is given is it."""
    if isinstance(name, ModelSpec):
        return name
    if name not in zoo.MODELS and file_of_model(name) is not None:
        module, _, function = READER.partition(":")
        found: ModelSpec = getattr(import_module(module), function)(name)
        return found
    return zoo.load(name) if name in zoo.MODELS else load_as(name, ModelSpec)


def load_as(name: str, kind: type[Kind]) -> Kind:
    """What path/to/file.py:attribute names, which must be of a kind. Raises BadSpec."""
    path, _, attribute = name.rpartition(":")
    found = _attribute(Path(path), attribute, kind)
    if not isinstance(found, kind):
        raise BadSpec(
            f"{attribute} is a {type(found).__name__}, not a {kind.__name__}",
            where=path,
            do=f"from mlship import {kind.__name__}, and assign one to that name"
            + (EXAMPLE if kind is ModelSpec else ""),
        )
    return found


def _about_names(error: BaseException, folder: Path) -> str:
    """What to do where a checkout of ours hides a package of the user's that has its name."""
    missing = (error.name or "").split(".")[0] if isinstance(error, ImportError) else ""
    if PREFIX or missing not in ROOMS or not (folder / missing).is_dir():
        return ""
    return (
        f"{missing}/ is also the name of a folder of the checkout that mlship runs from: install "
        "mlship from a wheel (make dist), which shares no name with your folders"
    )


def _forget_others(folder: Path) -> None:
    """What another project brought is not this folder's: two may each have a net.py.

    Looked at are the names of modules and packages in it and one level below.
    """
    names = {path.stem for path in (*folder.glob("*"), *folder.glob("*/*.py"))}
    places = (*_INSTALLED, folder)
    for name, module in [*sys.modules.items()]:
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] not in names or file is None:
            continue
        if not any(Path(file).is_relative_to(place) for place in places):
            del sys.modules[name]


_INSTALLED = tuple(
    Path(place)
    for place in {*sysconfig.get_paths().values(), sys.base_prefix, str(FOLDER)}
    if Path(place).is_absolute()
)
"""Where modules are that belong to no user."""


def _attribute(path: Path, attribute: str, kind: type) -> object:
    check_file(path, "file", BadSpec)
    found = importlib.util.spec_from_file_location(f"mlship_user_{path.stem}", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    sys.path.insert(0, str(path.parent))
    _forget_others(path.parent)
    try:
        found.loader.exec_module(module)
    except MlshipError:
        raise
    except (Exception, SystemExit) as error:  # a user's file may raise anything, and exit
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        line = getattr(error, "lineno", None) or (frames[-1].lineno if frames else None)
        raise BadSpec(
            f"the file cannot be imported: {type(error).__name__}: {error}",
            where=f"{path}:{line}" if line else str(path),
            do=_about_names(error, path.parent),
        ) from error
    finally:
        sys.path.remove(str(path.parent))
    if not hasattr(module, attribute):
        known = [name for name, value in vars(module).items() if isinstance(value, kind)]
        noun = "specification" if kind is ModelSpec else kind.__name__.lower()
        raise UnknownName.among(noun, attribute, known)
    return getattr(module, attribute)
