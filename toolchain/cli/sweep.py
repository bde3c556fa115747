"""`mlship sweep`: variants of a model, trained, built and compared; one of them is picked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from toolchain.cli.command import command, print_json
from toolchain.cli.options import CLUSTER
from toolchain.report import plain


@command
@click.argument("file", type=Path, metavar="SWEEP.TOML")
@click.option("--out", type=Path, help="The folder.  [default: runs/NAME of the file]")
@CLUSTER
@click.option("--pick", is_flag=True, help="Also write the weights and recipe of the picked one.")
def sweep(file: Path, out: Path | None, cluster: str, pick: bool, as_json: bool) -> int:
    """Try the variants that SWEEP.TOML names, and pick the best compromise.

    Each is trained, built, proved, weighed, timed and examined; poor ones end early. Writes
    table.csv as it goes, table.json, index.html and the log of each job. A sweep that was killed
    goes on where it was.
    """
    from benchmarks.measure.machine import this
    from toolchain.cluster.connect import connect
    from toolchain.report import sweep_page, sweep_table, terminal
    from toolchain.sweep import sweep as sweeps
    from toolchain.sweep import sweep_file, write
    from toolchain.sweep.table import Table

    wanted = sweep_file.read(file)
    folder = out or Path("runs") / file.stem
    with terminal.progress() as say, connect(cluster) as pool:
        if pool.address:
            plain.say(f"the cluster's page: {pool.address}", err=True)
        table = Table(folder, str(this()))
        swept = sweeps.sweep(wanted, pool, table, logs=folder / "logs", say=say)
    write.write(folder, swept, sweep_page.page(swept))
    chosen = write.write_pick(folder / "pick", swept) if pick and swept.pick else None
    if as_json:
        print_json(_json(swept, folder, chosen))
    else:
        sweep_table.show(swept, folder, chosen)
    return swept.exit_code


def _json(swept: Any, folder: Path, chosen: Path | None) -> dict[str, Any]:
    return {
        "ok": swept.exit_code == 0,
        "folder": str(folder),
        "picked": str(chosen) if chosen else None,
        **swept.to_json(),
    }
