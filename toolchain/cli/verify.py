"""`mlship verify`: that what was locked gives the same bytes, or that a bundle is as signed."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli.command import command, print_json
from toolchain.cli.options import CLUSTER, PROJECT
from toolchain.report import plain


@command
@click.argument("bundles", nargs=-1, type=Path, metavar="[BUNDLE...]")
@PROJECT
@click.option("--rebuild", is_flag=True, help="Build all from nothing, and compare the bytes.")
@CLUSTER
@click.option("--key", type=Path, help="Of signed BUNDLEs: the signer's public key, in PEM.")
@click.option(
    "--certificate",
    "roots",
    multiple=True,
    type=Path,
    help="Of signed BUNDLEs: the root that vouches for the signer, in PEM; may be repeated.",
)
def verify(
    bundles: tuple[Path, ...],
    project: Path,
    rebuild: bool,
    cluster: str,
    key: Path | None,
    roots: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Compare a project's bundles and tools with mlship.lock.

    With --key or --certificate: hold each BUNDLE to its signature instead, without a network.
    """
    if bundles or key or roots:
        if not bundles or rebuild:
            raise click.UsageError("--key and --certificate are for BUNDLEs, without --rebuild")
        return _signed(bundles, key, roots, as_json)
    return _locked(project, rebuild, cluster, as_json)


def _signed(
    bundles: tuple[Path, ...], key: Path | None, roots: tuple[Path, ...], as_json: bool
) -> int:
    from toolchain.signing.keys import TrustedKey
    from toolchain.signing.verify import verify

    reports = [verify(one, TrustedKey(key, roots)) for one in bundles]
    if as_json:
        print_json([one.to_json() for one in reports])
    else:
        for one in reports:
            for bad in one.failures:
                said = f"{one.bundle}: {bad.what} is not as signed: {bad.note}"
                plain.say(said, fg="red", err=True)
            signer = f" by {one.signer}" if one.signer else ""
            if not one.failures:
                plain.say(f"{one.bundle}: signed{signer}, and whole")
    return 1 if any(one.failures for one in reports) else 0


def _locked(project: Path, rebuild: bool, cluster: str, as_json: bool) -> int:
    from toolchain.ci import config, lock
    from toolchain.cluster.connect import SERIAL, connect
    from toolchain.report import terminal

    found = config.read(project)
    with terminal.progress() as say, connect(cluster) as pool:
        workers = None if cluster == SERIAL else pool
        findings = lock.verify(found, rebuild=rebuild, say=say, pool=workers)
    bad = [one for one in findings if one.verdict == "failed"]
    skipped = [one for one in findings if one.verdict == "skipped"]
    if as_json:
        print_json([one.to_json() for one in findings])
    else:
        for one in bad:
            name = f"{one.bundle}: " if one.bundle else ""
            said = f"{name}{one.what} is not as locked: {one.found}, not {one.locked}"
            plain.say(said, fg="red", err=True)
        for one in skipped:
            said = f"{one.bundle}: {one.what} is not compared: {one.note}"
            plain.say(said, fg="yellow", err=True)
        how = "built again, " if rebuild else ""
        more = f", {len(skipped)} not compared" if skipped else ""
        good = len(findings) - len(bad) - len(skipped)
        plain.say(f"{how}{good} of {len(findings)} as locked{more}")
    return 1 if bad else 0
