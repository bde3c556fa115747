"""Fold scales of features, those of LayerNorms among them, into the layers beside them."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from toolchain.passes.base import Pass

if TYPE_CHECKING:
    from torch import Tensor, fx, nn

    from converters.api import Program

MAKERS = {"linear": -1, "conv2d": 1}
"""Operations that may take the scale of their result, and which of its axes is that of features."""
FLOAT16 = (2.0**-14, 65504.0)
"""Between these float16 has all its digits."""


@dataclass(frozen=True)
class FoldScales(Pass):
    """W' = W * gamma, b' = b + W beta of what a layer reads; W' = s * W, b' = s * b of its result.

    Before: x -> LayerNorm(gamma, beta) -> Linear(W, b) -> y -> y * s
    After:  x -> LayerNorm(1, 0) -> Linear(W', b') -> y -> y * 1
    A converter that multiplies rounded numbers has to round again, as that for TFLite does: so its
    file holds the numbers of the program, to the bit. All operations stay, and times 1 is free.
    Blocked where what is scaled has another reader, where a number is read more than once, is
    computed at each call or is encoded, where a layer has no bias to take beta, and where the
    largest product of a row is beyond the range in which float16 has all its digits.
    """

    name: ClassVar[str] = "fold-scales"
    exact: ClassVar[bool] = True

    def __call__(self, program: Program) -> Program:
        from converters.graph.captured import OnGraph
        from converters.program_graph import captured_of, with_module

        if isinstance(program.module, OnGraph):  # it computes on grids, made for its numbers
            return program
        nodes = captured_of(program).operations
        numbers = _Numbers(program, copy.deepcopy(program.module))
        folded = [_into_readers(node, numbers) for node in nodes]
        folded += [_into_maker(node, numbers) for node in nodes]
        return with_module(program, numbers.module) if any(folded) else program


@dataclass(frozen=True)
class _Numbers:
    """A copy of a program's module, whose parameters are exchanged."""

    program: Program
    module: nn.Module

    @cached_property
    def own(self) -> dict[str, Tensor]:
        """Those that one operation alone reads."""
        from converters.program_graph import captured_of
        from toolchain.quantization.consumers import uses_of

        uses = uses_of(captured_of(self.program), self.module)
        found = {name: one.data for name, one in self.module.named_parameters()}
        encoded = self.program.encodings
        return {n: t for n, t in found.items() if uses[t.data_ptr()] == 1 and n not in encoded}

    def read_by(self, node: fx.Node, place: int) -> Tensor | None:
        """The parameter that is an operation's argument; None where that is another thing."""
        argument: Any = node.args[place] if len(node.args) > place else None
        return self.own.get(str(argument.target)) if is_constant(argument) else None


def is_constant(argument: Any) -> bool:
    return getattr(argument, "op", "") == "get_attr"


@dataclass(frozen=True)
class _Scale:
    """What features are multiplied with, one number for all or one for each, and shifted by.

    `axis` is that of the features, None where one number is for all. `scaled` is the operation
    whose result is scaled, None where it is a norm's.
    """

    gamma: Tensor
    beta: Tensor | None
    axis: int | None
    scaled: fx.Node | None = None

    @classmethod
    def of(cls, node: fx.Node, numbers: _Numbers) -> _Scale | None:
        """The scale that an operation applies; None where it applies none, or 1 and 0."""
        from converters.graph.sources import operation_of

        made = {"layer_norm": cls._of_norm, "mul": cls._of_product}.get(operation_of(node))
        found = made(node, numbers) if made else None
        idle = found is None or bool((found.gamma == 1).all() and not found.shifts)
        return None if idle else found

    @classmethod
    def _of_norm(cls, node: fx.Node, numbers: _Numbers) -> _Scale | None:
        gamma, beta = (numbers.read_by(node, place) for place in (2, 3))
        if (
            gamma is None
            or gamma.ndim > 1
            or (beta is None and any(map(is_constant, node.args[3:])))
        ):
            return None
        return cls(gamma, beta, node.meta["val"].ndim - 1)

    @classmethod
    def _of_product(cls, node: fx.Node, numbers: _Numbers) -> _Scale | None:
        for place in (0, 1):
            gamma, scaled = numbers.read_by(node, place), node.args[1 - place]
            if gamma is None or getattr(scaled, "op", "") != "call_function":
                continue
            skipped = node.meta["val"].ndim - gamma.ndim
            axes = [skipped + axis for axis, size in enumerate(gamma.shape) if size > 1]
            if len(axes) < 2:
                return cls(gamma, None, axes[0] if axes else None, scaled)  # type: ignore[arg-type]
        return None

    @property
    def shifts(self) -> bool:
        return self.beta is not None and bool(self.beta.any())

    def along(self, axis: int) -> bool:
        """Whether it is one of features that lie along an axis."""
        return self.axis in (axis, None)

    def forget(self) -> None:
        """What it was is in other numbers now."""
        self.gamma.fill_(1)
        if self.beta is not None:
            self.beta.zero_()


