"""Einsum of two operands, as the product of matrices that it is."""

from __future__ import annotations

import math

from converters.lowering.call import Call
from converters.lowering.tf import gen_math_ops
from converters.lowering.value import Value, as_tensor, reshaped


def einsum(call: Call) -> Value:
    """Einsum: labels in both operands and the result are batches, in both operands only inner.

    "nchw,ncwk->nchk" is the product of (n c, h, w) with (n c, w, k).
    """
    equation = call.read(equation="").equation.replace(" ", "")
    terms, arrow, result = equation.partition("->")
    if not arrow or "." in equation or terms.count(",") != 1:
        raise call.refuse(f"equation '{equation}'", do="use torch.matmul on two tensors")
    left, right = terms.split(",")
    if any(len(set(term)) != len(term) for term in (left, right, result)):
        raise call.refuse(f"a label twice in a term of '{equation}'", do="take the diagonal first")
    if (set(left) ^ set(right)) - set(result):
        raise call.refuse(f"a label of '{equation}' in one term only", do="sum over it first")
    # A group becomes one axis, along which the labels have to run alike in both operands: the left
    # one's order is taken for both.
    batch = [label for label in left if label in right and label in result]
    inner = [label for label in left if label in right and label not in result]
    rows = [label for label in left if label not in right]
    columns = [label for label in right if label not in left]
    sizes = dict(zip(left + right, call.value(0).shape + call.value(1).shape, strict=True))
    x = _matrices(call, 0, left, (batch, rows, inner), sizes)
    y = _matrices(call, 1, right, (batch, inner, columns), sizes)
    product = Value.of(
        gen_math_ops.batch_mat_mul_v2(as_tensor(x), as_tensor(y), adj_x=False, adj_y=False)
    )
    # `transposed` renames axes: nothing moves unless a reader needs another order.
    labels = [*batch, *rows, *columns]
    unmerged = reshaped(product, tuple(sizes[label] for label in labels))
    return unmerged.transposed([labels.index(label) for label in result])


def _matrices(
    call: Call, index: int, term: str, groups: tuple[list[str], ...], sizes: dict[str, int]
) -> Value:
    """An operand as (batch, rows, columns), each a group of labels merged into one axis."""
    order = [term.index(label) for group in groups for label in group]
    # The product of no sizes is 1: a group without labels is an axis of size 1.
    shape = tuple(math.prod(sizes[label] for label in group) for group in groups)
    merged = reshaped(call.value(index).transposed(order), shape)
    return call.arrange(merged, (0, 1, 2))
