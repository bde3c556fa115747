"""Bundles that were built before, found by what they were built from.

    requests/<digest>.json      what was asked -> the files it read, and the key they led to
    objects/<key>/              a sealed bundle; the key is a digest of graph, weights, spec,
                                recipe, target, our source and the installed packages
    objects/<key>.json          the digest of its manifest
    rejected/<name>-<target>/   the last bundle of that name that was not equal to PyTorch
    conversions/<key>.json      a conversion of a model before any pass, and that it was right

A request whose files are unchanged is answered without importing torch. An object that is damaged,
or whose record was not signed here (see signature.py), is not used: it is built and proved again.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import platform
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.lowering import DEFAULT_VIA, Via
from model_defs.errors import BadBundle, BadRecord, CannotWrite
from model_defs.installation import FOLDER
from model_defs.spec import said_state, size_name
from toolchain.build import cache_size
from toolchain.bundle import bundle
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.compute import Compute
from toolchain.bundle.files import file_digest
from toolchain.bundle.home import cache_home
from toolchain.bundle.parity_report import ParityRow
from toolchain.recipes.targets import DEFAULT_COMPUTE, Target

if TYPE_CHECKING:
    from model_defs.spec import ModelSpec
    from toolchain.build.request import BuildRequest

log = logging.getLogger("mlship.cache")

OURS = ("model_defs", "converters", "toolchain")
SOURCES = (".py", ".mjs", ".json", ".safetensors", ".png")
SYSTEM = ("/proc", "/sys", "/dev", "/etc")


@dataclass(frozen=True)
class CacheQuery:
    """One bundle that a build needs: the model as typed, and how it is built.

    Files are absolute paths. `model` is "" where it is in memory and has no name: then no record
    leads to the bundle, and it is found by its content alone.
    """

    model: str
    target: str
    recipe: str
    weights: str = ""
    via: Via = DEFAULT_VIA
    compute: Compute = DEFAULT_COMPUTE
    metric: bool = False
    sizes: str = ""
    state: str = ""

    @classmethod
    def of(cls, model: str | ModelSpec, target: Target, request: BuildRequest) -> CacheQuery:
        """The query for one bundle of a request."""
        name = model if isinstance(model, str) else ""
        weights = str(request.weights.absolute()) if request.weights else ""
        compute = request.compute if target.made.compute_units else DEFAULT_COMPUTE
        recipe = request.recipe.on(target.name).key
        metric = request.evaluator is not None
        sizes = " ".join(map(size_name, request.sizes))
        state = said_state(request.state)
        how = (request.via, compute, metric, sizes, state)
        return cls(name, target.name, recipe, weights, *how)

    @property
    def how(self) -> list[str]:
        """What decides a bundle's bytes beside its model and weights."""
        how = [self.recipe, self.target, self.via, self.compute, str(self.metric)]
        return [*how, self.sizes, self.state]

    @property
    def digest(self) -> str:
        parts = [self.model, self.weights, *self.how, environment()]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@cache
def environment() -> str:
    """A digest of our own source, the installed packages, Python and the machine's kind."""
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(f"{path.relative_to(FOLDER)} {file_digest(path)}\n".encode())
    packages = {
        name
        for folder in map(Path, sys.path)
        # setuptools, once it is imported, puts what it carries in itself onto the path.
        if folder.is_dir() and folder.name != "_vendor"
        for name in os.listdir(folder)
        if name.endswith(".dist-info")
    }
    machine = (sys.version, platform.system(), platform.machine(), *sorted(packages))
    digest.update("\n".join(machine).encode())
    return digest.hexdigest()


def _sources() -> list[Path]:
    """Our own files that decide what is built, sorted."""
    found = []
    for room in OURS:
        for folder, inner, names in os.walk(FOLDER / room):
            inner[:] = [name for name in inner if name != "node_modules"]  # of 8000 files
            paths = (Path(folder, name) for name in names)
            found += [path for path in paths if path.suffix in SOURCES]
    return sorted(found)


