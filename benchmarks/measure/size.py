"""What an artifact weighs: on disk, on the wire as its platform ships it, layer by layer."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from converters import formats
from converters.api import Artifact
from converters.contents import Item, contents, disk_bytes
from converters.encodings import BITS
from converters.tflite.names import PREFIX

SPEEDS = {"3G": 1.6e6, "4G": 9e6, "WiFi": 50e6}
"""Bits a second: Lighthouse's slow 4G (which it calls 3G-like), its 4G, a home network."""


@dataclass(frozen=True)
class LayerSize:
    """The tensors that one layer stores."""

    name: str
    bytes: int
    tensors: tuple[Item, ...]


@dataclass(frozen=True)
class SizeRow:
    """Bytes of one artifact. `ideal` is parameters times their stored width."""

    disk: int
    wire: dict[str, int]
    ideal: int
    items: tuple[Item, ...]

    @property
    def shipped(self) -> int:
        """Bytes on the wire, in the way that its platform prefers."""
        return next(iter(self.wire.values()))

    @property
    def kinds(self) -> dict[str, int]:
        """Bytes of weights, graph, metadata and padding."""
        counted: Counter[str] = Counter()
        for item in self.items:
            counted[item.kind] += item.bytes
        return dict(counted)

    @property
    def overhead(self) -> float:
        """Bytes on disk over the ideal: 1.0 is nothing but the numbers."""
        return self.disk / self.ideal

    @property
    def layers(self) -> tuple[LayerSize, ...]:
        """Weights by layer, the largest first."""
        grouped: dict[str, list[Item]] = {}
        for item in self.items:
            if item.kind == "weights":
                grouped.setdefault(layer_of(item.name), []).append(item)
        made = (LayerSize(k, sum(i.bytes for i in v), tuple(v)) for k, v in grouped.items())
        return tuple(sorted(made, key=lambda layer: (-layer.bytes, layer.name)))

    @property
    def duplicates(self) -> tuple[tuple[Item, ...], ...]:
        """Tensors of over 1 kB that are stored more than once, the most wasteful first."""
        same: dict[str, list[Item]] = {}
        for item in self.items:
            if item.bytes > 1000:
                same.setdefault(item.digest, []).append(item)
        found = [tuple(v) for k, v in same.items() if k and len(v) > 1]
        return tuple(sorted(found, key=lambda v: -v[0].bytes * (len(v) - 1)))

    def seconds(self, speed: str) -> float:
        """How long the download takes at one of SPEEDS."""
        return self.shipped * 8 / SPEEDS[speed]


def measure(artifact: Artifact, parameters: int) -> SizeRow:
    """Weigh an artifact on disk. `parameters` is the model's count, for the ideal."""
    wire = {way: PACKINGS[way](artifact.path) for way in formats.find(artifact.format).packings}
    ideal = parameters * BITS[artifact.precision] // 8
    return SizeRow(disk_bytes(artifact.path), wire, ideal, contents(artifact))


EXPRESSED = r"_(quantized|integers|sparse)(_\d+)?$"
"""What `converters.coreml.constants` adds to the name of a constant."""


def layer_of(name: str) -> str:
    """The layer that a stored tensor belongs to, from the name that its format gave it."""
    plain = re.sub(EXPRESSED, "", name).replace("_to_fp16", "").removeprefix(PREFIX)
    parts = [p for p in plain.split("/") if p]
    if len(parts) > 1:
        return "/".join(parts[:-1])
    return parts[0].removesuffix("_weight").removesuffix("_bias") if parts else name


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())


def _zip(path: Path) -> int:
    """One zip of all files, deflate at the usual level 6."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for file in _files(path):
            archive.write(file, file.relative_to(path.parent).as_posix())
    return buffer.tell()


def _gzip(path: Path) -> int:
    """Each file by itself at level 9."""
    return sum(len(gzip.compress(file.read_bytes(), 9, mtime=0)) for file in _files(path))


def _brotli(path: Path) -> int:
    """Each file by itself at quality 9: what build steps use where 11 takes too long."""
    import brotli

    return sum(len(brotli.compress(file.read_bytes(), quality=9)) for file in _files(path))


PACKINGS = {"zip": _zip, "gzip": _gzip, "brotli": _brotli}
"""How a platform ships a file. An .ipa and an Android bundle are zips (deflate); a web server
sends each file compressed. A format says which are its platform's."""
