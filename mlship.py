"""mlship from Python: PyTorch vision models to phones and browsers, proved equal.

    import mlship
    built = mlship.convert(net, (torch.rand(1, 3, 224, 224),), targets="all")

Nothing is printed: what came of it is returned, and `say`, where one is given, is told what is
being done. Errors are MlshipError and the kinds below it. Importing this loads nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_defs.installation import VERSION, alias_rooms

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.measure.budgets import Budget as Budget
    from benchmarks.measure.size import SizeRow
    from converters.progress import Say
    from model_defs.errors import BackendUnavailable as BackendUnavailable
    from model_defs.errors import BadArtifact as BadArtifact
    from model_defs.errors import BadBundle as BadBundle
    from model_defs.errors import BadCheckpoint as BadCheckpoint
    from model_defs.errors import BadConfig as BadConfig
    from model_defs.errors import BadKey as BadKey
    from model_defs.errors import BadModule as BadModule
    from model_defs.errors import BadPath as BadPath
    from model_defs.errors import BadPicture as BadPicture
    from model_defs.errors import BadRecipe as BadRecipe
    from model_defs.errors import BadRecord as BadRecord
    from model_defs.errors import BadSignature as BadSignature
    from model_defs.errors import BadSpec as BadSpec
    from model_defs.errors import BadWeights as BadWeights
    from model_defs.errors import CannotWrite as CannotWrite
    from model_defs.errors import ClusterFailed as ClusterFailed
    from model_defs.errors import ConversionFailed as ConversionFailed
    from model_defs.errors import GoalOutOfReach as GoalOutOfReach
    from model_defs.errors import InternalError as InternalError
    from model_defs.errors import MlshipError as MlshipError
    from model_defs.errors import ParityFailed as ParityFailed
    from model_defs.errors import PassFailed as PassFailed
    from model_defs.errors import RecipeMismatch as RecipeMismatch
    from model_defs.errors import TrainingDiverged as TrainingDiverged
    from model_defs.errors import UnknownName as UnknownName
    from model_defs.errors import UnsupportedOperation as UnsupportedOperation
    from model_defs.errors import UnsupportedOption as UnsupportedOption
    from model_defs.spec import ModelSpec as ModelSpec
    from model_defs.spec import Postprocess as Postprocess
    from model_defs.spec import Preprocess as Preprocess
    from model_defs.spec import Product as Product
    from model_defs.spec import TensorSpec as TensorSpec
    from toolchain.applications.model import Model as Model
    from toolchain.bench.run import BenchRun
    from toolchain.build.judge import ParityRun
    from toolchain.build.on_demand import Named, Wanted
    from toolchain.build.request import Built as Built
    from toolchain.bundle.bundle import Bundle as Bundle
    from toolchain.data.task import Task as Task
    from toolchain.debug.audit import Audited
    from toolchain.debug.blame import Blame
    from toolchain.recipes.recipes import Recipe as Recipe
    from toolchain.recipes.targets import Target

    Models = str | Path | ModelSpec | Product
    Bundles = str | Path | Bundle | Built | Model
    Subjects = Models | Bundles

__version__ = VERSION

alias_rooms()

HOMES: dict[str, tuple[str, ...]] = {
    "benchmarks.measure.budgets": ("Budget",),
    "model_defs.errors": (
        *("BackendUnavailable", "BadArtifact", "BadBundle", "BadCheckpoint", "BadConfig"),
        *("BadKey", "BadSignature"),
        *("BadModule", "BadPath", "BadPicture", "BadRecipe", "BadRecord", "BadSpec", "BadWeights"),
        *("CannotWrite", "ClusterFailed", "ConversionFailed", "GoalOutOfReach", "InternalError"),
        *("MlshipError",),
        *("ParityFailed", "PassFailed", "RecipeMismatch", "TrainingDiverged", "UnknownName"),
        *("UnsupportedOperation", "UnsupportedOption"),
    ),
    "model_defs.spec": ("ModelSpec", "Postprocess", "Preprocess", "Product", "TensorSpec"),
    "toolchain.applications.model": ("Model",),
    "toolchain.build.request": ("Built",),
    "toolchain.bundle.bundle": ("Bundle",),
    "toolchain.data.task": ("Task",),
    "toolchain.recipes.recipes": ("Recipe",),
}
"""Where the types are that are imported when they are first asked for."""

__all__ = [
    *("audit", "bench", "blame", "build", "convert", "describe", "load", "parity", "size"),
    *("BackendUnavailable", "BadArtifact", "BadBundle", "BadCheckpoint", "BadConfig"),
    *("BadKey", "BadSignature"),
    *("BadModule", "BadPath", "BadPicture", "BadRecipe", "BadRecord", "BadSpec", "BadWeights"),
    *(
        "Budget",
        "Built",
        "Bundle",
        "CannotWrite",
        "ClusterFailed",
        "ConversionFailed",
        "GoalOutOfReach",
    ),
    *("InternalError", "MlshipError", "Model", "ModelSpec", "ParityFailed", "PassFailed"),
    *("Postprocess", "Preprocess", "Product", "Recipe", "RecipeMismatch", "Task", "TensorSpec"),
    *("TrainingDiverged", "UnknownName", "UnsupportedOperation", "UnsupportedOption"),
]


def __getattr__(name: str) -> object:
    for home, names in HOMES.items():
        if name in names:
            found = globals()[name] = getattr(import_module(home), name)
            return found
    raise AttributeError(f"module 'mlship' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)


def convert(
    model: nn.Module | Models,
    example_inputs: Any = None,
    *,
    targets: str | Sequence[str],
    recipe: str | Recipe = "fp16",
    weights: str | Path | None = None,
    trust_pickle: bool = False,
    out: str | Path = "dist",
    name: str | None = None,
    tolerance: float | Mapping[str, float] | None = None,
    batch: int = 1,
    sizes: Sequence[tuple[int, int] | str] = (),
    state: Mapping[str, str] | None = None,
    say: Say | None = None,
) -> list[Built]:
    """Bundles of a model for targets ("ios", "android", "web", a list of them, or "all").

    A module in memory needs an example of its inputs and nothing else: see `describe`, which
    takes `name`, `tolerance`, `batch` and `state`, too. It stays as it is. The file of a model
    (.pt2, .onnx, TorchScript, a folder of transformers) may need one for its sizes, types and
    ranges: a tensor, a tuple of them, or a dict by the names of its inputs. All else is as `build`
    takes it. What was found of a module by running it is in the notes of each bundle. `sizes` are
    further heights and widths of the first input that is a picture: one file then has an entry for
    each, and weights once.

    A bundle is proved equal to PyTorch before it is written. What became of each target is in
    the list: `ok`, `bundle`, or `problems`, or `error`. Raised is what concerns all targets.
    """
    from model_defs.errors import BadSpec
    from model_defs.spec import ModelSpec, Product

    spec: Models
    if isinstance(model, str | Path | ModelSpec | Product):
        if name is not None or tolerance is not None:
            raise BadSpec(
                "name and tolerance are for a module that is in memory",
                do="leave them away: the specification says them itself",
            )
        spec = model if example_inputs is None else _with_example(model, example_inputs)
    else:
        spec = describe(
            model, example_inputs, name=name, tolerance=tolerance, batch=batch, state=state
        )
        state = None
    return build(
        spec,
        targets=targets,
        recipe=recipe,
        weights=weights,
        trust_pickle=trust_pickle,
        out=out,
        sizes=sizes,
        state=state,
        say=say,
    )


def describe(
    module: nn.Module,
    example_inputs: Any,
    *,
    name: str | None = None,
    tolerance: float | Mapping[str, float] | None = None,
    batch: int = 1,
    state: Mapping[str, str] | None = None,
) -> ModelSpec:
    """The specification of a module that is in memory, found by running a copy of it once.

    The example is a tensor, a tuple of forward's arguments, or a dict of them by keyword; within
    them may be dicts, lists, integers, booleans, and constants beside tensors. Inputs are named as
    forward or their keys name them; outputs after their keys; their shapes are what came out. Of a
    batch of pictures, the first `batch` are taken. `name` is the
    class's if there is none: UNet becomes u-net. `tolerance` is the largest error that nobody
    sees, in the output's own unit, for all outputs or by name; a first guess is 1 % of an output's
    range on the example, and of labels 1 % may differ. `state` says which input is which output of
    the last call: {"hidden": "hidden_out"}, zeros at first. The `notes` of the result say what was
    found.
    """
    from torch import nn

    from converters import describe as described
    from model_defs.errors import BadSpec

    if not isinstance(module, nn.Module):
        raise BadSpec(
            f"a {type(module).__name__} is no model",
            do="pass a nn.Module, a ModelSpec, a name that mlship list shows, or 'file.py:spec'",
        )
    if example_inputs is None:
        raise BadSpec(
            "what the module takes is not known",
            do="pass an example of its inputs: (torch.rand(1, 3, 224, 224),)",
        )
    return described.describe(
        module, example_inputs, name=name, tolerance=tolerance, batch=batch, state=state
    )


def build(
    models: Models | Sequence[Models],
    *,
    targets: str | Sequence[str],
    recipe: str | Recipe = "fp16",
    weights: str | Path | None = None,
    trust_pickle: bool = False,
    out: str | Path = "dist",
    sizes: Sequence[tuple[int, int] | str] = (),
    state: Mapping[str, str] | None = None,
    say: Say | None = None,
) -> list[Built]:
    """`mlship build`: bundles of models for targets, in `out`.

    A model is a name that `mlship list` shows, "path/to/file.py:spec", a model's file, a ModelSpec
    or a Product.
    An error on one target leaves the others alone, and is in its place in the list; raised is
    what concerns all: an unknown name, or the one model that cannot be captured. Weights, and
    files of whole modules, are unpickled, which runs what is in them, with `trust_pickle` alone: of
    whom you trust. `sizes` are further heights and widths of each model's first picture.
    `state` says which input is which output of the last call, where a file does not.
    """
    from converters.progress import silent
    from toolchain.build import build as building
    from toolchain.build.request import BuildRequest

    request = BuildRequest(
        tuple(_expanded(models, trust_pickle=trust_pickle)),
        _targets(targets),
        _recipe(recipe),
        weights=_path(weights),
        trust_pickle=trust_pickle,
        out=Path(out),
        sizes=_sizes(sizes),
        state=state or {},
    )
    return building.build(request, say or silent)


def load(bundle: Bundles, *, size: str | None = None) -> Model:
    """A bundle on this machine, to be run: `with mlship.load(path) as model: model.run(...)`.

    `size` is one of its sizes, "512x512"; None is the default.
    """
    from model_defs.errors import BadSpec
    from toolchain.applications.model import Model
    from toolchain.bundle import bundle as bundles

    directory = _folder(bundle)
    if directory is None:
        raise BadSpec(
            f"a {type(bundle).__name__} is no bundle",
            do="pass a bundle's folder, a Bundle, or what build and convert return for one target",
        )
    found = bundles.read(directory)
    return Model(found if size is None else found.at(size))


def parity(
    subjects: Subjects | Iterable[Subjects],
    *,
    model: str | ModelSpec | None = None,
    targets: str | Sequence[str] = "all",
    recipe: str | Recipe = "fp16",
    weights: str | Path | None = None,
    trust_pickle: bool = False,
    cases: str | Path | None = None,
    backends: Sequence[str] = (),
    require: Sequence[str] = (),
    say: Say | None = None,
) -> ParityRun:
    """`mlship parity`: bundles, or models that are built first, on every backend here.

    A subject is a bundle (its folder, a Bundle, a Built, a Model), or a model as `build` takes it.
    `model` is the bundles' own where the zoo does not have it: "path/to/file.py:spec", or what
    `describe` makes of a module in memory. `cases` is a folder of pictures.
    """
    from converters.progress import silent
    from toolchain.build import judge
    from toolchain.parity.harness import BackendChoice

    wanted = _wanted(targets, recipe, weights, model, cases, trust_pickle=trust_pickle)
    choice = BackendChoice(tuple(backends), tuple(require))
    return judge.run(_names(subjects), wanted, choice, say=say or silent)


def blame(
    subjects: Subjects | Iterable[Subjects],
    *,
    model: str | ModelSpec | None = None,
    targets: str | Sequence[str] = "all",
    recipe: str | Recipe = "fp16",
    weights: str | Path | None = None,
    trust_pickle: bool = False,
    cases: str | Path | None = None,
    case: str = "",
    backends: Sequence[str] = (),
    say: Say | None = None,
) -> list[Blame]:
    """`mlship blame`: the layer and the pass at which each bundle parts from PyTorch."""
    from converters.progress import silent
    from toolchain.debug import blame_run

    wanted = _wanted(targets, recipe, weights, model, cases, case, trust_pickle=trust_pickle)
    found, unbuilt = blame_run.run(_names(subjects), wanted, tuple(backends), say or silent)
    return _all_of(found, unbuilt)


def audit(
    subjects: Subjects | Iterable[Subjects],
    *,
    model: str | ModelSpec | None = None,
    recipe: str | Recipe = "fp32",
    weights: str | Path | None = None,
    trust_pickle: bool = False,
    cases: str | Path | None = None,
    say: Say | None = None,
) -> list[Audited]:
    """`mlship audit`: what float16 would break in each Core ML bundle."""
    from converters.progress import silent
    from toolchain.debug import audit as auditing

    wanted = _wanted(auditing.TARGET, recipe, weights, model, cases, trust_pickle=trust_pickle)
    return _all_of(*auditing.run(_names(subjects), wanted, say or silent))


def size(
    subjects: Subjects | Iterable[Subjects],
    *,
    targets: str | Sequence[str] = "all",
    recipe: str | Recipe = "fp16",
    weights: str | Path | None = None,
    trust_pickle: bool = False,
    say: Say | None = None,
) -> list[tuple[Bundle, SizeRow]]:
    """`mlship size`: where the bytes of each bundle are, on disk and on the wire."""
    from converters.progress import silent
    from toolchain.bench import size as sizing

    wanted = _wanted(targets, recipe, weights, trust_pickle=trust_pickle)
    return [*sizing.measure_all(_names(subjects), wanted, say or silent)]


def bench(
    subjects: Subjects | Iterable[Subjects],
    *,
    model: str | ModelSpec | None = None,
    targets: str | Sequence[str] = "all",
    recipe: str | Recipe = "fp16",
    weights: str | Path | None = None,
    trust_pickle: bool = False,
    runtimes: Sequence[str] = (),
    full: bool = False,
    layers: bool = False,
    say: Say | None = None,
) -> BenchRun:
    """`mlship bench`: bundles timed side by side on this machine's runtimes."""
    from benchmarks.measure.timing.session import MODES
    from converters.progress import silent
    from toolchain.bench import run

    wanted = _wanted(targets, recipe, weights, model, trust_pickle=trust_pickle)
    mode = MODES["full" if full else "quick"]
    names = _names(subjects)
    return run.run(names, wanted, tuple(runtimes), mode, layers=layers, say=say or silent)


