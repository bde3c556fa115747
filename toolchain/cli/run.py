"""`mlship run`: a bundle on a picture."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.command import command, print_result


@command
@click.argument("bundle", type=Path)
@click.argument("picture", type=Path, required=False)
@click.option(
    "--input",
    "extra",
    multiple=True,
    metavar="NAME=FILE",
    help="An input by name: a picture, .npy, or .safetensors.",
)
@click.option("--output", "wanted", help="Which output to write as a picture.")
@click.option("--size", metavar="HxW", help="Which of the bundle's sizes; the default if none.")
@click.option(
    "-o", "--out", "out", type=Path, required=True, help="A picture, .safetensors, or a folder."
)
def run(
    bundle: Path,
    picture: Path | None,
    extra: tuple[str, ...],
    wanted: str | None,
    size: str | None,
    out: Path,
    as_json: bool,
) -> int:
    """Run BUNDLE on a PICTURE, pixels to pixels, and write what comes out.

    A folder of pictures is run in order of their names, into the folder `--out`: a model with state
    is fed with what it put out at the picture before.

    PICTURE may also be a .safetensors file with one tensor an input: so that a head runs on
    what its trunk wrote.
    """
    from toolchain.applications.run import run_bundle

    result = run_bundle(bundle, picture, extra, wanted, out, size)
    said = f"{result['out']}: {result['output']} of {bundle} on {result['backend']}"
    return print_result(result, said, as_json)
