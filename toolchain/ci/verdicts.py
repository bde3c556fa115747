"""The words for what came of a check: programs read these, and never the sentences."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["passed", "warned", "failed", "skipped"]
CheckKind = Literal["bundle", "parity", "picture", "budget", "lock"]
"""Whether a bundle is there, equals PyTorch, looks as it did, keeps a limit, is as locked."""
Cause = Literal[
    "",
    "not-built",
    "tool-failed",
    "removed",
    "differs",
    "not-run",
    "over-limit",
    "no-baseline",
    "other-machine",
    "not-measured",
    "changed",
    "new",
]
"""Why a check did not pass; "" for one that did. `tool-failed`: a bundle was not built, and no
input is to blame. `removed`: the baseline, or the golden pictures,
have what nothing makes any more. `new`: a picture without a golden one. `other-machine`: the
baseline's milliseconds are of another one."""
