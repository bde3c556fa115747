"""Golden pictures: what each model's outputs look like, and whether that has changed.

    snapshots/portrait/photo.mask.png    an output of a case, its range in the file's own text

They are PyTorch's, which every bundle is proved equal to: they change with weights and code.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import RootModel

from converters.api import Tensors
from model_defs.errors import BadRecord, UnknownName
from model_defs.spec import TensorSpec
from toolchain.build.ship import golden_cases
from toolchain.bundle.files import write_whole, writing
from toolchain.bundle.manifest import InsidePath
from toolchain.bundle.reading import DataFile, json_object, validated
from toolchain.ci import golden
from toolchain.ci.checks import Check
from toolchain.ci.config import Project
from toolchain.ci.verdicts import Cause, Verdict
from toolchain.parity.metrics import shortfall
from toolchain.parity.subject import Subject

FOLDER = "snapshots"
"""Where a report keeps the pictures of its run, for `mlship approve`."""
State = Literal["same", "changed", "new", "gone"]


class SnapshotIndex(RootModel[Mapping[InsidePath, State]]):
    """What became of each picture of a run, by its file below the folder."""


@dataclass(frozen=True)
class Snapshot:
    """One output of one case, as its golden picture has it and as it is now.

    Values are (1, C, H, W) in the output's unit, rounded to the picture's LEVELS between `low`
    and `high`. `spec` is None for what no case makes any more.
    """

    model: str
    name: str
    spec: TensorSpec | None
    before: np.ndarray | None
    after: np.ndarray | None
    low: float = 0.0
    high: float = 1.0

    @property
    def file(self) -> Path:
        return Path(self.model, f"{self.name}.png")

    @property
    def tolerance(self) -> float:
        """What may differ: what the model tolerates, and the rounding of two pictures."""
        own = float(self.spec.tolerance or 0.0) if self.spec else 0.0
        return own + (self.high - self.low) / golden.LEVELS

    @property
    def difference(self) -> float:
        """The largest; infinite where there are not two pictures of one size."""
        if self.before is None or self.after is None or self.before.shape != self.after.shape:
            return float("inf")
        return float(np.abs(self.before - self.after).max())

    @property
    def state(self) -> State:
        if self.after is None:
            return "gone"
        if self.before is None:
            return "new"
        return "same" if self._is_same else "changed"

    @property
    def _is_same(self) -> bool:
        """By the task's measure where the output names one, and by its tolerance where it has one.

        A measure that asks for the model's inputs says nothing of a picture.
        """
        near = self.difference <= self.tolerance
        if self.spec is None or self.spec.measured is None or np.isinf(self.difference):
            return near
        assert self.before is not None
        assert self.after is not None
        error, allowed, _ = shortfall(self.spec, {}, self.before, self.after)
        if np.isnan(error):
            return near
        return error <= allowed and (near or self.spec.tolerance is None)

    @property
    def allowed(self) -> str:
        """What may differ, in words."""
        if self.spec is None:
            return ""
        measure = self.spec.measured
        most = f"at most {self.tolerance:.2g}" if self.spec.tolerance or not measure else ""
        side = "at least" if measure and measure.more else "at most"
        own = f"{self.spec.metric} {side} {self.spec.limit:g}" if measure else ""
        return ", ".join(filter(None, (most, own)))


def of_model(subject: Subject, folder: Path) -> list[Snapshot]:
    """The pictures of a model, beside the golden ones in a folder. Raises BadPicture."""
    model = subject.bundle.name
    found = [
        _snapshot(model, case, spec, subject.expected[case], folder)
        for case in _cases(subject)
        for spec in subject.bundle.outputs
        if _is_picture(spec)
    ]
    known = {one.file.name for one in found}
    gone = [p for p in sorted((folder / model).glob("*.png")) if p.name not in known]
    return [*found, *(Snapshot(model, p.stem, None, golden.read(p)[0], None) for p in gone)]


def _cases(subject: Subject) -> list[str]:
    """Pictures of the user's own, all of them; else the cases of the golden vectors."""
    own = [case for case in subject.inputs if Path(case).suffix]
    return own or golden_cases(subject.inputs)


def _is_picture(spec: TensorSpec) -> bool:
    return len(spec.shape) == 4 and spec.shape[1] in (1, 3) and spec.kind != "features"


