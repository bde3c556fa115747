"""Recorded results: what backends answered on one machine, to be compared on another.

A .safetensors file whose header says of which bundles and what the tensors' digest is.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from converters.api import Runner, Tensors
from model_defs.errors import BackendUnavailable, BadRecord
from toolchain.bundle import tensor_files
from toolchain.bundle.files import write_whole
from toolchain.bundle.manifest import Digest
from toolchain.bundle.parity_report import GOLDEN, case_and_size
from toolchain.bundle.reading import DataFile, StrictModel, json_object, upgraded, validated
from toolchain.data.trunks import Cases
from toolchain.parity.harness import Outcome
from toolchain.parity.subject import Subject

SCHEMA = 1
KEY = "mlship-parity"
REMEDY = "record again: mlship parity BUNDLE --record FILE"


class RecordedBundle(StrictModel):
    """A bundle by its name and its manifest's digest, and the backends that answered."""

    name: str
    bundle: Digest
    backends: tuple[str, ...]


class RecordHeader(StrictModel):
    """What a file of records says of itself; `sha256` is the digest of its tensors."""

    version: Literal[1] = Field(default=1, alias="schema")
    machine: str
    bundles: tuple[RecordedBundle, ...]
    sha256: Digest


@dataclass(frozen=True)
class Record:
    """One bundle's inputs, PyTorch's outputs, and the answers of backends of another machine."""

    name: str
    digest: str
    machine: str
    inputs: Cases
    expected: Cases
    answers: Mapping[str, Cases]


def save(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Write what the backends answered. Raises CannotWrite, BadRecord if nothing answered."""
    from safetensors.numpy import save as packed

    tensors: dict[str, np.ndarray] = {}
    entries = []
    for number, outcome in enumerate(outcomes):
        answers = {b: cases for b, cases in outcome.answers.items() if b != GOLDEN and "@" not in b}
        cases = sorted({case for by_case in answers.values() for case in by_case})
        subject = outcome.subject
        of = {case: _subject_of(case, subject) for case in cases}
        _put(tensors, f"{number}/inputs", {c: one.inputs[n] for c, (n, one) in of.items()})
        _put(tensors, f"{number}/expected", {c: one.expected[n] for c, (n, one) in of.items()})
        for backend, by_case in answers.items():
            _put(tensors, f"{number}/answers/{backend}", by_case)
        digest = subject.bundle.manifest.digest
        backends = tuple(sorted(answers))
        entries.append(RecordedBundle(name=subject.name, bundle=digest, backends=backends))
    if not tensors:
        raise BadRecord("no backend answered, so there is nothing to record", where=str(path))
    about = RecordHeader(
        machine=f"{platform.system()}-{platform.machine()}",
        bundles=tuple(entries),
        sha256=_digest(tensors),
    )
    write_whole(path, packed(tensors, {KEY: about.model_dump_json()}))


def _subject_of(case: str, subject: Subject) -> tuple[str, Subject]:
    """The case's own name, and the subject at the size that it is at."""
    name, size = case_and_size(case)
    return (name, subject.further[size]) if size in subject.further else (case, subject)


def load(path: Path) -> list[Record]:
    """The records in a file; BadRecord for a truncated, edited or foreign one."""
    about, tensors = _read(path)
    if about.sha256 != _digest(tensors):
        raise BadRecord("the record was changed: its digest does not match", where=str(path))
    return [_record(i, entry, about, tensors) for i, entry in enumerate(about.bundles)]


def _read(path: Path) -> tuple[RecordHeader, dict[str, np.ndarray]]:
    with tensor_files.opened(path, BadRecord, REMEDY, "the record") as file:
        if KEY not in file.metadata:
            raise BadRecord("not a record of mlship parity", where=str(path), do=REMEDY)
        tensors = {name: file.tensor(name) for name in file.names}
        return parse_header(file.metadata[KEY], str(path)), tensors


def parse_header(text: str, where: str) -> RecordHeader:
    """What a record says of itself. Raises BadRecord."""
    file = DataFile("the record", where, BadRecord, REMEDY)
    data = upgraded(json_object(text, file), SCHEMA, {}, file)
    return validated(RecordHeader, data, file)


def _record(number: int, entry: RecordedBundle, about: RecordHeader, tensors: Tensors) -> Record:
    return Record(
        entry.name,
        entry.bundle,
        about.machine,
        _take(tensors, f"{number}/inputs"),
        _take(tensors, f"{number}/expected"),
        {b: _take(tensors, f"{number}/answers/{b}") for b in entry.backends},
    )


def runners(
    records: Iterable[Record], subject: Subject, path: Path
) -> list[tuple[Runner, Cases, Cases]]:
    """For harness.judge: the recorded backends of a subject; BadRecord if there are none.

    PyTorch answers the recorded inputs here and now, where the model is known; its recorded
    answers stand in for it otherwise.
    """
    records = list(records)
    own = [r for r in records if r.digest == subject.bundle.manifest.digest]
    if not own:
        recorded = ", ".join(r.name for r in records)
        raise BadRecord(
            f"the record is not of {subject.name} as it is here, but of {recorded}",
            where=str(path),
            do="copy the very bundle to the other machine and record it there",
        )
    return [
        (RecordedRunner(record, backend), record.inputs, _expected(record, subject))
        for record in own
        for backend in record.answers
    ]


def _expected(record: Record, subject: Subject) -> Cases:
    if subject.reference.program is None:
        return record.expected
    answer = subject.reference.answer
    return {case: dict(answer(tensors)) for case, tensors in record.inputs.items()}


class RecordedRunner:
    """Repeats what a backend answered on another machine, as `backend@System-arch`."""

    def __init__(self, record: Record, backend: str) -> None:
        self.backend = f"{backend}@{record.machine}"
        answers = record.answers[backend]
        self._pairs = [(record.inputs[case], answers.get(case)) for case in record.inputs]

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        answer = next((out for given, out in self._pairs if given is inputs), None)
        if answer is None:
            raise BackendUnavailable("this case was not recorded")
        return answer

    def close(self) -> None:
        """Nothing to free."""


def _put(tensors: dict[str, np.ndarray], prefix: str, cases: Mapping[str, Tensors]) -> None:
    for case, arrays in cases.items():
        for name, array in arrays.items():
            tensors[f"{prefix}/{case}/{name}"] = np.ascontiguousarray(array)


def _take(tensors: Tensors, prefix: str) -> Cases:
    cases: Cases = {}
    for key, array in tensors.items():
        if key.startswith(f"{prefix}/"):
            case, _, name = key.removeprefix(f"{prefix}/").rpartition("/")
            cases.setdefault(case, {})[name] = array
    return cases


def _digest(tensors: Tensors) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
