"""`mlship build`: models into bundles that ship."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from converters.lowering import DEFAULT_VIA, Via
from model_defs.errors import BadSpec, worst_code
from model_defs.spec import size_of
from toolchain.bundle.compute import Compute
from toolchain.cli.command import command, print_error, print_json
from toolchain.cli.options import EXAMPLE, SIZES, TRUST_PICKLE
from toolchain.recipes import recipes, targets
from toolchain.report import plain

if TYPE_CHECKING:
    from model_defs.spec import ModelSpec
    from toolchain.recipes.pass_report import MakeEvaluator

NAMED = 6
"""So many layers are named in a note."""


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
@EXAMPLE
@SIZES
@click.option(
    "--state",
    multiple=True,
    metavar="INPUT=OUTPUT",
    help="The input is this output of the last call, where the specification says none.",
)
@TRUST_PICKLE
@click.option("--out", type=Path, default=Path("dist"), show_default=True, help="The folder.")
@click.option(
    "--via",
    type=click.Choice(get_args(Via)),
    default=DEFAULT_VIA,
    show_default=True,
    help="Of ONNX to TFLite and TF.js: ours, or onnx2tf as an oracle for it.",
)
@click.option(
    "--compute",
    type=click.Choice(get_args(Compute)),
    default=targets.DEFAULT_COMPUTE,
    show_default=True,
    help="Where the app lets Core ML compute; the bundle's MLShip.swift sets it.",
)
@click.option("--metric", is_flag=True, help="Also evaluate MODEL after each pass: inspect --why.")
@click.option("--fresh", is_flag=True, help="Build and prove anew, whatever is in the cache.")
def build(
    model: str | None,
    everything: bool,
    target_names: tuple[str, ...],
    recipe: str,
    weights: Path | None,
    examples: tuple[str, ...],
    sizes: tuple[str, ...],
    state: tuple[str, ...],
    trust_pickle: bool,
    out: Path,
    via: Via,
    compute: Compute,
    metric: bool,
    fresh: bool,
    as_json: bool,
) -> int:
    """Build MODEL into bundles that ship: convert, prove equal to PyTorch, weigh.

    MODEL is a name that `mlship list` shows, path/to/file.py:spec, or, with an example of what
    it takes, path/to/file.py:Net: a module, its class, or a function that makes it. Or the file of
    a model: .pt2, ONNX, TorchScript, a folder of transformers, a pickled module (with
    --trust-pickle). What a file leaves open stands behind it: net.onnx:input=1,3,224,224.

    A model of several --size is one file with an entry for each, weights stored once.
    """
    from model_defs import lookup
    from toolchain.build.build import build as build_bundles
    from toolchain.build.request import BuildRequest
    from toolchain.report import terminal

    if everything and model:
        raise click.UsageError("either MODEL or --all")
    if examples and not model:
        raise click.UsageError("--example is of a MODEL")
    chosen = targets.find(target_names)
    recipe_found = recipes.find(recipe)
    names: Sequence[str | ModelSpec]
    if model and lookup.file_of_model(model) is not None:
        names = lookup.expand(lookup.said_of(model, examples, trust_pickle))
    elif examples:
        from toolchain.build import own_module

        found = own_module.describe(
            model or "",
            examples,
            weights=weights,
            trust_pickle=trust_pickle,
            state=_pairs(state),
        )
        names = (found,)
    else:
        names = lookup.shipped() if everything else lookup.expand(model or "")
    evaluator = _make_evaluator() if metric else None
    further = tuple(map(size_of, sizes))
    how = (recipe_found, weights, out, via, compute, evaluator, trust_pickle, further)
    request = BuildRequest(tuple(names), chosen, *how, state=_pairs(state), fresh=fresh)
    with terminal.progress() as say:
        built = build_bundles(request, say)
    if as_json:
        print_json([_built_json(b) for b in built])
    else:
        _show_built(built)
    return worst_code([b.exit_code for b in built])


def _pairs(state: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in state:
        name, _, source = text.partition("=")
        if not name or not source:
            raise BadSpec(f"'{text}' is no state", do="write --state hidden=hidden_out")
        pairs[name] = source
    return pairs


def _make_evaluator() -> MakeEvaluator:
    from toolchain.evaluation.score import make_evaluator

    return make_evaluator


def _built_json(built: Any) -> dict[str, Any]:
    error = built.error
    return {
        "model": built.model,
        "target": built.target,
        "ok": built.ok,
        "cached": built.cached,
        "bundle": str(built.bundle.directory) if built.bundle else None,
        "artifact_bytes": built.bundle.artifact_bytes if built.bundle else None,
        "parity": built.report.to_json() if built.report else None,
        "problems": list(built.problems),
        "notes": _notes(built) if built.bundle else [],
        "keep": dict(built.bundle.manifest.recipe.keep) if built.bundle else {},
        "error": {"what": error.what, "where": error.where, "do": error.do} if error else None,
    }


def _show_built(built: list[Any]) -> None:
    from toolchain.report import build_table, terminal

    rows = [row for b in built if b.report for row in b.report.rows]
    if rows:
        terminal.show(build_table.case_table(rows))
    terminal.show(build_table.build_table(built))
    for note in dict.fromkeys(n for b in built if b.bundle for n in _notes(b)):
        plain.say(f"note: {note}")
    for b in built:
        if b.bundle and (kept := _kept(b)):
            plain.say(f"note: {b.model}-{b.target}: {kept}")
    for b in built:
        if b.error is not None:
            plain.say(f"{b.model}-{b.target}: ", nl=False, err=True)
            print_error(b.error, as_json=False)
        elif b.bundle is None:
            _show_failure(b)


def _notes(built: Any) -> list[str]:
    return list(built.bundle.manifest.all_notes)


def _kept(built: Any) -> str:
    """Which layers a recipe was asked to round, and did not."""
    layers = [*built.bundle.manifest.recipe.keep]
    if not layers:
        return ""
    more = f" and {len(layers) - NAMED} more" if len(layers) > NAMED else ""
    count = "1 layer is" if len(layers) == 1 else f"{len(layers)} layers are"
    why = f"mlship inspect {built.bundle.directory} --why"
    return f"{count} not rounded: {', '.join(layers[:NAMED])}{more} ({why})"


def _show_failure(built: Any) -> None:
    plain.say(f"{built.model}-{built.target} is not equal to PyTorch", fg="red", err=True)
    for problem in built.report.problems:
        plain.say(f"  {problem}", err=True)
    plain.say("  no bundle was written; an older one, if any, was left as it was", err=True)
    if built.rejected is not None:
        plain.say(f"  to see which layer: mlship blame {built.rejected.directory}", err=True)