def main() -> None:
    """The program `mlship`."""
    from toolchain.cli.main import program

    program()


MODELS = (
    "a name that mlship list shows, 'file.py:spec', 'net.onnx', a ModelSpec (describe makes one) "
    "or a Product"
)
"""What may be given as a model, in the words of an error."""


def _expanded(models: Models | Sequence[Models], *, trust_pickle: bool) -> list[str | ModelSpec]:
    found: list[str | ModelSpec] = []
    for one in _each(models):
        model = _models(one, trust_pickle=trust_pickle)
        if model is None:
            raise _no_subject(one, "no model", MODELS)
        found += model
    if not found:
        raise _none_named("model", MODELS)
    return found


def _models(one: object, *, trust_pickle: bool) -> Sequence[str | ModelSpec] | None:
    """What `build` takes for one model; None for what is none."""
    from model_defs import lookup
    from model_defs.spec import ModelSpec, Product

    if isinstance(one, ModelSpec):
        return (one,)
    if isinstance(one, Product):
        return one.models
    if not isinstance(one, str | Path):
        return None
    return lookup.expand(lookup.said_of(str(one), (), trust_pickle))


def _sizes(sizes: Sequence[tuple[int, int] | str]) -> tuple[tuple[int, int], ...]:
    """Heights and widths, also as they are typed: "512x384". What is none is refused later."""
    from model_defs.errors import BadSpec
    from model_defs.spec import size_of

    if isinstance(sizes, str) or not isinstance(sizes, Sequence):
        raise BadSpec(f"sizes are {sizes!r}", do="give a list of them: [(512, 512), (512, 384)]")
    return tuple(size_of(one) if isinstance(one, str) else one for one in sizes)


