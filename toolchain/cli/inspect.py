"""`mlship inspect`: what is in a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.command import command, print_json


@command
@click.argument("bundle", type=Path)
@click.option("--why", is_flag=True, help="Also what each pass did, and which layer has the bytes.")
def inspect(bundle: Path, why: bool, as_json: bool) -> int:
    """Verify BUNDLE's checksums; show what is in it, and how XNNPACK runs a .tflite."""
    from toolchain.bundle.bundle import read
    from toolchain.debug import inspection
    from toolchain.report import inspect_table

    found = read(bundle)
    if as_json:
        print_json(inspection.facts(found))
    else:
        inspect_table.show(found, why=why)
    return 0
