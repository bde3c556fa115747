"""Units of figures: how a number of them is read, and how it is shown. The one home of both."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

AMOUNT = re.compile(r"(?P<number>-?\d+(?:\.\d+)?)\s*(?P<unit>\S+)")
"""`4 MB`, `1%`."""


@dataclass(frozen=True)
class Unit:
    """How a limit is written: the factors of its units; `bare`, whether a number alone will do."""

    factors: Mapping[str, float]
    bare: bool
    example: str
    show: Callable[[float], str]

    def read(self, written: Any) -> float | None:
        """The figure in the unit's base; None for what is not written as one."""
        if isinstance(written, bool):
            return None
        if isinstance(written, int | float):
            return float(written) if self.bare else None
        found = AMOUNT.fullmatch(written) if isinstance(written, str) else None
        factors = {name.casefold(): factor for name, factor in self.factors.items()}
        if found is None or found["unit"].casefold() not in factors:
            return None
        return float(found["number"]) * factors[found["unit"].casefold()]

    def parse(self, text: str) -> float | None:
        """The same of a command line, where a number is a text, too."""
        try:
            return self.read(float(text))
        except ValueError:
            return self.read(text.strip())


def bytes_text(value: float) -> str:
    """Bytes to read, in powers of 1000: 15.83 MB, 31.4 kB."""
    if value < 1e3:
        return f"{value:.0f} B"
    if value < 1e9:
        return f"{value / 1e3:.1f} kB" if value < 1e6 else f"{value / 1e6:.2f} MB"
    return f"{value / 1e9:.2f} GB"


def ms_text(ms: float) -> str:
    """Milliseconds to read: two digits after the point, or as many as show three that count."""
    return f"{ms:.3g}" if 0 < ms < 1 else f"{ms:.2f}"


BYTES = Unit(
    {"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1024, "MiB": 1024**2},
    True,
    '"4 MB"',
    bytes_text,
)
TIME = Unit({"us": 1e-3, "ms": 1, "s": 1e3}, False, '"12 ms"', lambda v: f"{ms_text(v)} ms")
SHARE = Unit({"%": 0.01}, True, '"1 %"', lambda v: f"{v:.2%}")
RATIO = Unit({"x": 1}, True, "1.10", lambda v: f"{v:.2f}x")
DECIBEL = Unit({"dB": 1}, True, "40", lambda v: f"{v:.1f} dB")
NUMBER = Unit({}, True, "0.05", lambda v: f"{v:.4g}")
