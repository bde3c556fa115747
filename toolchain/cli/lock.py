"""`mlship lock`: what a project's bundles were built of."""

from __future__ import annotations

from pathlib import Path

from toolchain.cli.command import command, print_result
from toolchain.cli.options import PROJECT


@command
@PROJECT
def lock(project: Path, as_json: bool) -> int:
    """Build a project's bundles and write mlship.lock: tools, weights, specs, recipes, hashes."""
    from toolchain.ci import config, lock
    from toolchain.report import terminal

    found = config.read(project)
    with terminal.progress() as say:
        locked = lock.write(found, say)
    files = sum(len(one.files) for one in locked.bundles.values())
    said = f"wrote {found.folder / lock.NAME}: {len(locked.bundles)} bundles, {files} files"
    return print_result(locked.to_json(), said, as_json)
