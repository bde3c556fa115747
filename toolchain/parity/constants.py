"""Are the numbers in a file those of the program? Compared without running it.

Every parameter that a file stores is found in it by its numbers, whatever layout they are in. A
constant that no parameter accounts for, while a parameter that looks like it is nowhere in the
file, is damaged, unless a converter multiplied it with a factor of the program's own.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.numbers import LITERALS
from toolchain.bundle.parity_report import ConstantFault, ConstantsReport

if TYPE_CHECKING:
    from converters.api import Artifact, Program
    from converters.numbers import StoredConstant

ALIKE = 0.5
"""The share of numbers that are equal in a constant which was some parameter."""
HALF = 2.0**-9
"""What float16 and a product before it may move a number by, as a share of it."""
TINY = 2.0**-23
"""... and where float16 has no more digits."""
PRODUCTS = ("mul", "div")
"""Operations whose whole numbers are factors."""
GATES = (3, 4)
"""Those of a GRU and of an LSTM."""
MOST = 0.9
"""The share of numbers that are a product's in one which was damaged."""
SAMPLE = 512
"""Places that are looked at before all are."""
FEW = 16
"""... where all vectors of a size are looked at."""
CHANNELS = 2**16
"""More numbers than any axis has."""
SMALL = 0.05
"""Numbers of a BatchNorm that are below it are its epsilon, and not its momentum."""
IMPLIED = {"hard": 1 / 6, "gelu": 0.5, "silu": 1.0}
"""Factors of operations, by a part of their names."""

Print = tuple[int, int, int]
"""How many numbers, and two sums of their bits, which no order changes."""


@dataclass(frozen=True)
class ComparedConstants:
    """What the constants of a file are, and the program's numbers that are not among them.

    A converter has taken those into others: its file rounds a product, not the factors. `LITERALS`
    is among the `lost` where there are arrays of no parameter: a number that the code adds behind
    a convolution is a bias, one for each channel.
    `zeroed` are those of the lost of whose size the file has zeros, of which it is accused only
    where it computes something else: what was taken into others may leave zeros, too.
    """

    report: ConstantsReport
    lost: frozenset[str] = frozenset()
    zeroed: tuple[str, ...] = ()


def compare(artifact: Artifact, program: Program) -> ComparedConstants:
    """The constants of a file beside the parameters and constants of the program that it is of.

    Raises BadArtifact for a file that is malformed.
    """
    from converters.numbers import stored_constants

    known = factors_of(program), scales_of(program)
    return compare_numbers(stored_constants(artifact), numbers_of(program), *known)


def numbers_of(program: Program) -> dict[str, np.ndarray]:
    """The floating-point parameters and constants that a program's operations read, by name."""
    from converters.program_graph import captured_of, stored

    captured = captured_of(stored(program))
    tensors = {
        str(node.target): captured.constant(node)
        for node in captured.graph.find_nodes(op="get_attr")
    }
    return {
        name: tensor.detach().contiguous().numpy()
        for name, tensor in tensors.items()
        if tensor.dtype.is_floating_point and tensor.numel()
    }


def factors_of(program: Program) -> tuple[float, ...]:
    """What a program multiplies by that is no parameter: literals, and what operations imply."""
    from converters.graph.sources import operation_of
    from converters.program_graph import captured_of

    found: dict[float, None] = {}
    for node in captured_of(program).operations:
        operation = operation_of(node)
        kinds = (int, float) if operation in PRODUCTS else float
        given = (one for one in (*node.args, *node.kwargs.values()) if isinstance(one, kinds))
        literals = [float(one) for one in given]
        literals += [one for name, one in IMPLIED.items() if name in operation]
        if operation == "scaled_dot_product_attention":
            width = node.all_input_nodes[0].meta["val"].shape[-1]
            literals += [width**-0.5, width**-0.25]  # the latter of queries and keys each
        found.update(dict.fromkeys([f for one in literals for f in (one, 1 / one if one else 1.0)]))
    return tuple(found)


