"""`mlship ci --update-baseline`: what there is becomes what is compared with."""

from __future__ import annotations

from dataclasses import replace

from toolchain.bundle.files import write_whole
from toolchain.ci import snapshots
from toolchain.ci.checks import Check
from toolchain.ci.config import Project
from toolchain.ci.run import CiRun
from toolchain.ci.state import text_of


def updated(project: Project, ran: CiRun) -> CiRun:
    """Writes the baseline, unless something failed that a new baseline does not forgive.

    What only compares with the old one (growth, ratios, bundles that are gone) is forgiven.
    Pictures that are new become golden; those that changed need `mlship approve`. Raises
    CannotWrite.
    """
    kept = tuple(check for check in ran.checks if not _compares(check))
    left = replace(ran, checks=kept)
    if any(check.failed for check in kept):
        return left
    for one in ran.snapshots:
        if one.state == "new":
            snapshots.write(project.snapshots, one)
    write_whole(project.baseline, text_of(ran.state))
    rest = tuple(one for one in ran.snapshots if one.state != "new")
    return replace(left, baseline=ran.state, snapshots=rest)


def _compares(check: Check) -> bool:
    if check.kind == "picture":
        return check.cause == "new"
    if check.kind == "bundle":
        return check.cause == "removed"
    return check.limits_growth
