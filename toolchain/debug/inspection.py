"""`mlship inspect`: a bundle's manifest, and how its artifact will run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from converters import formats
from converters.format import resolve
from converters.progress import Say
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.parity_report import ParityReport

if TYPE_CHECKING:
    from converters.tflite.partitions import Partitions


def judged(bundle: Bundle, say: Say) -> ParityReport:
    """The report on a bundle that is run on its own golden vectors."""
    from toolchain.parity import harness

    return harness.judge_golden(bundle, say).report


def facts(bundle: Bundle, report: ParityReport) -> dict[str, Any]:
    """The manifest, and what its golden vectors say of the file.

    Of a .tflite also how many parts XNNPACK runs, and what it does not run.
    """
    found = partitions_of(bundle)
    parts = {"partitions": asdict(found)} if found else {}
    return bundle.manifest.to_json() | parts | {"golden_report": report.to_json()}


def partitions_of(bundle: Bundle) -> Partitions | None:
    """How a delegate cuts up an artifact; None where its format has none."""
    of_file = formats.find(bundle.artifact.format).partitions
    if of_file is None:
        return None
    found: Partitions = resolve(of_file)(bundle.artifact.path)
    return found