def scales_of(program: Program) -> tuple[np.ndarray, ...]:
    """What BatchNorms multiply channels by: 1 / sqrt(variance + epsilon), and that by a weight."""
    from converters.graph.sources import operation_of
    from converters.program_graph import captured_of

    captured = captured_of(program)
    found: list[np.ndarray] = []
    for node in captured.operations:
        if operation_of(node) != "batch_norm":
            continue
        names = {str(read.target): read for read in node.all_input_nodes if read.op == "get_attr"}
        vectors = {name: captured.constant(read).detach().numpy() for name, read in names.items()}
        variance = next((v for name, v in vectors.items() if name.endswith("running_var")), None)
        epsilons = [one for one in node.args if isinstance(one, float) and one < SMALL]
        if variance is None or not epsilons:
            continue
        roots = [1 / np.sqrt(variance + epsilon) for epsilon in epsilons]
        weights = (v for name, v in vectors.items() if name.endswith("weight"))
        found += [*roots, *(root * weight for weight in weights for root in roots)]
    return tuple(found)


def compare_numbers(
    constants: Iterable[StoredConstant],
    own: Mapping[str, np.ndarray],
    factors: tuple[float, ...] = (),
    scales: tuple[np.ndarray, ...] = (),
) -> ComparedConstants:
    """The same of constants and of a program's numbers, by name, its own factors and scales."""
    named: dict[Print, list[str]] = defaultdict(list)
    for name, array in own.items():
        named[fingerprint(array)].append(name)
    found, total, equal = set[str](), 0, 0
    others: list[StoredConstant] = []
    faults: list[ConstantFault] = []
    for constant in constants:
        total += constant.array.size
        names = named.get(fingerprint(constant.array), [])
        if not names:
            others.append(constant)
            continue
        found.update(names)
        if any(is_laid_out(constant.array, own[name]) for name in names):
            equal += constant.array.size
        else:
            what = "its numbers are in another order"
            faults.append(ConstantFault(constant.name, layer_of(names[0]), what))
    lost = {name: array for name, array in own.items() if name not in found}
    folded, damaged = 0, set[str]()
    explained = list(_explained(others, _Lost(lost, factors, scales)))
    for constant, name, fault in explained:
        if fault:
            damaged.add(name)
            faults.append(ConstantFault(constant.name, layer_of(name), fault))
        else:
            folded += constant.array.size
    rounded = frozenset(lost) - damaged
    known = {id(constant) for constant, *_ in explained}
    arrays = [one for one in others if one.array.size > 1 and id(one) not in known]
    if any(one.array.any() for one in arrays):  # to add 0 rounds nothing
        rounded |= {LITERALS}
    faults += _no_numbers([one for one in others if id(one) not in known], own, lost)
    zeros = {one.array.size for one in arrays if not one.array.any()}
    zeroed = [name for name, own in lost.items() if own.any() and own.size in zeros]
    report = ConstantsReport(total, equal, folded, tuple(faults))
    return ComparedConstants(report, rounded, tuple(n for n in zeroed if n not in damaged))


def _no_numbers(
    constants: Iterable[StoredConstant],
    own: Mapping[str, np.ndarray],
    lost: Mapping[str, np.ndarray],
) -> Iterator[ConstantFault]:
    """NaN in what belongs to no parameter, of a program that has none: no factor makes it."""
    if any(np.isnan(array).any() for array in own.values()):
        return
    for one in constants:
        count = int(np.isnan(one.array).sum())
        if count:
            likely = [name for name, array in lost.items() if array.size == one.array.size]
            layer = layer_of(likely[0]) if len(likely) == 1 else one.name
            what = f"{count} of {one.array.size} numbers are NaN"
            yield ConstantFault(one.name, layer, what)


