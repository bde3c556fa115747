"""What `mlship ci` says of mlship.lock, where a project has one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from toolchain.build.ship import tools
from toolchain.bundle.bundle import Bundle
from toolchain.ci import lock
from toolchain.ci.checks import Check
from toolchain.ci.config import Project
from toolchain.ci.lock import LockFinding

DO = "if that was meant: mlship lock"
SOME = 3
"""Findings that a check names."""


def checks(project: Project, bundles: Mapping[str, Bundle]) -> Iterator[Check]:
    """A check for each bundle that was built, with the tools that built it; none without a lock.

    Raises BadRecord for a lock that cannot be read.
    """
    path = project.folder / lock.NAME
    if not path.exists():
        return
    known = lock.read(path)
    by = lock.of_tools(known, tools())
    found = lock.compared(known, bundles)
    for name in bundles:
        yield _check(name, [*by, *(one for one in found if one.bundle == name)])


def _check(name: str, findings: Sequence[LockFinding]) -> Check:
    bad = [one for one in findings if one.verdict == "failed"]
    if not bad:
        return Check(name, "lock", "lock", "passed")
    named = "; ".join(one.what for one in bad[:SOME])
    more = f" and {len(bad) - SOME} more" if len(bad) > SOME else ""
    why = f"not as mlship.lock has it: {named}{more}; {DO}"
    return Check(name, "lock", "lock", "failed", cause="differs", why=why)
