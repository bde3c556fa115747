"""`mlship sign`: who vouches for a bundle, and what it was made of."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.command import command, print_result
from toolchain.cli.options import PROJECT


@command
@click.argument("bundles", nargs=-1, required=True, type=Path, metavar="BUNDLE...")
@click.option(
    "--key", required=True, type=Path, help="The private key: PEM, of a curve, no password."
)
@click.option("--certificate", type=Path, help="Which vouches for the key, in PEM.")
@click.option(
    "--chain", multiple=True, type=Path, help="What vouches for the certificate; may be repeated."
)
@PROJECT
def sign(
    bundles: tuple[Path, ...],
    key: Path,
    certificate: Path | None,
    chain: tuple[Path, ...],
    project: Path,
    as_json: bool,
) -> int:
    """Sign each BUNDLE; say what it is made of (CycloneDX) and how it came to be (in-toto).

    All is written beside it, into BUNDLE.sigs, and nothing is sent anywhere. Where the project has
    an mlship.lock, a bundle that is not as locked is refused.
    """
    from toolchain.signing import sign
    from toolchain.signing.keys import SigningKey

    own = SigningKey(key, certificate, chain)
    made = [{"bundle": str(one), "signature": str(sign.sign(one, own, project))} for one in bundles]
    text = "\n".join(f"signed {one['bundle']}: {one['signature']}" for one in made)
    return print_result(made, text, as_json)