def layer_of(name: str) -> str:
    """The module of a parameter; a constant of no module is its own."""
    return name.rpartition(".")[0] or name


def fingerprint(array: np.ndarray) -> Print:
    """What two arrays of the same numbers have in common, whatever order they are in."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32).ravel().astype(np.uint64)
    return array.size, int(bits.sum()), int((bits * bits).sum())


def is_laid_out(stored: np.ndarray, own: np.ndarray) -> bool:
    """Whether these are the very numbers in their places, in some order of the axes.

    Or of an axis's parts: channels for a pixel shuffle of another layout, the gates of an LSTM.
    """
    found = list(layouts(own, stored.shape))
    if any(np.array_equal(stored, one) for one in found):
        return True
    return any(
        np.array_equal(stored, one.take(order, axis))
        for one in found
        for axis, order in _reorderings(one.shape)
        if _same_channels(one, stored, axis)
    )


def _reorderings(shape: tuple[int, ...]) -> Iterator[tuple[int, np.ndarray]]:
    """The axes, with the orders of their channels that converters put them in."""
    for axis, size in enumerate(shape):
        yield from ((axis, order) for order in _orders(size))


def _same_channels(own: np.ndarray, stored: np.ndarray, axis: int) -> bool:
    """Whether both have the same channels along an axis, whatever their order."""
    return sorted(map(fingerprint, np.moveaxis(own, axis, 0))) == sorted(
        map(fingerprint, np.moveaxis(stored, axis, 0))
    )


@functools.lru_cache(64)
def _orders(size: int) -> tuple[np.ndarray, ...]:
    return tuple(_orders_of(size))


def _orders_of(size: int) -> Iterator[np.ndarray]:
    places = np.arange(size)
    for parts in (n for n in range(2, size) if size % n == 0):  # (C, r * r) or (r * r, C)
        yield places.reshape(parts, -1).T.ravel()
    for gates in GATES:
        if size % gates == 0:
            blocks = places.reshape(gates, -1)
            yield from (blocks[[*order]].ravel() for order in itertools.permutations(range(gates)))


def layouts(own: np.ndarray, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The numbers with their axes in each order that gives this shape, but for axes of one.

    And as they lie where no order does: a converter may have merged axes, or split one.
    """
    wanted = tuple(n for n in shape if n != 1)
    bare = own.reshape([n for n in own.shape if n != 1])
    fits = False
    if bare.ndim == len(wanted):
        for axes in itertools.permutations(range(bare.ndim)):
            if tuple(bare.shape[a] for a in axes) == wanted:
                fits = True
                yield bare.transpose(axes).reshape(shape)
    if not fits and own.size == int(np.prod(shape)):
        for axes in itertools.permutations(range(own.ndim)) if own.ndim <= 5 else ():
            yield own.transpose(axes).reshape(shape)