def _with_example(model: Models, example: Any) -> str:
    """The name of a model's file, with what its inputs are like behind it."""
    import torch

    from converters.files.request import InputExample
    from model_defs import lookup
    from model_defs.errors import BadSpec

    if not isinstance(model, str | Path) or lookup.file_of_model(str(model)) is None:
        raise BadSpec(
            "an example is for a module that is in memory, or for the file of a model",
            do="leave it away: the specification says what the model takes",
        )
    given = example if isinstance(example, Mapping | tuple | list) else (example,)
    named = given.items() if isinstance(given, Mapping) else (("", one) for one in given)
    texts = []
    for name, one in named:
        if not isinstance(one, torch.Tensor):
            raise BadSpec(
                f"an example of {type(one).__name__} says nothing of a file's input",
                do="pass a tensor for each: (torch.rand(1, 3, 224, 224),)",
            )
        texts.append(str(InputExample.of(one, str(name))))
    return lookup.said_of(str(model), texts, trust_pickle=False)


def _each(given: object) -> Iterable[object]:
    """What was given, one by one: a collection's members, or the one thing that is none."""
    if isinstance(given, str | bytes | Path | Mapping) or not isinstance(given, Iterable):
        return (given,)
    return given


def _no_subject(one: object, what: str, may_be: str) -> MlshipError:
    from model_defs.errors import BadSpec

    return BadSpec(f"a {type(one).__name__} is {what}", do=f"pass {may_be}, or a list of these")