def key(content: str, spec: dict[str, Any], query: CacheQuery) -> str:
    """The object's key: the digest of everything that decides its bytes."""
    parts = [content, spec, *query.how, environment()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def find(query: CacheQuery) -> Bundle | None:
    """The bundle of a query, if none of the files that its build read has changed since."""
    if not query.model:
        return None
    from toolchain.build import cache_record

    try:
        record = cache_record.read(cache_record.RequestRecord, _record(query))
        current = {path: file_digest(Path(path)) for path in record.inputs}
    except (OSError, BadRecord):
        return None
    return open_object(record.key) if current == record.inputs else None


def open_object(object_key: str) -> Bundle | None:
    """The object of a key, if it is whole and ours; any other is removed, and that is said."""
    directory = object_folder(object_key)
    if not directory.is_dir():
        return None
    try:
        found = _checked(directory)
        with contextlib.suppress(OSError):  # a cache may be read only
            os.utime(directory.with_suffix(".json"))
        return found
    except (BadBundle, BadRecord) as error:
        why = f"what the cache has of it is not used: {error.what} ({directory})"
        log.warning("built and proved again: %s", why)
        forget(object_key)
        return None


def forget(object_key: str) -> None:
    """Removes the object of a key, so that it is built again."""
    directory = object_folder(object_key)
    with contextlib.suppress(OSError):
        cache_size.remove((directory, directory.with_suffix(".json")))


def _checked(directory: Path) -> Bundle:
    """An object that is whole and was put there by us; BadBundle, BadRecord for any other."""
    from toolchain.build import cache_record

    found = bundle.read(directory)
    record = cache_record.read(cache_record.ObjectRecord, directory.with_suffix(".json"))
    if record.manifest != found.manifest.digest:
        raise BadRecord("its record is of another bundle", where=str(directory))
    return found


def find_object(wanted: Callable[[Bundle], bool]) -> Bundle | None:
    """The first object that is wanted, by its manifest, and whole and ours; None of none."""
    for record in sorted((cache_home() / "objects").glob("*.json")):
        with contextlib.suppress(BadBundle, BadRecord):
            if wanted(bundle.read_manifest(record.with_suffix(""))):
                return _checked(record.with_suffix(""))
    return None


def object_folder(object_key: str) -> Path:
    """Where the object of a key lies, if there is one; its record is beside it."""
    return cache_home() / "objects" / object_key


def adopt(object_key: str, found: Bundle) -> Bundle:
    """A bundle that is proved, as the object of a key; itself where the cache cannot be written."""
    with contextlib.suppress(OSError, CannotWrite):
        target = object_folder(object_key)
        if not target.exists():
            _store_object(target, found.directory)
        return Bundle(target, found.manifest)
    return found


def store(query: CacheQuery, inputs: frozenset[Path], object_key: str, built: Path) -> None:
    """Keep a copy of a sealed bundle. A cache that cannot be written is no error."""
    with contextlib.suppress(OSError, CannotWrite):
        from toolchain.build import cache_record

        target = object_folder(object_key)
        if not target.exists():
            _store_object(target, built)
            cache_size.keep_limit(target)
        if not query.model:
            return
        digests = {str(path): file_digest(path) for path in sorted(inputs)}
        record = cache_record.RequestRecord(inputs=digests, key=object_key)
        cache_record.write(_record(query), record)


def _store_object(target: Path, built: Path) -> None:
    """A copy of a sealed bundle, and its record: what is there without one is not used."""
    from toolchain.build import cache_record

    partial = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        shutil.copytree(built, partial)
        digest = bundle.read_manifest(partial).manifest.digest
        cache_record.write(target.with_suffix(".json"), cache_record.ObjectRecord(manifest=digest))
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def conversion_key(content: str, format_name: str, via: Via) -> str:
    """The key of a conversion without passes: the model, the format, our source and packages."""
    parts = [content, format_name, via, environment()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def find_conversion(conversion: str) -> tuple[ParityRow, ...] | None:
    """What a conversion was found to be, if it was right; None where it is not known."""
    from toolchain.build import cache_record

    try:
        path = _conversion(conversion)
        return cache_record.read(cache_record.ConversionRecord, path).rows
    except (OSError, BadRecord):
        return None


def store_conversion(conversion: str, rows: tuple[ParityRow, ...]) -> None:
    """Keep that a conversion is right. A cache that cannot be written is no error."""
    from toolchain.build import cache_record

    with contextlib.suppress(CannotWrite):
        record = cache_record.ConversionRecord(rows=rows)
        cache_record.write(_conversion(conversion), record)


def _conversion(conversion: str) -> Path:
    return cache_home() / "conversions" / f"{conversion}.json"


def keep_rejected(sealed: Bundle) -> Bundle | None:
    """A copy of a bundle that failed, the last of its name; None where it cannot be written."""
    target = cache_home() / "rejected" / f"{sealed.name}-{sealed.target}"
    with contextlib.suppress(OSError):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(sealed.directory, target)
        return Bundle(target, sealed.manifest)
    return None


def _record(query: CacheQuery) -> Path:
    return cache_home() / "requests" / f"{query.digest}.json"


_opened: set[str] | None = None


@cache
def _listen() -> None:
    """Add the hook, once for the process: none can be taken away again."""
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event == "open" and isinstance(arguments[0], str | os.PathLike):
        _opened.add(os.path.abspath(os.fspath(arguments[0])))


@contextlib.contextmanager
def recording() -> Iterator[set[Path]]:
    """Fills the set with the files, outside Python and this project, that were read inside.

    A model of a user's own is its file and all that it imports and opens; a change in any of
    them must be a cache miss. Compiled modules are counted as their source. One inside another:
    both notice.
    """
    global _opened
    found: set[Path] = set()
    _listen()
    around, _opened = _opened, set()
    try:
        with _safetensors_noticed(_opened):
            yield found
    finally:
        opened, _opened = _opened, around
        if around is not None:
            around |= opened
        imported = {getattr(module, "__file__", None) for module in [*sys.modules.values()]}
        paths = map(_source, opened | {name for name in imported if name})
        found |= {path for path in paths if path.is_file() and not _known(path)}


@contextlib.contextmanager
def _safetensors_noticed(opened: set[str]) -> Iterator[None]:
    """Safetensors opens files in Rust, out of the audit hook's sight."""
    from unittest import mock

    import safetensors.torch as library

    original = vars(library)["safe_open"]

    def noticed(filename: str | os.PathLike[str], *args: Any, **options: Any) -> Any:
        opened.add(os.path.abspath(os.fspath(filename)))
        return original(filename, *args, **options)

    with mock.patch.object(library, "safe_open", noticed):
        yield


def _source(opened: str) -> Path:
    if opened.endswith(".pyc"):
        with contextlib.suppress(ValueError):
            return Path(importlib.util.source_from_cache(opened))
    return Path(opened)


def _known(path: Path) -> bool:
    """Whether `environment` covers the file already, or it is the system's."""
    prefixes = (sys.prefix, sys.base_prefix, *SYSTEM, *(str(FOLDER / room) for room in OURS))
    return str(path).startswith(tuple(f"{prefix}{os.sep}" for prefix in prefixes))