@dataclass(frozen=True)
class _Lost:
    """The parameters that a file does not hold as they are, and the factors that a net knows."""

    arrays: Mapping[str, np.ndarray]
    factors: tuple[float, ...]
    scales: tuple[np.ndarray, ...]

    def matching(self, found: np.ndarray) -> np.ndarray | None:
        """What most of these factors, one of each channel, are: a parameter's, or a norm's.

        Times one number that the net knows. None where they are nobody's.
        """
        own = self._likely(found)
        return next((m for m in (self._times(found, one) for one in own) if m is not None), None)

    def _likely(self, found: np.ndarray) -> np.ndarray:
        """The vectors of this size that some of these numbers are one multiple of, as rows."""
        vectors = self._vectors.get(found.size)
        if vectors is None:
            return np.empty((0, found.size), np.float32)
        at = _some(found.shape)[0][:FEW]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(vectors[:, at] != 0, found[at] / vectors[:, at], np.inf)
            alike = _near(ratios, np.median(ratios, axis=1, keepdims=True))
        return np.asarray(vectors[alike.mean(axis=1) >= ALIKE / 2])

    @functools.cached_property
    def _vectors(self) -> dict[int, np.ndarray]:
        """What a file does not hold and what norms multiply by: by size, as rows."""
        every = defaultdict(list)
        for one in (*self.arrays.values(), *self.scales):
            every[one.size].append(one.ravel())
        return {size: np.stack(rows) for size, rows in every.items() if size <= CHANNELS}

    def _times(self, found: np.ndarray, own: np.ndarray) -> np.ndarray | None:
        nonzero = own != 0
        if not nonzero.any():
            return None
        factor = float(np.median(found[nonzero] / own[nonzero]))
        scaled = own * np.float32(factor)
        alike = float(_near(found, scaled).mean()) >= ALIKE
        return scaled if alike and self.knows(factor) else None

    def knows_of(self, factor: float, shape: tuple[int, ...]) -> bool:
        """Whether one factor is known, or is that of every channel of some axis."""
        every = (np.full(size, factor, np.float32) for size in shape)
        return self.knows(factor) or any(self.matching(one) is not None for one in every)

    def knows(self, factor: float) -> bool:
        """Whether a factor for all of a parameter is 1, or a product of two that the net has."""
        single = (1.0, *self.factors)
        return any(abs(factor - a * b) <= HALF * abs(a * b) for a in single for b in single)

    def is_far_from(self, factor: float) -> bool:
        """Whether a sign or an exponent is wrong: others may be a norm's that is not known."""
        shares = (abs(factor / one) for one in (1.0, *self.factors) if factor and one)
        exponents = [math.log2(share) for share in shares]
        return any(abs(exponent - round(exponent)) < HALF for exponent in exponents)


def _explained(
    others: Sequence[StoredConstant], lost: _Lost
) -> Iterator[tuple[StoredConstant, str, str]]:
    """Constants that some lost parameter looks like: which, and what is wrong; "" is folded."""
    left = dict(lost.arrays)
    for constant in sorted(others, key=lambda one: -one.array.size):
        if not _has_looks(constant.array):
            continue
        same = {name: own for name, own in left.items() if own.size == constant.array.size}
        found = _as_damaged(constant, same) or _as_folded(constant, same, lost)
        if found is not None:
            left.pop(found[0])
            yield constant, *found


def _has_looks(array: np.ndarray) -> bool:
    """Whether an array may be told from others: of one number all over, only 0 says something."""
    return array.size > 1 and (not array.any() or bool((array != array.flat[0]).any()))


def _as_damaged(constant: StoredConstant, same: Mapping[str, np.ndarray]) -> tuple[str, str] | None:
    """The parameter most of whose numbers a constant still has, and which it has not."""
    shares = {name: _share_of_equal(constant.array, own) for name, own in same.items()}
    # Zeros are in any spread or pruned kernel: of a bias of nothing else they say little. One
    # number in common is chance: there are only so many of float16.
    chance = 1.5 / constant.array.size
    least = {n: MOST if np.ptp(own) == 0 else max(ALIKE, chance) for n, own in same.items()}
    likely = [name for name in shares if shares[name] >= least[name]]
    name = max(likely, key=lambda one: shares[one], default="")
    return (name, _differing(constant.array, same[name])) if likely else None


def _as_folded(
    constant: StoredConstant, same: Mapping[str, np.ndarray], lost: _Lost
) -> tuple[str, str] | None:
    """The parameter that a constant is a multiple of, and what is wrong with the factors.

    A converter multiplies a matrix by the norm's scale before it, say, channel by channel.
    """
    stored = constant.array
    if not np.isfinite(stored).all():  # no factor of a program's is such
        return None
    if not stored.any():
        matrices = [name for name, own in same.items() if own.ndim > 1 and stored.ndim > 1]
        return (matrices[0], "all of its numbers are 0") if matrices else None
    for name, own in ((name, own) for name, own in same.items() if _has_looks(own)):
        for right in layouts(own, stored.shape):
            if (what := _as_product(stored, right, lost)) is not None:
                return name, what
    return None