def _none_named(noun: str, may_be: str) -> MlshipError:
    from model_defs.errors import BadSpec

    return BadSpec(f"no {noun} was named", do=f"pass {may_be}, or a list of these")


def _targets(names: str | Sequence[str]) -> tuple[Target, ...]:
    from toolchain.recipes import targets

    given = tuple(_each(names))
    may_be = ", ".join(f"'{name}'" for name in (*targets.TARGETS, "all"))
    for name in given:
        if not isinstance(name, str):
            raise _no_subject(name, "no target", may_be)
    if not given:
        raise _none_named("target", may_be)
    return targets.find(tuple(map(str, given)))


def _recipe(recipe: str | Recipe) -> Recipe:
    from toolchain.recipes import recipes

    return recipes.find(recipe) if isinstance(recipe, str) else recipe


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _wanted(
    targets: str | Sequence[str],
    recipe: str | Recipe,
    weights: str | Path | None,
    model: str | ModelSpec | None = None,
    cases: str | Path | None = None,
    case: str | None = None,
    *,
    trust_pickle: bool = False,
) -> Wanted:
    from toolchain.build.on_demand import Wanted

    folder = _path(cases)
    where = (_targets(targets), _recipe(recipe), folder)
    return Wanted(*where, model, _path(weights), case, trust_pickle)