def _snapshot(model: str, case: str, spec: TensorSpec, outputs: Tensors, folder: Path) -> Snapshot:
    name = f"{case}.{spec.name}"
    path = folder / model / f"{name}.png"
    values = outputs[spec.name]
    if not path.is_file():
        low, high = golden.bounds(spec, values)
        return Snapshot(model, name, spec, None, _rounded(values, low, high), low, high)
    before, low, high = golden.read(path)
    return Snapshot(model, name, spec, before, _rounded(values, low, high), low, high)


def _rounded(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values as a picture holds them."""
    return golden.unpacked(golden.packed(values, low, high), low, high)


def write(folder: Path, one: Snapshot) -> None:
    """Write a snapshot's new picture to its place in a folder. Raises CannotWrite."""
    assert one.after is not None
    golden.write(folder / one.file, one.after, one.low, one.high)


def checks(snapshots: Iterable[Snapshot]) -> Iterator[Check]:
    """A check for each picture: one that is new could not be compared, which is no success."""
    for one in snapshots:
        why = SIZE if _resized(one) else WHY[one.state]
        why = why.format(difference=one.difference, share=_share(one))
        shown = "" if one.state in ("new", "gone") else f"{one.difference:.2g}"
        verdict = VERDICTS[one.state]
        cause = CAUSES[one.state]
        name = f"picture {one.name}"
        yield Check(one.model, name, "picture", verdict, "", shown, one.allowed, cause, why)


VERDICTS: Mapping[State, Verdict] = {
    "same": "passed",
    "changed": "failed",
    "new": "skipped",
    "gone": "failed",
}
CAUSES: Mapping[State, Cause] = {
    "same": "",
    "changed": "changed",
    "new": "new",
    "gone": "removed",
}
WHY: Mapping[State, str] = {
    "same": "",
    "changed": "it looks different: by up to {difference:.2g}, in {share:.1%} of its pixels; "
    "where that is meant: mlship approve",
    "new": "there is no golden picture of it: mlship approve",
    "gone": "no case makes this picture any more: mlship approve removes it",
}


SIZE = "it has another size; where that is meant: mlship approve"


def _resized(one: Snapshot) -> bool:
    both = one.before is not None and one.after is not None
    return both and one.difference == float("inf")


def _share(one: Snapshot) -> float:
    """Of the pixels, those that differ by more than the tolerance."""
    if one.before is None or one.after is None or one.before.shape != one.after.shape:
        return 1.0
    return float((np.abs(one.before - one.after).max(axis=1) > one.tolerance).mean())


def keep(folder: Path, snapshots: Iterable[Snapshot]) -> None:
    """Keep what is not as its golden picture beside a report, for `approve`."""
    shutil.rmtree(folder, ignore_errors=True)
    index = {}
    for one in snapshots:
        if one.state != "same":
            index[one.file.as_posix()] = one.state
        if one.state in ("changed", "new"):
            write(folder, one)
    write_whole(folder / "index.json", json.dumps(index, indent=1) + "\n")


def approve(project: Project, report: Path, names: Iterable[str]) -> list[tuple[str, State]]:
    """What the last run saw becomes golden, of these models or of all. Raises BadRecord."""
    folder = report / FOLDER
    index = _index_of(folder / "index.json")
    chosen = list(names)
    known = [model.name for model in project.models]
    for name in chosen:
        if name not in known:
            raise UnknownName.among("model", name, known)
    accepted = []
    for file, state in index.items():
        if not chosen or Path(file).parts[0] in chosen:
            _accept(folder / file, project.snapshots / file, state)
            accepted.append((file, state))
    left = {file: state for file, state in index.items() if (file, state) not in accepted}
    write_whole(folder / "index.json", json.dumps(left, indent=1) + "\n")
    return accepted


def _index_of(path: Path) -> dict[str, State]:
    """What became of which picture. Raises BadRecord, also for a path that leaves the folder."""
    file = DataFile("what the run kept", str(path), BadRecord, "mlship ci")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRecord("no run has been kept", where=str(path.parent), do="mlship ci") from error
    return dict(validated(SnapshotIndex, json_object(text, file), file).root)


def _accept(kept: Path, path: Path, state: State) -> None:
    with writing(path):
        if state == "gone":
            path.unlink(missing_ok=True)
            return
        write_whole(path, kept.read_bytes())
