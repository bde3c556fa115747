"""`mlship apply`: what the models are for, on a picture."""

from __future__ import annotations

import click

from toolchain.cli.command import EXIT_CODES
from toolchain.cli.group import LazyGroup

APPLICATIONS = {
    "Commands": {
        "bokeh": "toolchain.cli.applications.bokeh:bokeh",
        "crop": "toolchain.cli.applications.crop:crop",
        "grade": "toolchain.cli.applications.grade:grade",
        "inpaint": "toolchain.cli.applications.inpaint:inpaint",
        "portrait": "toolchain.cli.applications.portrait:portrait",
        "select": "toolchain.cli.applications.select:select",
        "sticker": "toolchain.cli.applications.sticker:sticker",
    }
}


@click.group(cls=LazyGroup, table=APPLICATIONS, epilog=EXIT_CODES)
def apply() -> None:
    """What the models are for, on a picture, with a bundle or the PyTorch model."""
