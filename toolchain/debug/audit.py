"""`mlship audit`: where half precision breaks a Core ML bundle, seen on real inputs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from converters.processes import scratch
from converters.progress import Say
from model_defs.errors import BadBundle
from toolchain.build.on_demand import Named, Wanted, each
from toolchain.build.request import Built
from toolchain.parity.subject import Subject
from toolchain.recipes import pipeline, recipes

if TYPE_CHECKING:
    from converters.graph.captured import GraphLayer
    from converters.mil import Package
    from converters.mil.audit import AuditRow

TARGET = "ios"


@dataclass(frozen=True)
class AuditFinding:
    """A row of the audit, and where in PyTorch it comes from, as far as that is known."""

    kind: str
    tensor: str
    operation: str
    value: float
    advice: str
    module: str = ""
    source: str = ""


@dataclass(frozen=True)
class Audited:
    """What was found in one bundle on these cases, and hints on where it may not run."""

    subject: Subject
    findings: tuple[AuditFinding, ...]
    hints: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    """What goes wrong on one unit of a machine, by report."""

    @property
    def exit_code(self) -> int:
        from converters.mil.audit import BREAKS

        return int(any(finding.kind in BREAKS for finding in self.findings))

    @property
    def note(self) -> str:
        """What this audit cannot see; nothing for a float32 bundle."""
        if self.subject.artifact.precision == "float32":
            return ""
        return (
            "the bundle stores float16: constants that have become zero are not seen; "
            "audit the model, or a bundle built with --recipe fp32"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "bundle": self.subject.name,
            "ok": self.exit_code == 0,
            "cases": list(self.subject.inputs),
            "findings": [asdict(finding) for finding in self.findings],
            "note": self.note,
            "placement_hints": list(self.hints),
            "unit_warnings": list(self.warnings),
        }


def run(names: Sequence[Named], wanted: Wanted, say: Say) -> tuple[list[Audited], list[Built]]:
    """An audit of each bundle, and what could not be built.

    Raises BadBundle for a bundle of another target, and what `subjects.each` raises.
    """
    return each(names, wanted, audit, say)


def audit(subject: Subject) -> Audited:
    """The findings on all cases of a subject, what breaks first, then the largest numbers."""
    from converters import mil
    from converters.mil import audit as ranges
    from converters.mil import placement
    from converters.mil import rules as known

    if subject.bundle.target != TARGET:
        raise BadBundle(
            f"an audit reads Core ML programs, this bundle is for {subject.bundle.target}",
            where=str(subject.bundle.directory),
            do=f"audit the model: mlship audit {subject.bundle.name}",
        )
    artifact = subject.artifact
    package = mil.open_package(artifact.path)
    stored = [
        {port.stored_as: port.to_stored(case[port.name]) for port in artifact.inputs}
        for case in subject.inputs.values()
    ]
    order = list(ranges.ADVICE)
    rows = sorted(ranges.audit(package, stored), key=lambda r: (order.index(r.kind), -r.value))
    hints = tuple(map(str, placement.hints(package.main)))
    return Audited(
        subject, tuple(_placed(rows, package, subject)), hints, known.warnings(package.main)
    )


def _placed(rows: Sequence[AuditRow], package: Package, subject: Subject) -> Iterator[AuditFinding]:
    """The rows with the module and the line of PyTorch that made their tensors."""
    modules = _modules_by_weights(package)
    layers = _layers(package, subject) if rows and subject.program is not None else {}
    for row in rows:
        finding = AuditFinding(**asdict(row), module=modules.get(row.tensor, ""))
        layer = layers.get(row.tensor)
        if layer is not None:
            finding = replace(finding, module=layer.label, source=layer.source)
        yield finding


def _layers(package: Package, subject: Subject) -> dict[str, GraphLayer]:
    """The layer of each tensor; one that an operation is split into belongs to the next named."""
    from converters.coreml.names import core_ml_layers, plain_name
    from converters.export import export
    from converters.intermediates.traced import Traced

    assert subject.program is not None
    passes = recipes.of_manifest(subject.bundle.manifest.recipe).load()
    with scratch.temporary() as work:
        exported = export(pipeline.run(subject.program, passes), work, onnx=False)
        assert exported.graph is not None
        known = core_ml_layers(Traced(exported.graph))
    found: dict[str, GraphLayer] = {}
    latest: GraphLayer | None = None
    for operation in reversed(package.main.block.operations):
        for result in operation.results:
            latest = known.get(plain_name(result.name), latest)
            if latest is not None:
                found[result.name] = latest
    return found


PARAMETER = re.compile(r"(?P<module>\w+)_(weight|bias|running_mean|running_var)(_|$)")
"""A constant's name that is a parameter's, with what compression adds to it."""


def _modules_by_weights(package: Package) -> dict[str, str]:
    """The module of each tensor that an operation computes with a named parameter."""
    found: dict[str, str] = {}
    for operation in package.main.block.operations:
        names = [PARAMETER.match(name) for name in operation.reads()]
        module = next((match["module"] for match in names if match), "")
        if module and operation.type != "const":
            found |= {result.name: module for result in operation.results}
    return found
