"""The command line: parses, calls, prints. Heavy modules are imported by the commands."""

from __future__ import annotations

import atexit
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from toolchain.cli import apply, bench, ci, eval, lock, prune, shrink, size, train
from toolchain.cli.command import EXIT_CODES, command_of, of_subjects, print_error
from toolchain.recipes import recipes, targets

if TYPE_CHECKING:
    from toolchain.build.on_demand import Wanted


@click.group(
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="mlship", message="mlship %(version)s")
def main() -> None:
    """Takes PyTorch vision models to phones and browsers, and proves that they arrived."""


command = command_of(main)
main.add_command(apply.apply)
train.add_to(main)
prune.add_to(main)
eval.add_to(main)
shrink.add_to(main)
bench.add_to(main)
ci.add_to(main)
lock.add_to(main)
size.add_to(main)


@command
@click.argument("model", required=False)
@click.option("--all", "everything", is_flag=True, help="Every model of the zoo but baselines.")
@click.option(
    "--target",
    "target_names",
    multiple=True,
    required=True,
    metavar="ios|android|web|all",
    help="The platform; may be given more than once.",
)
@click.option(
    "--recipe", default=recipes.DEFAULT, show_default=True, help=", ".join(recipes.RECIPES)
)
@click.option("--weights", type=Path, help="A .safetensors or .pt state dict.")
@click.option("--out", type=Path, default=Path("dist"), show_default=True, help="The folder.")
@click.option(
    "--via",
    type=click.Choice(get_args(targets.Via)),
    default=targets.DEFAULT_VIA,
    show_default=True,
    help="Of ONNX to TFLite and TF.js: ours, or onnx2tf as an oracle for it.",
)
@click.option(
    "--compute",
    type=click.Choice(get_args(targets.Compute)),
    default=targets.DEFAULT_COMPUTE,
    show_default=True,
    help="Where the app lets Core ML compute; the bundle's MLShip.swift sets it.",
)
@click.option("--metric", is_flag=True, help="Also examine MODEL after each pass: inspect --why.")
def build(
    model: str | None,
    everything: bool,
    target_names: tuple[str, ...],
    recipe: str,
    weights: Path | None,
    out: Path,
    via: targets.Via,
    compute: targets.Compute,
    metric: bool,
    as_json: bool,
) -> int:
    """Build MODEL into bundles that ship: convert, prove equal to PyTorch, weigh.

    MODEL is a name that `mlship list` shows, or path/to/file.py:spec.
    """
    from model_defs import lookup
    from toolchain.build.build import build as build_bundles
    from toolchain.report import terminal

    if everything and model:
        raise click.UsageError("either MODEL or --all")
    chosen = targets.find(target_names)
    recipe_found = recipes.find(recipe)
    names = lookup.shipped() if everything else lookup.expand(model or "")
    with terminal.progress() as say:
        built = build_bundles(
            names,
            chosen,
            recipe_found,
            weights=weights,
            out=out,
            via=via,
            compute=compute,
            metric=metric,
            say=say,
        )
    if as_json:
        click.echo(json.dumps([_built_json(b) for b in built], indent=2))
    else:
        _show_built(built)
    return _worst_code([b.exit_code for b in built])


def _worst_code(codes: list[int]) -> int:
    """Bad input outranks a failed check, which outranks a check that could not be made."""
    return next((code for code in (2, 1, 3) if code in codes), 0)


def _built_json(built: Any) -> dict[str, Any]:
    error = built.error
    return {
        "model": built.model,
        "target": built.target,
        "ok": built.exit_code == 0,
        "cached": built.cached,
        "bundle": str(built.bundle.directory) if built.bundle else None,
        "artifact_bytes": built.bundle.artifact_bytes if built.bundle else None,
        "parity": built.report.to_json() if built.report else None,
        "problems": list(built.report.problems) if built.report else [],
        "error": {"what": error.what, "where": error.where, "do": error.do} if error else None,
    }


def _show_built(built: list[Any]) -> None:
    from toolchain.report import terminal

    rows = [row for b in built if b.report for row in b.report.rows]
    if rows:
        terminal.show(terminal.parity_table(rows))
    terminal.show(terminal.build_table(built))
    for note in dict.fromkeys(n for b in built if b.bundle for n in _notes(b)):
        click.echo(f"note: {note}")
    for b in built:
        if b.error is not None:
            click.echo(f"{b.model}-{b.target}: ", nl=False, err=True)
            print_error(b.error, as_json=False)
        elif b.bundle is None:
            _show_failure(b)


def _notes(built: Any) -> list[str]:
    manifest = built.bundle.manifest
    return [*manifest["notes"], *manifest["artifact"]["notes"]]


def _show_failure(built: Any) -> None:
    click.secho(f"{built.model}-{built.target} is not equal to PyTorch", fg="red", err=True)
    for problem in built.report.problems:
        click.echo(f"  {problem}", err=True)
    click.echo("  no bundle was written; an older one, if any, was left as it was", err=True)
    if built.rejected is not None:
        click.echo(f"  to see which layer: mlship blame {built.rejected.directory}", err=True)


@command
def list_(as_json: bool) -> int:
    """List the models and products that can be built by name."""
    from toolchain.cli import catalogue

    rows = catalogue.rows()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        catalogue.show(rows)
    return 0


