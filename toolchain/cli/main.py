"""The command line's front door: the table of its commands, and the program itself."""

from __future__ import annotations

import atexit
import os
import signal
import sys

import click

from model_defs.installation import VERSION
from toolchain.bundle.home import cache_home
from toolchain.cli.command import EXIT_CODES, print_defect
from toolchain.cli.group import LazyGroup

COMMANDS = {
    "Build": {
        "build": "toolchain.cli.build:build",
        "matrix": "toolchain.cli.matrix:matrix",
        "spec": "toolchain.cli.spec:spec",
        "list": "toolchain.cli.list:list_",
        "inspect": "toolchain.cli.inspect:inspect",
        "size": "toolchain.cli.size:size",
        "run": "toolchain.cli.run:run",
        "apply": "toolchain.cli.apply:apply",
    },
    "Prove": {
        "parity": "toolchain.cli.parity:parity",
        "blame": "toolchain.cli.blame:blame",
        "audit": "toolchain.cli.audit:audit",
        "bench": "toolchain.cli.bench:bench",
        "eval": "toolchain.cli.eval:eval_",
    },
    "Make smaller": {
        "shrink": "toolchain.cli.shrink:shrink",
        "sensitivity": "toolchain.cli.sensitivity:sensitivity",
        "prune": "toolchain.cli.prune:prune",
        "train": "toolchain.cli.train:train",
        "sweep": "toolchain.cli.sweep:sweep",
    },
    "Keep a project": {
        "init": "toolchain.cli.init:init",
        "ci": "toolchain.cli.ci:ci",
        "approve": "toolchain.cli.approve:approve",
        "diff": "toolchain.cli.diff:diff",
        "lock": "toolchain.cli.lock:lock",
        "sign": "toolchain.cli.sign:sign",
        "verify": "toolchain.cli.verify:verify",
        "upgrade": "toolchain.cli.upgrade:upgrade",
    },
    "This machine": {
        "doctor": "toolchain.cli.doctor:doctor",
        "cache": "toolchain.cli.cache:cache",
    },
}
"""By the help's headings: the name of each command, and where it is."""


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(VERSION, message="mlship %(version)s")
def main() -> None:
    """Takes PyTorch vision models to phones and browsers, and proves that they arrived."""


def _end(number: int, frame: object) -> None:
    """Asked to end: the processes that we started go, and all that waits for them hears of it."""
    del frame
    children = sys.modules.get("converters.processes.children")
    if children is not None:
        children.end_all()
    raise SystemExit(128 + number)


def program() -> None:
    """The program `mlship`: main, then gone at once.

    PyTorch takes up to 0.7 s to take itself apart, of a build that takes 5 s.
    """
    # Whoever imports torch.export makes this folder, and would make it in TMPDIR.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_home() / "inductor"))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except Exception as error:  # a command's file cannot be imported
        code = print_defect(error, as_json=False, step="starting mlship")
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    program()
