"""Every rewrite of every target has a row of figures, and the page is made of them."""

from __future__ import annotations

import json

from benchmarks.studies import rewrites
from benchmarks.studies.rewrite_nets import NETS

RESULT = json.loads(rewrites.RESULTS.read_text(encoding="utf-8"))


def test_the_committed_page_is_current() -> None:
    assert rewrites.PAGE.read_text(encoding="utf-8") == rewrites.page(RESULT)


def test_every_rewrite_was_measured_on_every_target_that_has_it() -> None:
    wanted = [(target, title) for target, title, *_ in rewrites.rewrites()]
    assert [(row["target"], row["rewrite"]) for row in RESULT["rows"]] == wanted
    assert {title.split()[0] for _, title in wanted} == set(NETS)


def test_every_file_ran() -> None:
    assert all(set(row["ms"]) == {"with", "without"} for row in RESULT["rows"])


def test_a_rewrite_changes_the_file_that_is_timed(tmp_path: object) -> None:
    """A row that times the same file twice shows nothing."""
    for row in RESULT["rows"]:
        assert row["bytes"]["with"] != row["bytes"]["without"], row["rewrite"]