@dataclass(frozen=True)
class _Layer:
    """The weight (out, in, ...) and the bias (out) of an operation."""

    weight: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, node: Any, numbers: _Numbers, kinds: Collection[str]) -> _Layer | None:
        """None for an operation of another kind, or of numbers that may not be exchanged."""
        from converters.graph.sources import operation_of

        if operation_of(node) not in kinds:
            return None
        weight, bias = (numbers.read_by(node, place) for place in (1, 2))
        if weight is None or (bias is None and any(map(is_constant, node.args[2:3]))):
            return None
        return cls(weight, bias)

    def reading(self, scale: _Scale) -> _Layer | None:
        """The layer for features that are not scaled; None where there is no bias, or no digits."""
        bias = self.bias
        if scale.shifts:
            if bias is None or scale.beta is None:
                return None
            bias = (bias.double() + self.weight.double() @ scale.beta.double()).float()
        return self._if_it_fits(self.weight * scale.gamma.flatten(), bias)

    def making(self, scale: _Scale) -> _Layer | None:
        """The layer whose result is scaled; None where float16 has no digits for it."""
        gamma = scale.gamma.flatten()
        rows = gamma.reshape(-1, *[1] * (self.weight.ndim - 1))
        return self._if_it_fits(
            self.weight * rows, None if self.bias is None else self.bias * gamma
        )

    def _if_it_fits(self, weight: Tensor, bias: Tensor | None) -> _Layer | None:
        least, most = FLOAT16
        largest = weight.abs().flatten(1).amax(dim=1)[self.weight.flatten(1).any(dim=1)]
        fits = bool(((largest >= least) & (largest <= most)).all())
        fits = fits and (bias is None or bool((bias.abs() <= most).all()))
        return _Layer(weight, bias) if fits else None

    def take(self, other: _Layer) -> None:
        """The numbers of another."""
        self.weight.copy_(other.weight)
        if self.bias is not None and other.bias is not None:
            self.bias.copy_(other.bias)


def _into_readers(node: fx.Node, numbers: _Numbers) -> bool:
    """Whether the scale that an operation applies was folded into all that read its result."""
    scale = _Scale.of(node, numbers)
    if scale is None or not scale.along(node.meta["val"].ndim - 1):
        return False
    readers = [user for user in node.users if user.op == "call_function" and user.args[0] is node]
    layers = [_Layer.of(reader, numbers, ("linear",)) for reader in readers]
    folded = [None if layer is None else layer.reading(scale) for layer in layers]
    if not folded or None in folded or len(folded) < len(node.users):
        return False
    for layer, found in zip(layers, folded, strict=True):
        layer.take(found)  # type: ignore[arg-type,union-attr]
    scale.forget()
    return True


def _into_maker(node: fx.Node, numbers: _Numbers) -> bool:
    """Whether the scale that an operation applies was folded into what makes what it scales."""
    scale = _Scale.of(node, numbers)
    if scale is None or scale.scaled is None or len(scale.scaled.users) > 1:
        return False
    layer = _Layer.of(scale.scaled, numbers, MAKERS)
    if layer is None or not scale.along(_axis_of(scale.scaled)):
        return False
    found = layer.making(scale)
    if found is None:
        return False
    layer.take(found)
    scale.forget()
    return True


def _axis_of(maker: fx.Node) -> int:
    """The axis of the features that an operation makes."""
    from converters.graph.sources import operation_of

    return int(MAKERS[operation_of(maker)] % maker.meta["val"].ndim)
