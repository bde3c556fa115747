"""`mlship spec`: the specification of a module, found by running it once, as Python to keep."""

from __future__ import annotations

from pathlib import Path

import click

from model_defs.spec import size_of
from toolchain.cli.command import command, print_json
from toolchain.cli.options import EXAMPLE, SIZES, TRUST_PICKLE


@command
@click.argument("model")
@EXAMPLE
@click.option("--name", help="The model's name, else that of its class.")
@click.option("--tolerance", type=float, help="The largest error that nobody sees.")
@click.option("--weights", type=Path, help="A .safetensors or .pt state dict.")
@SIZES
@TRUST_PICKLE
def spec(
    model: str,
    examples: tuple[str, ...],
    name: str | None,
    tolerance: float | None,
    weights: Path | None,
    sizes: tuple[str, ...],
    trust_pickle: bool,
    as_json: bool,
) -> int:
    """Print the specification of MODEL, path/to/file.py:Net, to be kept and changed.

    Net is a module, its class, or a function that makes it. It is run once, on an example:
    `mlship spec net.py:Net --example 1,3,224,224 > spec.py`, then `mlship build spec.py:spec`.
    """
    from converters.sizes import with_sizes
    from toolchain.build import own_module, spec_source

    found = own_module.describe(
        model,
        examples,
        name=name,
        tolerance=tolerance,
        weights=weights,
        trust_pickle=trust_pickle,
    )
    found = with_sizes(found, [size_of(text) for text in sizes])
    call = own_module.call_of(model, examples) if found.call is not None else ""
    text = spec_source.source(found, model, call, weights)
    if as_json:
        sides = (found.inputs, found.outputs)
        inputs, outputs = ([tensor.to_json() for tensor in side] for side in sides)
        print_json({"name": found.name, "inputs": inputs, "outputs": outputs, "source": text})
    else:
        click.echo(text, nl=False)
    return 0
