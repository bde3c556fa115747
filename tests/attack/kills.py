"""Kills: a command is ended by the system, at a random moment or at each rename, and what it was
writing is then the old or the new, whole.

Each command is run on a project that an older state of the model has been through, so that all that
it writes is there already.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from own_models import tiny
from PIL import Image
from safetensors import safe_open

from model_defs.installation import FOLDER
from toolchain.bundle import bundle as bundles

CONFIG = """
[project]
targets = ["android", "web"]

[models.tiny]
spec = "net.py:spec"

[budgets]
disk = "1 MB"
"""
TASK = (FOLDER / "tests" / "attack" / "task.py.txt").read_text(encoding="utf-8")
HOOK = """
import os, signal, sys
from toolchain.bundle import files, folders
at, count, log = int(sys.argv.pop(1)), 0, sys.argv.pop(1)
def seen(event, arguments):
    global count
    if event in ("os.rename", "os.link"):
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        with open(log, "w") as file:
            file.write(str(count))
sys.addaudithook(seen)
exchange = files.exchange
def exchanged(one, other):
    seen("os.rename", ())
    return exchange(one, other)
folders.exchange = exchanged
from toolchain.cli.main import program
program()
"""
"""Runs a command, and kills itself at the N-th time that something changes its name."""


@dataclass(frozen=True)
class Victim:
    """A command, and what it writes: folders of bundles and files, by their patterns."""

    name: str
    words: tuple[str, ...]
    writes: tuple[str, ...]
    first: tuple[tuple[str, ...], ...] = ()
    """Commands that make the old state, where it is not the command itself."""
    before: tuple[tuple[str, ...], ...] = ()
    """Commands that are run on the old state, when the model is the new one."""


VICTIMS = (
    Victim("build", ("build", "net.py:spec", "--target", "all"), ("dist/tiny-*",)),
    Victim("lock", ("lock",), ("dist/tiny-*", "mlship.lock")),
    Victim(
        "ci",
        ("ci", "--update-baseline"),
        ("dist/tiny-*", "mlship.baseline.json", "mlship-report/*.*"),
    ),
    Victim(
        "approve", ("approve",), ("snapshots/**/*.png", "mlship-report/**/index.json"), (("ci",),)
    ),
    Victim(
        "train",
        ("train", "task.py:task", "--steps", "40", "--every", "4", "--out", "trained", "--resume"),
        ("trained/checkpoint.pt", "trained/*.safetensors"),
        first=(("list",),),
    ),
    Victim(
        "shrink",
        ("shrink", "net.py:spec", "--target", "android", "--max-bytes", "4kB"),
        ("dist/tiny-*", "dist/*.json"),
    ),
    Victim(
        "sign",
        ("sign", "dist/tiny-android", "--key", "key.pem"),
        ("dist/*.sigs",),
        first=(
            ("build", "net.py:spec", "--target", "android"),
            ("sign", "dist/tiny-android", "--key", "key.pem"),
        ),
    ),
)


def whole(path: Path) -> bool:
    """Whether a file, or a bundle, is what its name says, to its end."""
    if path.is_dir():
        if (path / "manifest.json").exists():
            return bool(bundles.read(path))
        return all(whole(one) for one in path.rglob("*") if one.is_file())
    return READERS[path.suffix](path)


def _html(path: Path) -> bool:
    return path.read_text().rstrip().endswith("</html>")


def _checkpoint(path: Path) -> bool:
    import torch

    return bool(torch.load(path, weights_only=True))


def _tensors(path: Path) -> bool:
    with safe_open(path, "numpy") as file:
        return all(file.get_tensor(name) is not None for name in file.keys())  # noqa: SIM118


def _picture(path: Path) -> bool:
    with Image.open(path) as picture:
        picture.load()
    return True


def _json(path: Path) -> bool:
    json.loads(path.read_text())
    return True


READERS: Mapping[str, Callable[[Path], bool]] = {
    ".json": _json,
    ".lock": _json,
    ".sig": _json,
    ".html": _html,
    ".md": lambda path: path.read_text().endswith("\n"),
    ".xml": lambda path: bool(ElementTree.parse(path)),
    ".png": _picture,
    ".pt": _checkpoint,
    ".safetensors": _tensors,
}


@dataclass
class KillCounts:
    """What came of the kills of one command."""

    name: str
    kills: int = 0
    ended: int = 0
    """Trials that were over before the kill."""
    fell: list[str] = field(default_factory=list)


class Trials:
    """Kills of one command, each on a copy of the same project."""

    def __init__(self, victim: Victim, root: Path, seed: int = 0) -> None:
        self.victim, self._root = victim, root
        self._random = random.Random(f"{victim.name} {seed}")
        self._old = root / "old"
        self._prepare()
        start = time.monotonic()
        fresh = self._copy("measure")
        self._run(fresh, at=0).wait()
        self.seconds = time.monotonic() - start
        self.renames = int((fresh / ".renames").read_text())
        self._there = [p.relative_to(self._old) for p in self._written(self._old)]

    def _prepare(self) -> None:
        self._old.mkdir(parents=True)
        (self._old / "net.py").write_text(tiny())
        (self._old / "task.py").write_text(TASK)
        (self._old / "mlship.toml").write_text(CONFIG)
        _key(self._old / "key.pem")
        for words in self.victim.first or (self.victim.words,):
            self._mlship(self._old, *words)
        if self.victim.name == "train":  # to its first checkpoints
            self._run(self._old, at=3, words=self.victim.words[:-1]).wait()
        (self._old / "net.py").write_text(tiny("x * 1.25"))
        for words in self.victim.before:
            self._mlship(self._old, *words)

    def at_each_rename(self, most: int = 100) -> KillCounts:
        """Kills it right before each change of a name."""
        counts = KillCounts(self.victim.name)
        for number in list(range(1, self.renames + 1))[:most]:
            self._try(counts, at=number)
        return counts

    def at_random(self, count: int) -> KillCounts:
        """Kills it at moments of its run."""
        counts = KillCounts(self.victim.name)
        for _ in range(count):
            self._try(counts, after=self._random.uniform(0, self.seconds))
        return counts

    def _try(self, counts: KillCounts, *, at: int = 0, after: float | None = None) -> None:
        folder = self._copy("try")
        process = self._run(folder, at=at)
        if after is not None:
            try:
                process.wait(after)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
        killed = process.wait() == -signal.SIGKILL
        counts.kills += killed
        counts.ended += not killed
        moment = f"rename {at}" if at else f"{after:.2f} s"
        counts.fell += [f"{self.victim.name} at {moment}: {said}" for said in self._torn(folder)]

    def _torn(self, folder: Path) -> Iterator[str]:
        for name in self._there:
            if not (folder / name).exists():
                yield f"{name} is gone"
        for path in self._written(folder):
            try:
                good = whole(path)
            except Exception as error:  # whatever a reader says of half a file
                yield f"{path.relative_to(folder)}: {type(error).__name__}: {error}"
                continue
            if not good:
                yield f"{path.relative_to(folder)} is not whole"

    def left(self) -> list[str]:
        """What is left of the last trial after the command has run to its end, and who runs on."""
        folder, temporary = self._root / "try", self._root / "tmp"
        self._run(folder, at=0).wait()
        found = [str(p.relative_to(folder)) for p in folder.rglob(".*") if p.name not in ALLOWED]
        return [*found, *orphans(temporary), *map("TMPDIR/{}".format, os.listdir(temporary))]

    def _written(self, folder: Path) -> list[Path]:
        return sorted({path for pattern in self.victim.writes for path in folder.glob(pattern)})

    def _copy(self, name: str) -> Path:
        shutil.rmtree(self._root / name, ignore_errors=True)
        return Path(shutil.copytree(self._old, self._root / name, symlinks=True))

    def _run(self, folder: Path, at: int, words: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        hook = ["-c", HOOK, str(at), str(folder / ".renames")]
        with (folder / ".said").open("w") as said:
            return subprocess.Popen(
                [sys.executable, *hook, *(words or self.victim.words)],
                cwd=folder,
                env=self._environment(folder),
                stdout=said,
                stderr=said,
            )

    def _mlship(self, folder: Path, *words: str) -> None:
        command = [sys.executable, "-m", "toolchain.cli.main", *words]
        done = subprocess.run(
            command, cwd=folder, env=self._environment(folder), capture_output=True, text=True
        )
        assert done.returncode in (0, 1, 3), done.stderr

    def _environment(self, folder: Path) -> dict[str, str]:
        temporary = self._root / "tmp"
        temporary.mkdir(exist_ok=True)
        return {
            **os.environ,
            "PYTHONPATH": str(FOLDER),
            "TMPDIR": str(temporary),
            "MLSHIP_CACHE": str(folder / "cache"),
        }


ALLOWED = (".renames", ".said")
PATIENCE = 5.0
"""Seconds in which what a killed process has started must be gone."""


def orphans(temporary: Path) -> list[str]:
    """Processes that were started with this TMPDIR and have not ended in time (Linux)."""
    end = time.monotonic() + PATIENCE
    while (found := _running(f"TMPDIR={temporary}")) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def _running(variable: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
            if variable.encode() in (process / "environ").read_bytes().split(b"\0"):
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append(f"process {process.name}: {words}")
    return found


def _key(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
