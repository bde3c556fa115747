"""The whole of `mlship blame`: find, compare layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

from converters.progress import Say
from toolchain.build.on_demand import Named, Wanted, each
from toolchain.build.request import Built
from toolchain.debug.blame import Blame, blame


def run(
    names: Sequence[Named], wanted: Wanted, chosen: Sequence[str], say: Say
) -> tuple[list[Blame], list[Built]]:
    """What is to blame in each bundle, and what could not be built."""
    return each(names, wanted, lambda subject: blame(subject, chosen, say=say), say)
