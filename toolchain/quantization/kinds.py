"""The types that the kernel of one layer may be given by itself."""

from __future__ import annotations

from toolchain.quantization.grids import Choose, symmetric
from toolchain.quantization.palettes import chooser

KINDS: dict[str, Choose] = {
    **{name: symmetric(name) for name in ("int8", "int6", "int4")},
    **{f"palette{bits}": chooser(bits, {}) for bits in (8, 6, 4, 3, 2)},
}
"""The types that a layer may be given, and how its grid is then chosen."""
