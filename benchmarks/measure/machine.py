"""The machine that a measurement is of: figures of two machines are never compared."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from converters.processes import nodes

LIBRARIES = ("ai-edge-litert", "onnxruntime", "torch", "numpy", "coremltools")


@dataclass(frozen=True)
class Machine:
    """Processor and cores, memory in whole GiB, system, and the versions of what runs files."""

    processor: str
    memory: int
    system: str
    versions: dict[str, str]

    @property
    def fingerprint(self) -> str:
        """The same for two machines that may be compared."""
        text = repr(sorted(asdict(self).items())) + repr(sorted(self.versions.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __str__(self) -> str:
        return f"{self.processor}, {self.memory} GiB, {self.system} ({self.fingerprint})"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "fingerprint": self.fingerprint}


def processor() -> str:
    """This machine's processor and cores."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def this() -> Machine:
    """The machine that this runs on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    versions = {name: _version(name) for name in LIBRARIES}
    return Machine(
        processor(),
        round(memory / 2**30),
        system,
        {"python": platform.python_version(), "node": nodes.version() or "none", **versions},
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"
