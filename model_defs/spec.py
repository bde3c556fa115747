"""The specification of a model: its tensors, and how pixels become tensors and back.

Plain data without heavy imports: it is written into every bundle's manifest and read back
from there, so that an app knows what to feed and how to show what comes out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from model_defs.errors import BadSpec

if TYPE_CHECKING:
    from torch import nn

Kind = Literal["image", "map", "mask", "clicks", "features", "state"]
KINDS: tuple[Kind, ...] = ("image", "map", "mask", "clicks", "features", "state")
Dtype = Literal["float32", "int32", "int64", "bool"]
DTYPES: tuple[Dtype, ...] = ("float32", "int32", "int64", "bool")
Resize = Literal["stretch", "letterbox", "crop"]
Filter = Literal["nearest", "bilinear", "bicubic", "area"]
Colour = Literal["RGB", "BGR", "GRAY"]

NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")


@dataclass(frozen=True)
class Preprocess:
    """How an 8-bit picture becomes a tensor: `value = (pixel - mean) / std`, pixel in 0..255.

    `resize` fits the picture to the tensor's height and width: `stretch` ignores the aspect
    ratio, `letterbox` keeps it and fills the rest with `pad`, `crop` keeps it and cuts the
    centre. `filter` is Pillow's of that name (widened when shrinking, hence free of aliases;
    `area` is Pillow's BOX). `mean` and `std` are per channel, in the order of `colour`.
    """

    resize: Resize = "stretch"
    filter: Filter = "bilinear"
    colour: Colour = "RGB"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (255.0, 255.0, 255.0)
    pad: int = 0


@dataclass(frozen=True)
class Postprocess:
    """How a tensor becomes a picture of the source's size: `low..high` is shown as 0..255.

    A bound of None is the tensor's own minimum or maximum. The resizing of the input picture
    is undone (letterbox removed) with `filter`.
    """

    low: float | None = 0.0
    high: float | None = 1.0
    filter: Filter = "bilinear"
    colour: Colour = "GRAY"


LARGEST_ERROR = "max-abs-error"


@dataclass(frozen=True)
class Measure:
    """A measure of a task: its best value, and whether more is better."""

    best: float
    more: bool = True
    worst: float = 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """What a limit lies between."""
        return (self.worst, self.best) if self.more else (self.best, self.worst)

    def allows(self, limit: float) -> bool:
        least, most = self.bounds
        return least < limit < most


SHARE_OF_WIDTH = 0.01
"""What nobody sees of an output without a tolerance, as a share of its width."""

METRICS: Mapping[str, Measure] = {
    **dict.fromkeys(("IoU", "boundary F", "agreement", "mean IoU"), Measure(1.0)),
    **dict.fromkeys(("delta1", "ordinal", "CC", "crop", "SSIM", "hole SSIM"), Measure(1.0)),
    **dict.fromkeys(("PSNR", "hole PSNR"), Measure(200.0)),
    **dict.fromkeys(("AbsRel", "KL"), Measure(0.0, more=False, worst=float("inf"))),
}
"""The measures that may judge an output (`toolchain/parity/metrics.py` has their formulas)."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model, in PyTorch's layout: `shape` is (1, C, H, W).

    `low` and `high` bound the values (None: unbounded). `tolerance` belongs to outputs: the
    largest absolute error that nobody sees, in the output's own `unit`, the same for every
    backend.

    `dtype` is what the module takes or returns. Integers and booleans are labels, masks, tokens:
    two that differ are different, however near. So the tolerance of such an output is the share of
    its numbers that may differ, from 0 (none) to below 1, and `low` and `high` of such an input
    are its least and its largest number.

    Where the task's own measure is the better judge, an output names it: `metric="IoU",
    limit=0.99` (METRICS) is what it has beside PyTorch's at least, or at most where less is
    better. With a `tolerance` both have to hold, without one the measure alone decides.

    `sizes` are the heights and widths that an input may have, `shape`'s own first: one file then
    has an entry for each. Those of several inputs go together, the first with the first.
    """

    name: str
    shape: tuple[int, ...]
    kind: Kind
    unit: str = ""
    low: float | None = None
    high: float | None = None
    tolerance: float | None = None
    metric: str = LARGEST_ERROR
    limit: float | None = None
    preprocess: Preprocess | None = None
    postprocess: Postprocess | None = None
    dtype: Dtype = "float32"
    sizes: tuple[tuple[int, int], ...] = ()

    @property
    def is_float(self) -> bool:
        return self.dtype == "float32"

    def __post_init__(self) -> None:
        where = f"tensor '{self.name}'"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise BadSpec(
                f"tensor name '{self.name}' does not work in every format",
                do="use lower-case letters, digits and underscores, beginning with a letter",
            )
        if self.kind not in KINDS:
            raise BadSpec(f"unknown kind '{self.kind}'", where=where, do=f"use {', '.join(KINDS)}")
        if not self.shape or any(not isinstance(n, int) or n < 1 for n in self.shape):
            raise BadSpec(
                f"shape {self.shape} is not fixed and positive", where=where, do="give each size"
            )
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise BadSpec(f"low {self.low} is not below high {self.high}", where=where)
        if self.dtype not in DTYPES:
            raise BadSpec(
                f"unknown dtype '{self.dtype}'", where=where, do=f"use {', '.join(DTYPES)}"
            )
        if self.is_float:
            if self.tolerance is not None and not 0 < self.tolerance < float("inf"):
                raise BadSpec(f"tolerance {self.tolerance} is not positive and finite", where=where)
        else:
            self._check_whole(where)
        self._check_metric(where)
        self._check_preprocess(where)
        if self.sizes:
            self._check_sizes(where)

    @property
    def measured(self) -> Measure | None:
        """The measure that judges it; None where its largest error alone does."""
        return METRICS[self.metric] if self.limit is not None else None

    @property
    def noticeable(self) -> float | None:
        """The least error that somebody may see: the tolerance, or a share of the declared width.

        The latter of an output that its measure alone judges; None where neither is declared.
        """
        if self.tolerance is not None or self.low is None or self.high is None:
            return self.tolerance
        return SHARE_OF_WIDTH * (self.high - self.low)

    def _check_metric(self, where: str) -> None:
        """METRICS names it as it is written there, in whatever case."""
        known = {name.lower(): name for name in (LARGEST_ERROR, *METRICS)}
        name = known.get(self.metric.lower())
        if name is None:
            raise BadSpec(
                f"unknown metric '{self.metric}'", where=where, do=f"use {', '.join(METRICS)}"
            )
        object.__setattr__(self, "metric", name)
        if (name == LARGEST_ERROR) == (self.limit is not None):
            what = "a limit is of a metric" if self.limit is not None else f"{name} has no limit"
            raise BadSpec(what, where=where, do='say both: metric="IoU", limit=0.99')
        if self.limit is not None and not METRICS[name].allows(self.limit):
            least, most = METRICS[name].bounds
            raise BadSpec(
                f"limit {self.limit} of {name} says nothing",
                where=where,
                do=f"give a number above {least:g} and below {most:g}",
            )

    def _check_whole(self, where: str) -> None:
        """What is said of whole numbers: their bounds, and the share that may differ."""
        if self.tolerance is not None and not 0 <= self.tolerance < 1:
            raise BadSpec(
                f"tolerance {self.tolerance} is no share of {self.dtype} that may differ",
                where=where,
                do="give 0 (none may differ) to below 1: 0.01 is one in a hundred",
            )
        bounds = [bound for bound in (self.low, self.high) if bound is not None]
        if not all(float(bound).is_integer() for bound in bounds):
            raise BadSpec(f"bounds {bounds} of {self.dtype} are no whole numbers", where=where)
        if self.preprocess is not None:
            raise BadSpec(
                f"pixels do not become {self.dtype}",
                where=where,
                do="take float32, and call .long() or compare in forward",
            )

    def _check_sizes(self, where: str) -> None:
        if len(self.shape) != 4:
            raise BadSpec(
                f"a tensor of shape {self.shape} has no height and width, and so no sizes",
                where=where,
                do="sizes are those of an input of shape (1, C, H, W)",
            )
        if not isinstance(self.sizes, tuple):
            raise BadSpec(f"sizes {self.sizes!r} are no tuple", where=where)
        for size in self.sizes:
            if not is_size(size):
                raise BadSpec(
                    f"{size!r} is no size", where=where, do="give heights and widths: (512, 512)"
                )
        twice = [size for size in self.sizes if self.sizes.count(size) > 1]
        if twice:
            raise BadSpec(f"the size {size_name(twice[0])} stands twice", where=where)
        own = self.shape[2:]
        if self.sizes[0] != own:
            raise BadSpec(
                f"sizes begin with {size_name(self.sizes[0])}, and the shape is {self.shape}",
                where=where,
                do=f"put the shape's own size first, ({own[0]}, {own[1]}): it is the default",
            )

    def _check_preprocess(self, where: str) -> None:
        if self.preprocess is None:
            return
        channels = 1 if self.preprocess.colour == "GRAY" else 3
        if len(self.shape) != 4 or self.shape[1] != channels:
            raise BadSpec(
                f"a {self.preprocess.colour} picture does not fit shape {self.shape}",
                where=where,
                do=f"give it shape (1, {channels}, H, W)",
            )
        lengths = {len(self.preprocess.mean), len(self.preprocess.std)}
        if lengths != {channels} or 0 in self.preprocess.std:
            raise BadSpec(f"mean and std need {channels} values each, std not 0", where=where)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TensorSpec:
        """The inverse of `to_json`; raises BadSpec for unknown or missing fields."""
        try:
            values = dict(data, shape=tuple(data["shape"]))
            values["sizes"] = tuple(map(tuple, data.get("sizes", ())))
            for key, kind in (("preprocess", Preprocess), ("postprocess", Postprocess)):
                if values.get(key) is not None:
                    values[key] = kind(**_tuples(values[key]))
            return cls(**values)
        except (KeyError, TypeError) as error:
            known = ", ".join(field.name for field in fields(cls))
            raise BadSpec(f"not a tensor specification: {error}", do=f"fields: {known}") from error


def is_size(size: Any) -> bool:
    """Whether it is a height and a width."""
    if not isinstance(size, tuple) or len(size) != 2:
        return False
    return all(type(length) is int and length > 0 for length in size)


def size_name(size: Sequence[int]) -> str:
    """A height and a width as they are typed, and as an entry of a file is called: "512x384"."""
    return "x".join(map(str, size))


def size_of(text: str) -> tuple[int, int]:
    """The height and width of such a name; BadSpec for another text."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None or not is_size(size := (int(found[1]), int(found[2]))):
        raise BadSpec(f"'{text}' is no size", do="write height x width: 512x384")
    return size


def _tuples(data: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}


@dataclass(frozen=True)
class ModelSpec:
    """A model to ship: everything that a user needs to write to add one of their own.

    `build()` returns the module, untrained; its forward takes the inputs in order, or by name
    where its parameters have their names in another order. Another way is `call`: it takes the
    module and the inputs, `lambda net, image, mask: net({"image": image}, mask=mask)`. What comes
    back is a tensor, or a tuple, a list, a dict, a dataclass, nested or not: what has keys
    is found by the outputs' names (`masks_1` is the first of the list `masks`), else they are in
    the order of `outputs`; None is nothing. `weights` is a .safetensors or .pt file
    (None: untrained, built under seed 0); where it is of a larger net, `part` names the child
    of that net that this one is. `pruned` is a file of the same net with fewer channels, which
    the recipe `fast` ships. `fed_by` names the model whose outputs are this
    one's inputs, where the inputs are not pictures. `cases` names inputs that every build of
    this model is also proved on (`toolchain/data/cases.py` has them all). A `baseline` is for
    comparison and is not shipped. `notes` are for the manifest: what was found out of the module
    rather than written by its author.

    `state` says which inputs are memory, by the output that each is fed with next time:
    `{"hidden": "hidden_out"}`. At the start they are zeros.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    summary: str = ""
    weights: Path | None = None
    part: str = ""
    pruned: Path | None = None
    fed_by: str | None = None
    cases: tuple[str, ...] = ()
    baseline: bool = False
    notes: tuple[str, ...] = ()
    call: Callable[..., Any] | None = None
    state: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        where = f"model '{self.name}'"
        if not NAME.fullmatch(self.name):
            raise BadSpec(
                f"model name '{self.name}' does not work as a file name",
                do="use lower-case words joined by - or _",
            )
        if not self.inputs or not self.outputs:
            raise BadSpec("a model needs at least one input and one output", where=where)
        names = [t.name for t in self.inputs + self.outputs]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise BadSpec(f"tensor names used twice: {', '.join(twice)}", where=where)
        for tensor in self.outputs:
            if tensor.tolerance is None and tensor.limit is None:
                raise BadSpec(
                    f"output '{tensor.name}' has no tolerance",
                    where=where,
                    do="give the largest error that nobody sees, in the output's own unit",
                )
        self._check_sizes(where)
        check_state(self.state, self.inputs, self.outputs, where)
        object.__setattr__(self, "state", dict(self.state))

    def _check_sizes(self, where: str) -> None:
        """Sizes are of inputs, as many of each, of a model that is given its inputs."""
        sized = [tensor for tensor in self.inputs if tensor.sizes]
        for tensor in self.outputs:
            if tensor.sizes:
                raise BadSpec(
                    f"output '{tensor.name}' has sizes",
                    where=where,
                    do="give them to the inputs: those of the outputs follow from them",
                )
        if len({len(tensor.sizes) for tensor in sized}) > 1:
            counts = ", ".join(f"{len(t.sizes)} of '{t.name}'" for t in sized)
            raise BadSpec(
                f"the inputs have different numbers of sizes: {counts}",
                where=where,
                do="give as many to each: the first goes with the first",
            )
        if sized and self.fed_by is not None:
            raise BadSpec(
                f"its inputs are what '{self.fed_by}' gives, at one size",
                where=where,
                do="leave its sizes away",
            )

    @property
    def size_names(self) -> tuple[str, ...]:
        """What its sizes are called, the default first: those of the first input that has any."""
        return size_names(self.inputs)


def size_names(inputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """What the sizes of these inputs are called together; none where they have one shape each."""
    sized = next((tensor.sizes for tensor in inputs if tensor.sizes), ())
    return tuple(map(size_name, sized))


def check_state(
    state: Mapping[str, str],
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    where: str = "",
) -> None:
    """BadSpec unless each output that is named can be the next call's input."""
    if not isinstance(state, Mapping):
        raise BadSpec(
            f"state is a {type(state).__name__}, not names by names",
            where=where,
            do="write which input is which output of the last call: {'hidden': 'hidden_out'}",
        )
    for name, source in state.items():
        taken = _named("input", name, inputs, where)
        _check_pair(taken, _named("output", source, outputs, where), where)
    sources = [*state.values()]
    twice = sorted({source for source in sources if sources.count(source) > 1})
    if twice:
        raise BadSpec(
            f"output '{twice[0]}' is the state of two inputs",
            where=where,
            do="give each input an output of its own",
        )
    if state and len(state) == len(inputs):
        raise BadSpec(
            "every input is state, so that nothing new ever goes in",
            where=where,
            do="leave what an app feeds out of state",
        )


def said_state(state: Mapping[str, str]) -> str:
    """Which output becomes which input, for people: `hidden_out -> hidden`."""
    return ", ".join(f"{source} -> {name}" for name, source in state.items()) or "none"


def _named(noun: str, name: str, among: tuple[TensorSpec, ...], where: str) -> TensorSpec:
    for tensor in among:
        if tensor.name == name:
            return tensor
    known = ", ".join(tensor.name for tensor in among)
    raise BadSpec(f"state: there is no {noun} '{name}'", where=where, do=f"{noun}s: {known}")


def _check_pair(taken: TensorSpec, made: TensorSpec, where: str) -> None:
    """BadSpec unless an input can be an output of the last call, and zeros at first."""
    what = f"state: output '{made.name}' does not fit input '{taken.name}'"
    if (taken.shape, taken.dtype) != (made.shape, made.dtype):
        sides = f"{made.dtype} {made.shape}, not {taken.dtype} {taken.shape}"
        raise BadSpec(f"{what}: it is {sides}", where=where, do="give both one shape and one type")
    if taken.preprocess is not None:
        raise BadSpec(
            f"{what}, which is made of pixels",
            where=where,
            do=f"leave preprocess of '{taken.name}' away",
        )
    low, high = taken.low, taken.high
    if (low is not None and low > 0) or (high is not None and high < 0):
        raise BadSpec(
            f"state: '{taken.name}' is 0 at the start, which its bounds leave out",
            where=where,
            do="let low and high reach to 0, or subtract in forward what it starts from",
        )


@dataclass(frozen=True)
class Product:
    """Models that are shipped together, share tensor names and run separately."""

    name: str
    models: tuple[str, ...]
    summary: str = ""
