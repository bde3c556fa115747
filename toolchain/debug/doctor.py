"""`mlship doctor`: what is installed, which backends run here, and what to do about the rest."""

from __future__ import annotations

import platform
import sys
import tomllib
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from converters.backends import BACKENDS
from converters.format import Backend
from converters.processes import nodes
from model_defs.errors import BackendUnavailable
from model_defs.installation import DISTRIBUTION, FOLDER, PREFIX
from toolchain.bundle.home import cache_home


@dataclass(frozen=True)
class EnvironmentCheck:
    """One thing that was looked for; `needed` by every build, or only by one backend."""

    what: str
    ok: bool
    found: str
    do: str = ""
    needed: bool = True

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def examine() -> list[EnvironmentCheck]:
    """Every package, program and backend, in the order of use. Imports none of them."""
    backends = map(_backend, BACKENDS.values())
    return [_python(), *_packages(), _node(), *backends, _cache()]


def _python() -> EnvironmentCheck:
    version = platform.python_version()
    ok = sys.version_info[:2] == (3, 11)
    return EnvironmentCheck(
        "Python", ok, version, "" if ok else "use Python 3.11: the converters pin it"
    )


def _packages() -> list[EnvironmentCheck]:
    """Each pinned dependency of this project, by its installed version."""
    wanted = dict(
        requirement.split(";")[0].split("==")
        for requirement in _requirements()
        if "==" in requirement and "extra" not in requirement
    )
    return [_package(name.strip(), version.strip()) for name, version in wanted.items()]


def _requirements() -> list[str]:
    """What this project asks for, as its metadata say; of a checkout, as its file says now."""
    if PREFIX:
        return metadata.requires(DISTRIBUTION) or []
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [str(requirement) for requirement in project["dependencies"]]


def _package(name: str, version: str) -> EnvironmentCheck:
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return EnvironmentCheck(name, False, "not installed", f"pip install {name}=={version}")
    same = found.split("+")[0] == version
    do = "" if same else f"tried with {version}: pip install {name}=={version}"
    return EnvironmentCheck(name, same, found, do)


def _node() -> EnvironmentCheck:
    what, version = "Node (target web)", nodes.version()
    if version is None:
        return EnvironmentCheck(
            what, False, "not found", f"install Node {nodes.VERSION}", needed=False
        )
    ok = version.split(".")[0].isdigit() and int(version.split(".")[0]) >= nodes.VERSION
    return EnvironmentCheck(
        what, ok, version, "" if ok else f"install Node {nodes.VERSION}", needed=False
    )


def _backend(backend: Backend) -> EnvironmentCheck:
    """Whether it can be started here, and what is missing; nothing is started."""
    what = f"backend {backend.name}"
    try:
        backend.look()
    except BackendUnavailable as error:
        return EnvironmentCheck(what, False, error.what, error.do, needed=False)
    return EnvironmentCheck(what, True, backend.summary, needed=False)


def _cache() -> EnvironmentCheck:
    home = cache_home()
    objects = home / "objects"
    count = len(list(objects.glob("*.json"))) if objects.is_dir() else 0
    found = f"{home}, {count} bundles"
    return EnvironmentCheck("cache", True, found, "mlship cache shows what is in it", needed=False)
