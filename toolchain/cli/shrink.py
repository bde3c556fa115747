"""`mlship shrink`: how to store each layer, so that the files fit."""

from __future__ import annotations

import math
from pathlib import Path

import click

from benchmarks.measure.units import BYTES, SHARE
from toolchain.cli.command import command, print_json
from toolchain.cli.options import CLUSTER
from toolchain.recipes import targets


class Bytes(click.ParamType):
    """`1MB`, `800 kB`, `1.5 MiB`, or a number."""

    name = "bytes"

    def convert(self, value: object, param: object, ctx: object) -> int:
        count = BYTES.parse(str(value))
        if count is None or not math.isfinite(count):
            self.fail(f"{value!r} is no number of bytes: write 1MB, 800kB or 1048576")
        if count < 1:
            self.fail(f"{value!r} is less than a byte")
        return int(count)


class Share(click.ParamType):
    """`1%` or `0.01`."""

    name = "share"

    def convert(self, value: object, param: object, ctx: object) -> float:
        share = SHARE.parse(str(value))
        if share is None:
            self.fail(f"{value!r} is no share: write 1% or 0.01")
        if not 0 <= share < 1:
            self.fail(f"{value!r} is not between 0 and 100 %")
        return share


@command
@click.argument("model")
@click.option(
    "--target",
    "target_names",
    multiple=True,
    required=True,
    metavar="ios|android|web|all",
    help="May be given more than once: one plan for all of them.",
)
@click.option("--max-bytes", type=Bytes(), help="Of each target's artifact: 1MB, 800kB.")
@click.option("--max-drop", type=Share(), help="Of the metric, as a share: 1%.")
@click.option("--weights", type=Path, help="A .safetensors or .pt state dict.")
@click.option("--scenes", type=click.IntRange(2), default=24, show_default=True, help="Examined.")
@click.option("--out", type=Path, default=Path("dist"), show_default=True, help="The folder.")
@CLUSTER
@click.option("--html", type=Path, metavar="FILE", help="Also a page: the curve and the layers.")
def shrink(
    model: str,
    target_names: tuple[str, ...],
    max_bytes: int | None,
    max_drop: float | None,
    weights: Path | None,
    scenes: int,
    out: Path,
    cluster: str,
    html: Path | None,
    as_json: bool,
) -> int:
    """Find how to store each layer of MODEL so that its files fit, with the best metric.

    With --max-bytes alone the metric is made best, with --max-drop alone the files smallest; with
    both, the best plan that fits fails if it loses more. What is measured is kept: a killed search
    goes on where it was. Writes bundles, and MODEL.recipe.json for mlship build --recipe.
    """
    from toolchain.bundle.files import write_whole
    from toolchain.cluster.connect import SERIAL, connect
    from toolchain.report import shrink_page, shrink_table, terminal
    from toolchain.search import shrink

    if max_bytes is None and max_drop is None:
        raise click.UsageError("--max-bytes, --max-drop or both")
    budget = shrink.ShrinkGoal(max_bytes, max_drop, scenes)
    with terminal.progress() as say, connect(cluster) as pool:
        workers = None if cluster == SERIAL else pool
        places = targets.find(target_names)
        found = shrink.shrink(model, places, budget, weights, out, say, workers)
    if html is not None:
        write_whole(html, shrink_page.page(found))
    if as_json:
        print_json(found.to_json())
    else:
        shrink_table.show(found)
    return found.exit_code
