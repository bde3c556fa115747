"""`mlship size`: where the bytes of bundles are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolchain.cli.command import command, print_json
from toolchain.cli.options import of_subjects

if TYPE_CHECKING:
    from toolchain.build.on_demand import Wanted


@command
@of_subjects("model")
@click.option("--html", type=Path, help="Also write a treemap of the bytes as a page.")
def size(
    subjects: tuple[str, ...],
    wanted: Wanted,
    html: Path | None,
    as_json: bool,
) -> int:
    """Weigh bundles: on disk, on the wire as their platform ships them, layer by layer.

    A MODEL is built first, for all targets or those given.
    """
    from toolchain.bench import size
    from toolchain.bundle.files import write_whole
    from toolchain.report import size_page, size_table, terminal

    with terminal.progress() as say:
        rows = list(size.measure_all(subjects, wanted, say))
    if html is not None:
        write_whole(html, size_page.page(rows))
    if as_json:
        print_json([size.to_json(*row) for row in rows])
    else:
        size_table.show(rows)
    return 0
