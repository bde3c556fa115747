"""`mlship bench`: latency and memory of bundles on this machine's runtimes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from model_defs.errors import worst_code
from toolchain.cli.command import command, print_json
from toolchain.cli.options import of_subjects

if TYPE_CHECKING:
    from toolchain.build.on_demand import Wanted


@command
@of_subjects()
@click.option("--runtime", "chosen", multiple=True, metavar="NAME", help="Only these; all if none.")
@click.option("--full", is_flag=True, help="1024 runs and 60 s each, not 64 runs.")
@click.option("--layers", is_flag=True, help="Also time each layer.")
@click.option("--save", type=Path, metavar="FILE", help="Keep the latencies.")
@click.option("--against", type=Path, metavar="FILE", help="Fail where they got worse.")
@click.option(
    "--limit", type=click.FloatRange(1), default=1.1, show_default=True, help="Ratio, of --against."
)
def bench(
    subjects: tuple[str, ...],
    wanted: Wanted,
    chosen: tuple[str, ...],
    full: bool,
    layers: bool,
    save: Path | None,
    against: Path | None,
    limit: float,
    as_json: bool,
) -> int:
    """Time bundles on every runtime here, beside ONNX Runtime and PyTorch.

    A MODEL is built first. Each runtime is a process of its own; they take turns in shuffled
    rounds. Slower than --against means: by more than --limit, and Mann-Whitney's p below 0.002,
    and so twice more in new processes.
    """
    from benchmarks.measure.significance import confirmed
    from benchmarks.measure.timing.session import MODES
    from toolchain.bench import against as latencies
    from toolchain.bench import kept, run
    from toolchain.report import bench_table, terminal

    before = kept.read(against) if against else None
    mode = MODES["full" if full else "quick"]
    changes: dict[str, latencies.Change] = {}
    with terminal.progress() as say:
        timed = partial(run.run, subjects, wanted, chosen, mode, say=say)
        ran = timed(layers=layers)
        if save is not None:
            latencies.save(save, ran)
        if before and against:
            find_changes = partial(latencies.changes, before, limit=limit, path=against)
            changes = confirmed(find_changes(ran), lambda keys: find_changes(timed(only=keys)))
    if as_json:
        found = {**ran.to_json(), "changes": [change.to_json() for change in changes.values()]}
        print_json(found)
    else:
        bench_table.show(ran, [*changes.values()])
    worse = any(change.worse for change in changes.values())
    return worst_code([ran.exit_code, int(worse)])