def _as_product(stored: np.ndarray, own: np.ndarray, lost: _Lost) -> str | None:
    """What is wrong with a constant that is a parameter times factors; None where it is none."""
    for factors in _factors(stored, own):
        right: np.ndarray | None = own * factors
        if factors.size == 1 and not lost.knows_of(float(factors.flat[0]), own.shape):
            if lost.is_far_from(float(factors.flat[0])) and _near(stored, own * factors).all():
                return f"its numbers are the program's times {factors.flat[0]:.6g}"
            continue
        if factors.size > 1:
            matched = lost.matching(factors.ravel())
            right = None if matched is None else own * matched.reshape(factors.shape)
        # Of a vector that is nearly another norm's, nothing can be said.
        least = MOST if max(own.shape) < own.size else 1.0
        if right is None or float((near := _near(stored, right)).mean()) < least:
            continue
        return "" if near.all() else _said_of(~near, stored, right)
    return None


def _factors(stored: np.ndarray, own: np.ndarray) -> Iterator[np.ndarray]:
    """What a parameter may have been multiplied with: one number, or one for each channel.

    The middle one of many: a few damaged numbers do not move it.
    """
    some = _some(stored.shape)
    if not np.any(own[some]):
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        few = (stored[some] / own[some])[own[some] != 0]
        single = np.full([1] * own.ndim, np.median(few), np.float32)
        if float(_near(stored[some], own[some] * np.median(few)).mean()) >= ALIKE / 2:
            yield single
        for axis in (axis for axis, size in enumerate(own.shape) if size > 1):
            rest = tuple(a for a in range(own.ndim) if a != axis)
            some_at_all = (own != 0).any(axis=rest, keepdims=True)
            ratios = np.where(own != 0, stored / own, np.where(some_at_all, np.nan, 0.0))
            middle = np.nanmedian(ratios, axis=rest, keepdims=True) if rest else ratios
            yield np.nan_to_num(middle).astype(np.float32)


def _share_of_equal(stored: np.ndarray, own: np.ndarray) -> float:
    """The share of numbers that are equal where most are; 0 where few of some are."""
    return max((float((stored == one).mean()) for one in _likely(stored, own)), default=0.0)


def _likely(stored: np.ndarray, own: np.ndarray) -> Iterator[np.ndarray]:
    """The layouts and orders of channels in which many of some numbers are equal."""
    some = _some(stored.shape)
    wanted = stored[some]
    found = list(layouts(own, stored.shape))
    yield from (one for one in found if _many(wanted == one[some]))
    if np.ptp(own) == 0 or not _many(np.isin(wanted, own)):
        return
    for one, (axis, order) in itertools.product(found, _reorderings(stored.shape)):
        if _many(wanted == one[(*some[:axis], order[some[axis]], *some[axis + 1 :])]):
            yield one.take(order, axis)


def _many(some: np.ndarray) -> bool:
    return float(some.mean()) >= ALIKE / 2


@functools.lru_cache(16)
def _some(shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Places all over an array of this shape, to ask there first."""
    count = int(np.prod(shape))
    at = np.random.default_rng(0).integers(count, size=min(count, SAMPLE))
    return np.unravel_index(at, shape)


def _differing(stored: np.ndarray, own: np.ndarray) -> str:
    right = max(_likely(stored, own), key=lambda one: int((stored == one).sum()))
    return _said_of(~(stored == right), stored, right)


def _said_of(wrong: np.ndarray, stored: np.ndarray, right: np.ndarray) -> str:
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        f"{int(wrong.sum())} of {stored.size} numbers differ, first at {list(first)}: "
        f"{stored[first]:.6g}, not {right[first]:.6g}"
    )


def _near(stored: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(stored - right) <= HALF * np.abs(right) + TINY)
