"""`mlship cache`: what is kept between runs."""

from __future__ import annotations

import click

from toolchain.cli.command import command, print_json, print_result

ACTIONS = ("size", "path", "prune", "clear")


@command
@click.argument("action", type=click.Choice(ACTIONS), default="size")
@click.option("--to", "most", metavar="SIZE", help='What prune leaves, as "500 MB".')
def cache(action: str, most: str | None, as_json: bool) -> int:
    """Show what is kept between runs (size), where (path), or remove it (prune, clear).

    prune removes what was used longest ago until --to is left, or $MLSHIP_CACHE_LIMIT (10 GB);
    builds do that by themselves. All of it can be made again: clear removes it all.
    """
    from benchmarks.measure.units import BYTES, bytes_text
    from toolchain.build import cache_size
    from toolchain.bundle.home import cache_home

    if most is not None and action != "prune":
        raise click.UsageError("--to is of prune")
    if action == "path":
        return print_result({"path": str(cache_home())}, str(cache_home()), as_json)
    if action == "size":
        return _show(as_json)
    left = cache_size.limit() if most is None else BYTES.parse(most)
    if left is None or not left >= 0:  # nor what is no number
        raise click.UsageError(f"'{most}' is no size: write it as '500 MB'")
    gone = cache_size.prune(-1 if action == "clear" else left)
    freed = sum(entry.bytes for entry in gone)
    said = f"removed {len(gone)} entries, {bytes_text(freed)}"
    return print_result({"removed": len(gone), "bytes": freed}, said, as_json)


def _show(as_json: bool) -> int:
    from benchmarks.measure.units import bytes_text
    from toolchain.build import cache_size
    from toolchain.bundle.home import cache_home
    from toolchain.report import plain, terminal

    held = cache_size.entries()
    counts = {kind: [one.bytes for one in held if one.kind == kind] for kind in cache_size.KINDS}
    total, most = sum(map(sum, counts.values())), cache_size.limit()
    if as_json:
        kinds = {k: {"entries": len(sizes), "bytes": sum(sizes)} for k, sizes in counts.items()}
        print_json({"path": str(cache_home()), "bytes": total, "limit": most, "kinds": kinds})
        return 0
    made = terminal.table("", "kind", "entries", "bytes", "what", right=("entries", "bytes"))
    for kind, sizes in counts.items():
        if sizes:
            what = cache_size.KINDS[kind]
            made.add_row(kind, str(len(sizes)), bytes_text(sum(sizes)), what)
    if held:
        terminal.show(made)
    plain.say(f"{bytes_text(total)} of at most {bytes_text(most)} in {cache_home()}")
    return 0
