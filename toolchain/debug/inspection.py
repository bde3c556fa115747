"""`mlship inspect`: a bundle's manifest, and how its artifact will run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from converters import formats
from converters.format import resolve
from converters.progress import Say
from model_defs.installation import VERSION
from toolchain.build.ship import LOADING
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.files import file_digest
from toolchain.bundle.parity_report import ParityReport

if TYPE_CHECKING:
    from converters.tflite.partitions import Partitions


def judged(bundle: Bundle, say: Say) -> ParityReport:
    """The report on a bundle that is run on its own golden vectors."""
    from toolchain.parity import harness

    return harness.judge_golden(bundle, say).report


def foreign_code(bundle: Bundle) -> list[str]:
    """Loading code of a bundle that this mlship built, and that is not what it puts into one."""
    if bundle.manifest.tools.get("mlship") != VERSION:
        return []
    found = {name: entry.sha256 for name, entry in bundle.manifest.files.items()}
    names = formats.find(bundle.artifact.format).loading
    return [name for name in names if found.get(name) != file_digest(LOADING / name)]


def facts(bundle: Bundle, report: ParityReport) -> dict[str, Any]:
    """The manifest, what its golden vectors say of the file, and foreign loading code.

    Of a .tflite also how many parts XNNPACK runs, and what it does not run.
    """
    found = partitions_of(bundle)
    parts = {"partitions": asdict(found)} if found else {}
    judged = {"golden_report": report.to_json(), "foreign_code": foreign_code(bundle)}
    return bundle.manifest.to_json() | parts | judged


def partitions_of(bundle: Bundle) -> Partitions | None:
    """How a delegate cuts up an artifact; None where its format has none."""
    of_file = formats.find(bundle.artifact.format).partitions
    if of_file is None:
        return None
    found: Partitions = resolve(of_file)(bundle.artifact.path)
    return found