@command
@click.argument("bundle", type=Path)
@click.option("--why", is_flag=True, help="Also what each pass did, and which layer has the bytes.")
def inspect(bundle: Path, why: bool, as_json: bool) -> int:
    """Verify BUNDLE's checksums; show what is in it, and how XNNPACK runs a .tflite."""
    from toolchain.bundle.bundle import read
    from toolchain.debug import inspection

    found = read(bundle)
    if as_json:
        click.echo(json.dumps(inspection.facts(found), indent=2))
    else:
        inspection.show(found, why=why)
    return 0


@command
@of_subjects()
@click.option("--backend", "chosen", multiple=True, metavar="NAME", help="Only these; all if none.")
@click.option("--require", "required", multiple=True, metavar="NAME", help="Must run and pass.")
@click.option("--cases", "folder", type=Path, help="A folder of pictures of your own.")
@click.option("--all-cases", is_flag=True, help="All, however long they take.")
@click.option("--record", type=Path, help="Keep the results, to be compared elsewhere.")
@click.option("--against", type=Path, help="Compare results that were recorded elsewhere.")
@click.option("--report", type=Path, help="A folder for report.html, report.json, junit.xml.")
def parity(
    subjects: tuple[str, ...],
    wanted: Wanted,
    chosen: tuple[str, ...],
    required: tuple[str, ...],
    folder: Path | None,
    all_cases: bool,
    record: Path | None,
    against: Path | None,
    report: Path | None,
    as_json: bool,
) -> int:
    """Compare bundles with PyTorch on every backend that can run here.

    A MODEL is built first, for all targets or those given. Without --require, each format's
    main backend must pass (mil, litert, tfjs-wasm), or those given with --backend.
    """
    from toolchain.parity import run
    from toolchain.parity.harness import BackendChoice
    from toolchain.report import terminal

    choice = BackendChoice(chosen, required, all_cases, keep=record is not None)
    wanted = replace(wanted, folder=folder)
    with terminal.progress() as say:
        ran = run.run(subjects, wanted, choice, record=record, against=against, say=say)
    run.show(ran, as_json=as_json, report=report)
    return ran.exit_code


@command
@of_subjects()
@click.option("--backend", "chosen", multiple=True, metavar="NAME", help="Only these; all if none.")
@click.option("--cases", "folder", type=Path, help="A folder of pictures of your own.")
@click.option("--case", default="", metavar="NAME", help="The case to run; the first if none.")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="Layers shown.")
@click.option("--html", type=Path, metavar="FILE", help="Also draw error against depth.")
@click.option("--node-data", type=Path, metavar="FILE", help="Colours for Model Explorer.")
def blame(
    subjects: tuple[str, ...],
    wanted: Wanted,
    chosen: tuple[str, ...],
    folder: Path | None,
    case: str,
    top: int,
    html: Path | None,
    node_data: Path | None,
    as_json: bool,
) -> int:
    """Find the layer and the pass at which BUNDLE parts from PyTorch.

    Each layer is judged alone, on what the backend gave it; the table ranks layers by the error
    that they add, which for a quantised bundle is where the accuracy goes.
    """
    from toolchain.debug import blame_run
    from toolchain.report import blame_files, blame_table, terminal

    wanted = replace(wanted, folder=folder, case=case)
    with terminal.progress() as say:
        blamed, unbuilt = blame_run.run(subjects, wanted, chosen, say)
    if html is not None:
        blame_files.write_page(html, blamed)
    if node_data is not None:
        blame_files.write_node_data(node_data, blamed)
    if as_json:
        click.echo(json.dumps([one.to_json() for one in blamed], indent=2))
    else:
        blame_table.show(blamed, top)
    return _worst_code([one.exit_code for one in blamed] + [b.exit_code for b in unbuilt])


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
    from toolchain.report import terminal

    wanted = replace(wanted, targets=targets.find((audit.TARGET,)), folder=folder)
    with terminal.progress() as say:
        audited, unbuilt = audit.run(subjects, wanted, say)
    audit.show(audited, unbuilt, as_json=as_json)
    return _worst_code([one.exit_code for one in audited] + [b.exit_code for b in unbuilt])


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
@click.option("-o", "--out", "out", type=Path, required=True, help="A picture or .safetensors.")
def run(
    bundle: Path,
    picture: Path | None,
    extra: tuple[str, ...],
    wanted: str | None,
    out: Path,
    as_json: bool,
) -> int:
    """Run BUNDLE on a PICTURE, pixels to pixels, and write what comes out.

    PICTURE may also be a .safetensors file with one tensor an input: so that a head runs on
    what its trunk wrote.
    """
    from toolchain.applications.run import run_bundle

    result = run_bundle(bundle, picture, extra, wanted, out)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        click.echo(f"{result['out']}: {result['output']} of {bundle} on {result['backend']}")
    return 0


@command
def doctor(as_json: bool) -> int:
    """Say what is installed, which backends run here, and what to do about the rest."""
    from toolchain.debug import doctor

    findings = doctor.examine()
    if as_json:
        click.echo(json.dumps([f.to_json() for f in findings], indent=2))
    else:
        doctor.show(findings)
    return 1 if any(f.needed and not f.ok for f in findings) else 0


def program() -> None:
    """The program `mlship`: main, then gone at once.

    PyTorch takes up to 0.7 s to take itself apart, of a build that takes 5 s.
    """
    try:
        main()
    except SystemExit as end:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))


if __name__ == "__main__":
    program()
