"""Which weights a bundle was built with: a file's, those of a module in memory, or none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolchain.bundle.files import file_digest


@dataclass(frozen=True)
class WeightsOrigin:
    """Where weights came from; `file` and `sha256` are of a file, and empty otherwise.

    "untrained" is what PyTorch fills a module with under seed 0. As a text it is a line for people.
    """

    kind: Literal["file", "untrained", "module"]
    file: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        if self.kind == "file":
            if not self.file or not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
                raise ValueError("weights of a file need its name and its SHA-256")
        elif self.file or self.sha256:
            raise ValueError(f"weights of kind '{self.kind}' are of no file")

    @classmethod
    def of(cls, path: Path | None) -> WeightsOrigin:
        """That of a file on disk, or of a model without one."""
        return cls("file", path.name, file_digest(path)) if path else UNTRAINED

    def __str__(self) -> str:
        if self.kind == "file":
            return f"{self.file}, sha256 {self.sha256}"
        return SENTENCES[self.kind]


UNTRAINED = WeightsOrigin("untrained")
IN_MEMORY = WeightsOrigin("module")
SENTENCES = {"untrained": "untrained, seed 0", "module": "those of the module in memory"}
"""What is said of weights that no file holds."""
