"""Einsum, as the products of matrices that it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_letters

import numpy as np

from converters.lowering.call import Call
from converters.lowering.reduce import without
from converters.lowering.tf import constant, gen_array_ops, gen_math_ops
from converters.lowering.value import Value, as_tensor, reshaped

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Operand:
    """A value, with a label for each of its axes, all different."""

    value: Value
    labels: Labels


def einsum(call: Call) -> Value:
    """Einsum of any number of operands, also with `...`, with a diagonal, or without `->`.

    "nchw,ncwk->nchk" is the product of (n c, h, w) with (n c, w, k).
    """
    equation = call.read(equation="").equation.replace(" ", "")
    terms, result = _labels(call, equation)
    operands = [_diagonal(call, index, term) for index, term in enumerate(terms)]
    while operands:
        # What no other operand and not the result has is summed, before it makes a product large.
        kept = {label for other in operands[1:] for label in other.labels} | set(result)
        first = _summed(operands[0], kept)
        if len(operands) == 1:
            return first.value.transposed([first.labels.index(label) for label in result])
        kept = {label for other in operands[2:] for label in other.labels} | set(result)
        second = _summed(operands[1], kept | set(first.labels))
        operands = [_product(call, first, second, kept), *operands[2:]]
    raise call.refuse("no operand")


def _labels(call: Call, equation: str) -> tuple[list[Labels], Labels]:
    """The labels of each operand and of the result; `...` becomes labels 0, 1..., from the end."""
    left, arrow, right = equation.partition("->")
    terms, widest = [], 0
    for index, term in enumerate(left.split(",")):
        count = call.value(index).rank - len(term.replace("...", ""))
        widest = max(widest, count if "..." in term else 0)
        terms.append(_spelled(term, count))
    if arrow:
        return terms, _spelled(right, widest)
    letters = left.replace("...", "").replace(",", "")
    once = sorted(letter for letter in set(letters) if letters.count(letter) == 1)
    return terms, (*_spelled("...", widest), *once)


def _spelled(term: str, count: int) -> Labels:
    before, dots, after = term.partition("...")
    axes = [str(n) for n in reversed(range(count))] if dots else []
    return (*before, *axes, *after)


def _diagonal(call: Call, index: int, labels: Labels) -> Operand:
    """An operand whose labels are all different: of equal ones, the diagonal is gathered."""
    value, unique = call.value(index), tuple(dict.fromkeys(labels))
    if unique == labels:
        return Operand(value, labels)
    names = dict(zip(unique, ascii_letters, strict=False))
    spelled = ["".join(names[label] for label in term) for term in (labels, unique)]
    flat = np.arange(math.prod(value.shape), dtype=np.int32).reshape(value.shape)
    places = np.einsum("->".join(spelled), flat)
    rows = gen_array_ops.reshape(call.logical(index), np.array([-1], np.int32))
    taken = gen_array_ops.gather_v2(rows, constant(np.ascontiguousarray(places)), 0)
    return Operand(Value.of(taken), unique)


def _summed(operand: Operand, kept: set[str]) -> Operand:
    value, labels = operand.value, operand.labels
    axes = tuple(axis for axis, label in enumerate(labels) if label not in kept)
    if not axes:
        return operand
    places = np.array(sorted(value.axis(axis) for axis in axes), np.int32)
    total = gen_math_ops._sum(as_tensor(value), places, keep_dims=False)
    left = tuple(label for label in labels if label in kept)
    return Operand(Value(total, without(value.order, axes)), left)


def _product(call: Call, left: Operand, right: Operand, kept: set[str]) -> Operand:
    """The product of two: labels in both are batches where they are kept, else inner."""
    # A group becomes one axis, along which the labels have to run alike in both operands: the left
    # one's order is taken for both.
    shared = [label for label in left.labels if label in right.labels]
    batch = [label for label in shared if label in kept]
    inner = [label for label in shared if label not in kept]
    rows = [label for label in left.labels if label not in shared]
    columns = [label for label in right.labels if label not in shared]
    sizes = dict(zip(left.labels, left.value.shape, strict=True))
    for label, size in zip(right.labels, right.value.shape, strict=True):
        if sizes.setdefault(label, size) != size:
            raise call.refuse(
                f"sizes {sizes[label]} and {size} of one label", do="expand before it"
            )
    x = _matrices(call, left, (batch, rows, inner), sizes)
    y = _matrices(call, right, (batch, inner, columns), sizes)
    product = Value.of(
        gen_math_ops.batch_mat_mul_v2(as_tensor(x), as_tensor(y), adj_x=False, adj_y=False)
    )
    # Renaming axes moves nothing unless a reader needs another order.
    labels = (*batch, *rows, *columns)
    return Operand(reshaped(product, tuple(sizes[label] for label in labels)), labels)


def _matrices(
    call: Call, operand: Operand, groups: Sequence[Sequence[str]], sizes: dict[str, int]
) -> Value:
    """An operand as (batch, rows, columns), each a group of labels merged into one axis."""
    order = [operand.labels.index(label) for group in groups for label in group]
    # The product of no sizes is 1: a group without labels is an axis of size 1.
    shape = tuple(math.prod(sizes[label] for label in group) for group in groups)
    merged = reshaped(operand.value.transposed(order), shape)
    return call.arrange(merged, (0, 1, 2))
