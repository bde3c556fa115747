"""What everything else knows of a file format, in one record.

Each format's package writes its own, as one literal; `converters.formats.FORMATS` lists them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from model_defs.errors import BackendUnavailable, reading_file

if TYPE_CHECKING:
    from converters.api import Artifact, Runner

Named = str | Callable[..., Any]
"""A function, or where it lies: "module:attribute", so that a table of them imports nothing.

What is above `converters` can only be named so: the rooms import in one direction.
"""

Source = Literal["torchscript", "onnx"]
"""What formats are made from."""

SYSTEMS = {"darwin": "macOS"}

ACTIVATIONS = "-activations"
"""What the type of integers is called that a format computes with."""

BLOCKS = "-blocks"
"""What the type of integers is called that have a scale for each block."""


def resolve(named: Named) -> Any:
    """What was named, its module imported."""
    if not isinstance(named, str):
        return named
    module, _, attribute = named.partition(":")
    return getattr(import_module(module), attribute)


def named(function: Named) -> str:
    """Where a function lies, for another process; the inverse of `resolve`."""
    if isinstance(function, str):
        return function
    return f"{function.__module__}:{function.__qualname__}"


def nothing() -> tuple[()]:
    """Needs nothing, prepares nothing."""
    return ()


@dataclass(frozen=True)
class Backend:
    """A runtime that opens artifacts of one format.

    `opener` takes an artifact and the `options`. `half` computes in float16 whatever the file
    stores, `rounds` does where the file declares it: what they compute says how accurate a file is,
    and not whether its numbers are the program's. `as_declared` shows values in the types that the
    file declares, float16 among them. `pace` is about how many GMAC a second it
    does on two cores (measured; see `benchmarks.studies.zoo_parity`), from which follows how many
    cases it is given. `slow` takes seconds for what others do in milliseconds:
    an emulated GPU, kernels written to be read. `system` is the only `sys.platform` that has it;
    `needs` looks for the programs that it runs. `watch` shows what it computes in between, where
    it can: see `converters.intermediates.guide`. `format` is filled in by the table of backends.
    """

    name: str
    summary: str
    opener: Named
    pace: float
    options: tuple[str, ...] = ()
    half: bool = False
    rounds: bool = False
    as_declared: bool = False
    slow: bool = False
    system: str = ""
    needs: Named = nothing
    watch: Named | None = None
    format: str = ""

    def in_float32(self, precision: str) -> bool:
        """Whether it computes all of an artifact of this precision in float32, to rounding."""
        return not (self.half or (self.rounds and precision != "float32"))

    def open(self, artifact: Artifact) -> Runner:
        """The artifact, loaded; BackendUnavailable on another system or without the runtime."""
        self.look()
        with reading_file(artifact.path):
            runner: Runner = resolve(self.opener)(artifact, *self.options)
        return runner

    def look(self) -> None:
        """BackendUnavailable where this machine cannot run it, as far as can be seen from here."""
        if self.system and sys.platform != self.system:
            raise BackendUnavailable(
                f"{self.name} runs on {SYSTEMS.get(self.system, self.system)} only",
                do="record there, compare here: mlship parity BUNDLE --record FILE",
            )
        resolve(self.needs)()


@dataclass(frozen=True)
class Format:
    """A file format, and the platform that it is for.

    `convert(export, directory, **options)` writes an artifact out of the export's `source`; it
    runs in a process of its own, which calls `preload` ahead. `open_runner(artifact)` is the
    backend that a build is proved on; `prepare` starts its process ahead. `backends` are all of
    them, the main one first.

    `contents(path)` yields an Item for each constant, named layer/tensor, `numbers(artifact)` a
    StoredConstant for each one of floats. `packings` are the ways
    in which the platform ships a file (a key of `benchmarks.measure.size.PACKINGS`), the first of
    which budgets mean. `runtimes` names the `Runtime`s that time it, `tools` the distributions
    whose versions decide its bytes, `loading` the files of `toolchain/clients` that a bundle
    carries: code for an app.

    `stores` are the types in which it holds weights that it computes with in float32, and those
    in which it computes. It `pads` types of fewer bits to a byte: they are smaller once they are
    compressed, as a server does when it sends them. `vias` are the lowerings that it can come
    from, the first by default; `compute_units` where an app may let it compute; `partitions` how
    a delegate cuts up a file, where it has one. `merge(artifact, further)` makes one file of those
    of several sizes, in the place of the first: `further` are artifacts by the names of the sizes.
    """

    name: str
    target: str
    summary: str
    suffix: str
    source: Source
    convert: Named
    open_runner: Named
    contents: Named
    numbers: Named
    backends: tuple[Backend, ...]
    runtimes: str
    packings: tuple[str, ...]
    tools: tuple[str, ...]
    preload: Named = nothing
    prepare: Named = nothing
    loading: tuple[str, ...] = ()
    stores: tuple[str, ...] = ("float32", "float16")
    pads: tuple[str, ...] = ()
    vias: tuple[str, ...] = ()
    compute_units: tuple[str, ...] = ()
    partitions: Named | None = None
    merge: Named | None = None

    @property
    def holds(self) -> tuple[str, ...]:
        """All types whose numbers are the same in its files."""
        return self.stores + self.pads
