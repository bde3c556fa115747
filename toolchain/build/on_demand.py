"""What `mlship parity` and `mlship blame` look at: bundles, and what PyTorch answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from converters.processes import scratch
from converters.progress import Say
from model_defs import lookup
from model_defs.errors import BadBundle
from model_defs.spec import ModelSpec
from toolchain.build.build import build
from toolchain.build.request import BuildRequest, Built
from toolchain.bundle import bundle as bundles
from toolchain.data import cases
from toolchain.parity.subject import Subject, Subjects
from toolchain.recipes.recipes import Recipe
from toolchain.recipes.targets import Target

T = TypeVar("T")


@dataclass(frozen=True)
class Wanted:
    """What the user asked for, beside the names of models and bundles.

    `case` is the only one that is looked at, "" the first; all if there is none. Weights are
    unpickled where `trust_pickle` says that they may. `fresh`: models are not taken from the cache.
    """

    targets: tuple[Target, ...]
    recipe: Recipe
    folder: Path | None = None
    model: str | ModelSpec | None = None
    weights: Path | None = None
    case: str | None = None
    trust_pickle: bool = False
    fresh: bool = False


Named = str | ModelSpec
"""A bundle's folder, a model's or a product's name, or a specification that is in memory."""


def find(names: Iterable[Named], wanted: Wanted, work: Path, say: Say) -> Iterator[Subject | Built]:
    """A subject for each bundle, and for each target of each model, which is built into `work`.

    A model whose build fails is yielded as what the build says of it. Raises UnknownName,
    BadBundle, and what capturing raises.
    """
    if wanted.folder is not None:
        cases.pictures_in(wanted.folder)
    subjects = Subjects(wanted.folder, wanted.weights, wanted.case, wanted.trust_pickle)
    for name in names:
        if isinstance(name, str) and is_bundle(name):
            yield subjects.of(bundles.read(Path(name)), wanted.model)
            continue
        for model in lookup.expand(name) if isinstance(name, str) else (name,):
            request = BuildRequest(
                (model,),
                wanted.targets,
                wanted.recipe,
                weights=wanted.weights,
                out=work,
                trust_pickle=wanted.trust_pickle,
                fresh=wanted.fresh,
            )
            for one in build(request, say):
                yield one if one.bundle is None else subjects.of(one.bundle, model)


def each(
    names: Iterable[Named], wanted: Wanted, act: Callable[[Subject], T], say: Say
) -> tuple[list[T], list[Built]]:
    """What comes of each subject, and what could not be built. Raises what `find` raises."""
    done: list[T] = []
    unbuilt: list[Built] = []
    with scratch.temporary() as work:
        for found in find(names, wanted, work, say):
            if isinstance(found, Built):
                unbuilt.append(found)
            else:
                done.append(act(found))
    return done, unbuilt


def is_bundle(name: str) -> bool:
    """Whether this names a bundle's folder and no model. BadBundle for one that is not there."""
    if lookup.file_of_model(name) is not None:
        return False
    if Path(name).is_dir():
        return True
    if ".py" not in name and ("/" in name or name.endswith((".mlpackage", ".tflite", ".tfjs"))):
        raise BadBundle("there is no bundle here", where=name, do="pass the folder of a bundle")
    return False
