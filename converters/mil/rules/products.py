"""Matrix products and attention."""

from __future__ import annotations

from converters.mil.rules.rule import CoreMlRule, RuledCall, constants, mil

MATRICES = (("bchw", "bwhu", "bchu"), ("chw", "whr", "chr"))
"""The two products that einsum has."""
PASSED = ("add", "cast", "mul", "select", "sub")
"""What stands between the product of an attention and its softmax."""
MOST = 9
"""Attentions that the GPU computes at once."""


def _of_integers(call: RuledCall) -> str | None:
    first, second = ("x", "weight") if call.type == "linear" else ("x", "y")
    fixed = any(call.given(a) and not call.computed(a) for a in (first, second))
    if fixed and call.dtype(first) == "int32":
        return "a product of int32 with a constant"
    return None


def _transposed_vector(call: RuledCall) -> str | None:
    for factor in ("x", "y"):
        if call.rank(factor) == 1 and call.number(f"transpose_{factor}", False):
            return f"transpose_{factor} of a vector"
    return None


def _equation(call: RuledCall) -> str | None:
    equation = call.text("equation").replace(" ", "")
    factors, _, result = equation.partition("->")
    terms = (*factors.split(","), result)
    return None if any(_alike(terms, matrix) for matrix in MATRICES) else f"'{equation}'"


def _alike(terms: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Whether the terms are those wanted but for the letters."""

    def numbered(words: tuple[str, ...]) -> list[list[int]]:
        order = {letter: i for i, letter in enumerate(dict.fromkeys("".join(words)))}
        return [[order[letter] for letter in word] for word in words]

    return numbered(terms) == numbered(wanted)


def _attention_of_many(call: RuledCall) -> str | None:
    """The product after a softmax over the product of two computed values."""
    if call.type == "scaled_dot_product_attention":
        return _many(call, "query")
    softmax = call.maker("x")
    if softmax is None or softmax.type != "softmax" or not call.computed("y"):
        return None
    scores = softmax.maker("x")
    for _ in range(4):
        if scores is None or scores.type not in PASSED:
            break
        names = [name for name in ("x", "y", "a", "b") if scores.computed(name)]
        scores = scores.maker(names[0]) if names else None
    if scores is None or scores.type != "matmul":
        return None
    return _many(scores, "x")


def _many(call: RuledCall, argument: str) -> str | None:
    shape = call.shape(argument)
    if shape and len(shape) > 2 and (shape[0] is None or shape[0] > MOST):
        return f"attention with a batch of {shape[0] or 'any size'}"
    return None


def _attention_ranks(call: RuledCall) -> str | None:
    ranks = [call.rank(name) for name in ("query", "key", "value")]
    if None not in ranks and (len(set(ranks)) > 1 or min(r or 0 for r in ranks) < 3):
        return f"query, key and value of {ranks} axes"
    return None


RULES = (
    CoreMlRule(
        "integer-product",
        "loader",
        ("linear", "matmul"),
        (
            "apple/coremltools#2575",
            "apple/coremltools#2673",
            "pytorch/executorch#11691",
        ),
        "fails to load (error code -14) a matrix product of int32 with a constant",
        "products and sums in int32, which are exact; beyond 2^24 products refused",
        _of_integers,
    ),
    CoreMlRule(
        "linear-computed-weight",
        "loader",
        ("linear",),
        mil("iOS15.linear.linear"),
        "wants weight and bias of linear as constants",
        "matmul",
        constants("weight", "bias"),
    ),
    CoreMlRule(
        "matmul-transposed-vector",
        "loader",
        ("matmul",),
        mil("iOS15.linear.matmul"),
        "transposes no factor of one axis",
        "vectors as matrices of one row or column",
        _transposed_vector,
    ),
    CoreMlRule(
        "einsum-equation",
        "loader",
        ("einsum",),
        mil("iOS15.linear.einsum"),
        "has two equations: nchw,nwhu->nchu and chw,whr->chr",
        "transposes and a matmul",
        _equation,
    ),
    CoreMlRule(
        "attention-ranks",
        "loader",
        ("scaled_dot_product_attention",),
        mil("iOS18.transformers.scaled_dot_product_attention"),
        "wants query, key and value of the same rank, three axes or more",
        "matmul, softmax, matmul",
        _attention_ranks,
    ),
    CoreMlRule(
        "attention-batch",
        "unit",
        ("matmul", "scaled_dot_product_attention"),
        ("apple/coremltools#2650",),
        "computes attention with a batch of 10 and more wrong on the GPU",
        "a warning",
        _attention_of_many,
    ),
)
