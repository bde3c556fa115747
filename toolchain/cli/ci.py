"""`mlship init`, `ci`, `approve`, `diff`: a project of one's own and its checks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from toolchain.cli.command import command_of


def add_to(group: click.Group) -> None:
    """Adds the commands to a group."""
    for function in (init, ci, approve, diff):
        command_of(group)(function)


PROJECT = click.option(
    "--project", type=Path, default=Path(), help="The folder of mlship.toml, or a file."
)
REPORTS = "mlship-report"


@click.argument("folder", type=Path, default=Path())
def init(folder: Path, as_json: bool) -> int:
    """Write a project into FOLDER: mlship.toml, a model, a workflow for GitHub.

    Then: mlship ci --update-baseline, once, and mlship ci from then on.
    """
    from toolchain.ci import template

    written = template.init(folder)
    if as_json:
        click.echo(json.dumps([str(path) for path in written], indent=2))
    else:
        for path in written:
            click.echo(f"wrote {path}")
        click.echo("next: mlship ci --update-baseline")
    return 0


@PROJECT
@click.option(
    "--baseline", metavar="FILE|REV", help="A file, or a git revision whose baseline is meant."
)
@click.option("--update-baseline", "update", is_flag=True, help="Make what there is the baseline.")
@click.option("--report", type=Path, help="The folder of the reports.  [default: mlship-report]")
@click.option("--full", is_flag=True, help="Time as long as mlship bench --full.")
@click.option("--retime", is_flag=True, help="Time also the bundles that have not changed.")
def ci(
    project: Path,
    baseline: str | None,
    update: bool,
    report: Path | None,
    full: bool,
    retime: bool,
    as_json: bool,
) -> int:
    """Build a project's bundles, prove, weigh and time them, and hold them against its budgets.

    A budget that could not be checked is no success: exit code 3. Reports go to mlship-report:
    report.html, report.md for a pull request, junit.xml, report.json.
    """
    from benchmarks.measure.timing.session import MODES
    from toolchain.ci import config, run, update_baseline
    from toolchain.report import ci_files, terminal

    found = config.read(project)
    before = run.baseline_of(baseline, found)
    with terminal.progress() as say:
        ran = run.run(found, before, MODES["full" if full else "quick"], again=retime, say=say)
    if update:
        ran = update_baseline.updated(found, ran)
    folder = report or found.folder / REPORTS
    ci_files.write(folder, ran)
    _say(ran, folder, as_json)
    return ran.exit_code


def _say(ran: object, folder: Path, as_json: bool) -> None:
    from toolchain.bundle.bundle import writing
    from toolchain.ci.run import CiRun
    from toolchain.report import ci_text, terminal

    assert isinstance(ran, CiRun)
    if as_json:
        click.echo(json.dumps(ran.to_json(), indent=2))
    else:
        terminal.show(ci_text.terminal_table(ran))
        for check in ci_text.worse(ran):
            colour = {"failed": "red", "warned": "yellow"}.get(check.verdict)
            click.secho(check.sentence, fg=colour, err=check.verdict == "failed")
        click.echo(f"{ci_text.headline(ran)}; see {folder / 'report.html'}")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in ci_text.workflow_commands(ran):
            click.echo(line, err=as_json)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with writing(Path(summary)), open(summary, "a", encoding="utf-8") as file:
            file.write(ci_text.markdown(ran))


@click.argument("models", nargs=-1, metavar="[MODEL]...")
@PROJECT
@click.option("--report", type=Path, help="The folder of the reports.  [default: mlship-report]")
def approve(models: tuple[str, ...], project: Path, report: Path | None, as_json: bool) -> int:
    """Make the pictures that the last `mlship ci` saw the golden ones: of MODELs, or all.

    Look at them first: its report.html shows before, after and difference.
    """
    from toolchain.ci import config, snapshots

    found = config.read(project)
    accepted = snapshots.approve(found, report or found.folder / REPORTS, models)
    if as_json:
        click.echo(json.dumps([{"picture": f, "was": s} for f, s in accepted], indent=2))
    else:
        for file, state in accepted:
            click.echo(f"{'removed' if state == 'gone' else 'approved'} {file} ({state})")
        if not accepted:
            click.echo("nothing to approve: every picture is as its golden one")
    return 0


@click.argument("before", type=Path)
@click.argument("after", type=Path)
@click.option("--time", "timed", is_flag=True, help="Time two bundles side by side.")
def diff(before: Path, after: Path, timed: bool, as_json: bool) -> int:
    """Say what changed from BEFORE to AFTER: two bundles, or two baselines or report.json.

    Sizes, parity, latency, and the layers that explain it.
    """
    from toolchain.ci import diffing
    from toolchain.report import diff_table, terminal

    with terminal.progress() as say:
        found = diffing.between(before, after, timed=timed, say=say)
    if as_json:
        click.echo(json.dumps([one.to_json() for one in found], indent=2))
    else:
        diff_table.show(found)
    return 0
