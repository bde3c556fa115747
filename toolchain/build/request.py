"""What is asked of a build, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from converters.lowering import DEFAULT_VIA, Via
from model_defs.errors import BadSpec, MlshipError, ParityFailed
from model_defs.spec import is_size
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.compute import Compute
from toolchain.bundle.parity_report import ParityReport
from toolchain.recipes.recipes import Recipe
from toolchain.recipes.targets import (
    DEFAULT_COMPUTE,
    Target,
    check_compute,
    check_recipe,
    check_via,
)

if TYPE_CHECKING:
    from model_defs.spec import ModelSpec
    from toolchain.recipes.pass_report import MakeEvaluator

LARGE = 100_000_000
"""Parameters from which on targets are built one after the other: a converter holds its graph, and
with it all weights, up to ten times over (TFLite's: 12 GB of 304 M parameters)."""


@dataclass(frozen=True)
class BuildRequest:
    """Models to be built for targets, and how.

    A model is a name as `lookup.expand` returns it, or a specification that is in memory: its
    bundles are found again by what they are made of, never by name. `via` "onnx2tf" takes its
    lowering instead of ours, for TFLite and TF.js only. `compute` is written into Core ML
    bundles, whose loading code sets it. `evaluator` gives the model its metric after each pass, for
    the report of the passes. Weights are unpickled where `trust_pickle` says that they may. `sizes`
    are further ones of the first picture, and of inputs of its size, beside the specification's.
    `state` is that of a model whose specification says none, as a file's. `fresh`: nothing is taken
    from the cache, and what is built takes the place of what it has.

    Raises UnsupportedOption for what the targets cannot do, BadSpec for what is no size.
    """

    models: tuple[str | ModelSpec, ...]
    targets: tuple[Target, ...]
    recipe: Recipe
    weights: Path | None = None
    out: Path = Path("dist")
    via: Via = DEFAULT_VIA
    compute: Compute = DEFAULT_COMPUTE
    evaluator: MakeEvaluator | None = None
    trust_pickle: bool = False
    sizes: tuple[tuple[int, int], ...] = ()
    state: Mapping[str, str] = field(default_factory=dict, hash=False)
    fresh: bool = False

    def __post_init__(self) -> None:
        for size in self.sizes:
            if not is_size(size):
                raise BadSpec(f"{size!r} is no size", do="give heights and widths: (512, 512)")
        check_via(self.targets, self.via)
        check_compute(self.targets, self.compute)
        check_recipe(self.targets, self.recipe)


def destination(out: Path, model: str, target: str) -> Path:
    """Where the bundle of a model for a target goes: `out/model-target`."""
    return out / f"{model}-{target}"


def title(model: str | ModelSpec) -> str:
    """What a model is called before it is loaded: its name, or its file and attribute."""
    return Path(model).name if isinstance(model, str) else model.name


@dataclass(frozen=True)
class Built:
    """What became of one model on one target: a bundle, a failed report, or an error.

    `rejected` is what a failed report is of, kept in the cache so that it can be looked into.
    `object` is the key under which the cache has the bundle.
    """

    model: str
    target: str
    bundle: Bundle | None = None
    report: ParityReport | None = None
    cached: bool = False
    error: MlshipError | None = None
    rejected: Bundle | None = None
    object: str = ""

    @property
    def ok(self) -> bool:
        """Whether it was built, and is equal to PyTorch."""
        return self.exit_code == 0

    @property
    def problems(self) -> tuple[str, ...]:
        """In which way it is not equal to PyTorch."""
        return tuple(self.report.problems) if self.report else ()

    @property
    def exit_code(self) -> int:
        if self.error is not None:
            return self.error.exit_code
        return 0 if self.bundle is not None else 1

    def shipped(self) -> Bundle:
        """The bundle; raises what kept it from being built, ParityFailed if it is not equal."""
        if self.error is not None:
            raise self.error
        if self.bundle is None:
            problems = "; ".join(self.report.problems if self.report else ())
            raise ParityFailed(
                f"{self.model}-{self.target} is not equal to PyTorch: {problems}",
                do=f"mlship build {self.model} --target {self.target} says where",
            )
        return self.bundle