def _names(subjects: Subjects | Iterable[Subjects]) -> tuple[Named, ...]:
    """The names of models, the specifications in memory, and the folders of bundles."""
    from model_defs.spec import ModelSpec, Product

    may_be = f"a bundle (its folder, a Bundle, a Built, a Model), or {MODELS}"
    found: list[Named] = []
    for one in _each(subjects):
        directory = _folder(one)
        if directory is not None:
            found.append(str(one) if isinstance(one, str) else str(directory))
        elif isinstance(one, ModelSpec):
            found.append(one)
        elif isinstance(one, Product):
            found += one.models
        else:
            raise _no_subject(one, "neither a bundle nor a model", may_be)
    if not found:
        raise _none_named("bundle or model", may_be)
    return tuple(found)


def _folder(subject: object) -> Path | None:
    """A bundle's folder, or a name as a path; None for what is neither."""
    from toolchain.applications.model import Model
    from toolchain.build.request import Built
    from toolchain.bundle.bundle import Bundle

    if isinstance(subject, Built):
        return subject.shipped().directory
    if isinstance(subject, Model):
        return subject.bundle.directory
    if isinstance(subject, Bundle):
        return subject.directory
    return Path(subject) if isinstance(subject, str | Path) else None


def _all_of(found: list[Any], unbuilt: Sequence[Built]) -> list[Any]:
    """What was found, unless a model could not be built: that is raised."""
    for one in unbuilt:
        one.shipped()
    return found


if __name__ == "__main__":
    main()
