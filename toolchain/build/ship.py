"""A bundle's way out: sealed with its manifest, or copied out of the cache."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from converters.formats import FORMATS
from model_defs.errors import MlshipError
from model_defs.installation import VERSION
from toolchain.build.request import Built, destination
from toolchain.bundle import bundle
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.folders import copy_files
from toolchain.bundle.parity_report import ParityReport
from toolchain.data import sequences
from toolchain.recipes.targets import Target

if TYPE_CHECKING:
    from converters.api import Artifact
    from toolchain.build.prepare import Prepared
    from toolchain.bundle.manifest import Contents
    from toolchain.parity.reference import Reference

GOLDEN = ("photo", "noise")
"""The cases that a bundle holds as golden vectors; of sequences as many steps."""
GOLDEN_STEPS = 2
GOLDEN_AT = ("noise",)
"""The same of each further size."""
GOLDEN_ROUNDED = ("noise",)
"""Those of which a bundle also holds what the rounded program answers."""
LOADING = Path(__file__).parents[1] / "clients"
"""The loading code that bundles carry."""


def seal(prepared: Prepared, target: Target, artifact: Artifact, report: ParityReport) -> Bundle:
    """The bundle of a proved artifact, in the folder that it was staged in."""
    stage = artifact.path.parent
    for name in target.made.loading:
        shutil.copy(LOADING / name, stage / name)
    return bundle.seal(stage, _contents(prepared, target, artifact, report))


def _contents(
    prepared: Prepared, target: Target, artifact: Artifact, report: ParityReport
) -> Contents:
    from toolchain.bundle.manifest import Contents, ProofEntry, RecipeEntry
    from toolchain.quantization import tolerance

    spec, recipe = prepared.program.spec, prepared.recipe
    reference = prepared.reference.result()
    further = {name: size.reference.result() for name, size in prepared.further.items()}
    outputs = tolerance.widest(reference.outputs, *(one.outputs for one in further.values()))
    stage = artifact.path.parent
    return Contents(
        model=prepared.model,
        target=target.name,
        recipe=RecipeEntry(
            name=recipe.name,
            passes=recipe.steps,
            layers=dict(recipe.layers),
            keep={**recipe.keep, **prepared.program.kept},
            pruned=prepared.pruned,
            pass_report=prepared.records,
        ),
        inputs=spec.inputs,
        outputs=outputs,
        state=spec.state,
        artifact=replace(artifact, path=Path(artifact.path.name)),
        notes=(*prepared.program.notes, *tolerance.notes(spec.outputs, outputs)),
        parity=ProofEntry.of(report),
        golden=tuple(_write_golden(stage, c, reference) for c in golden_cases(reference.cases)),
        golden_at={
            name: tuple(
                _write_golden(stage, case, at, name) for case in golden_cases(at.cases, GOLDEN_AT)
            )
            for name, at in further.items()
        },
        golden_rounded=_write_rounded(stage, reference),
        tools=tools(),
        compute=prepared.request.compute if target.made.compute_units else None,
    )


def golden_cases(cases: Iterable[str], among: Sequence[str] = GOLDEN) -> list[str]:
    """Of these cases those of the golden vectors: of a model with state the first steps."""
    parts = {name: sequences.parts_of(name) for name in cases}
    return [n for n, (case, step) in parts.items() if case in among and step <= GOLDEN_STEPS]


def _write_golden(stage: Path, case: str, reference: Reference, size: str = "") -> str:
    """Inputs and PyTorch's outputs of a case, so that an app can test itself on a device.

    `size` is the further one that they are of.
    """
    from safetensors.numpy import save_file

    path = stage / "golden" / size / f"{case}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({**reference.cases[case], **reference.expected[case]}, path)
    return path.relative_to(stage).as_posix()


def _write_rounded(stage: Path, reference: Reference) -> tuple[str, ...]:
    """What the rounded program makes of the golden vectors, where that is not PyTorch's answer.

    By it a file is held to its own numbers wherever the model itself is not known. Of a model with
    state there is none: its rounded program has come to a state of its own.
    """
    from safetensors.numpy import save_file

    faithful = reference.faithful
    if faithful is None or faithful.program is reference.program or reference.state:
        return ()
    names = []
    for case in golden_cases(faithful.cases, GOLDEN_ROUNDED):
        path = stage / "golden" / "rounded" / f"{case}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(faithful.expected[case]), path)
        names.append(path.relative_to(stage).as_posix())
    return tuple(names)


def tools() -> dict[str, str]:
    """The versions of what decides an artifact's bytes."""
    from importlib.metadata import version

    names = dict.fromkeys(name for format in FORMATS.values() for name in format.tools)
    return {"mlship": VERSION, **{name: version(name) for name in names}}


def ship_cached(known: Bundle, out: Path) -> Built:
    """A bundle of the cache, copied to where it goes unless it is there already."""
    where = destination(out, known.name, known.target)
    report, key = known.report, known.directory.name
    if _is_there(where, known):
        there = Bundle(where, known.manifest)
        return Built(known.name, known.target, there, report, cached=True, object=key)
    with bundle.staging(where) as stage:
        copy_files(known.directory, stage)
        shipped = bundle.publish(stage, where)
    return Built(known.name, known.target, shipped, report, cached=True, object=key)


def _is_there(where: Path, known: Bundle) -> bool:
    try:
        return bundle.read(where).manifest.digest == known.manifest.digest
    except MlshipError:
        return False
