"""`mlship ci`: a project's bundles against its budgets and its baseline."""

from __future__ import annotations

import os
from pathlib import Path

import click

from toolchain.cli.command import command, print_json
from toolchain.cli.options import PROJECT, REPORT, REPORTS
from toolchain.report import plain


@command
@PROJECT
@click.option(
    "--baseline", metavar="FILE|REV", help="A file, or a git revision whose baseline is meant."
)
@click.option("--update-baseline", "update", is_flag=True, help="Make what there is the baseline.")
@REPORT
@click.option("--full", is_flag=True, help="Time as long as mlship bench --full.")
@click.option("--fresh", is_flag=True, help="Build and prove all anew, whatever is in the cache.")
@click.option("--retime", is_flag=True, help="Time also the bundles that have not changed.")
def ci(
    project: Path,
    baseline: str | None,
    update: bool,
    report: Path | None,
    full: bool,
    fresh: bool,
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
        mode = MODES["full" if full else "quick"]
        ran = run.run(found, before, mode, again=retime, fresh=fresh, say=say)
    if update:
        ran = update_baseline.updated(found, ran)
    folder = report or found.folder / REPORTS
    ci_files.write(folder, ran)
    _say(ran, folder, as_json)
    return ran.exit_code


def _say(ran: object, folder: Path, as_json: bool) -> None:
    from toolchain.bundle.files import writing
    from toolchain.ci.run import CiRun
    from toolchain.report import ci_markdown, ci_text, terminal

    assert isinstance(ran, CiRun)
    if as_json:
        print_json(ran.to_json())
    else:
        terminal.show(ci_text.terminal_table(ran))
        for check in ci_text.worse(ran):
            colour = {"failed": "red", "warned": "yellow"}.get(check.verdict)
            plain.say(check.sentence, fg=colour, err=check.verdict == "failed")
        plain.say(f"{ci_text.headline(ran)}; see {folder / 'report.html'}")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in ci_text.workflow_commands(ran):
            click.echo(line, err=as_json)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with writing(Path(summary)), open(summary, "a", encoding="utf-8") as file:
            file.write(ci_markdown.markdown(ran))
