"""Where Core ML may compute: what a bundle of it says, and its loading code sets."""

from __future__ import annotations

from typing import Literal

Compute = Literal["all", "cpu_only", "cpu_and_gpu", "cpu_and_ne"]
