"""`mlship audit`: what float16 would break."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from model_defs.errors import worst_code
from toolchain.cli.command import command, print_json
from toolchain.cli.options import of_subjects
from toolchain.recipes import targets

if TYPE_CHECKING:
    from toolchain.build.on_demand import Wanted


@command
@of_subjects("target_names", recipe="fp32")
@click.option("--cases", "folder", type=Path, help="A folder of pictures of your own.")
def audit(
    subjects: tuple[str, ...],
    wanted: Wanted,
    folder: Path | None,
    as_json: bool,
) -> int:
    """Say what float16 would break in a Core ML BUNDLE: overflows, lost constants, epsilons.

    Every tensor is computed in float32 on all cases, and held against what float16 can store.
    A MODEL is built first. Exit code 1 where a tensor overflows; the rest are warnings.
    """
    from toolchain.debug import audit
    from toolchain.report import audit_table, build_table, terminal

    wanted = replace(wanted, targets=targets.find((audit.TARGET,)), folder=folder)
    with terminal.progress() as say:
        audited, unbuilt = audit.run(subjects, wanted, say)
    if as_json:
        print_json([one.to_json() for one in audited])
    else:
        audit_table.show(audited)
    build_table.show_unbuilt(unbuilt)
    return worst_code([one.exit_code for one in audited] + [b.exit_code for b in unbuilt])
