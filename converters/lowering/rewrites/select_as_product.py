"""Selections by a comparison, as arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from converters.lowering.graph import Graph, Node
from converters.lowering.rewrites.edit import Edit, Links, node

SWAPPED = {"Greater": False, "Less": True, "GreaterOrEqual": True, "LessOrEqual": False}
"""Comparisons of (u, v), and whether the difference that is looked at is v - u."""

NEGATED = ("GreaterOrEqual", "LessOrEqual")

MAY_OVERFLOW = frozenset(["Exp", "Log", "Pow", "ReduceLogSum", "ReduceProd", "Reciprocal", "Sqrt"])
"""Operations of finite numbers whose result may be infinite or NaN; a division is, too."""


@dataclass(frozen=True)
class SelectAsProduct:
    """Multiplies by 1 where the condition holds and by 0 where it does not.

    Before: Where(Greater(u, v), a, b)
    After:  Add(Mul(a, c), Mul(b, 1 - c)), c = Ceil(Clip(u - v, 0, 1)); a zero's product goes

    c is exact: the difference of unequal numbers is 0 only where both are within 1e-31 of 0 and
    it is below 1.2e-38, which runtimes take for 0 anyway. XNNPACK runs all of this; comparisons
    and SELECT_V2 it leaves to LiteRT, and TF.js on WASM copies what SelectV2 broadcasts.

    Blocked by a branch that may be infinite or NaN, for 0 times that is NaN: an infinite
    constant, or what a division, a root, a power, an exponential or a logarithm has a part in.
    Blocked as well by a condition that anything else reads, and by numbers that are not float32.
    `broadcasting`: only where an operand is copied otherwise.
    """

    broadcasting: bool = False
    name = "select-as-product"

    def __call__(self, graph: Graph) -> Graph:
        conditions = _conditions(graph, self.broadcasting)
        edit = Edit(graph)
        for old in graph.nodes:
            if old.outputs[0] in conditions:
                edit.replace([old], _mask(edit, old))
            elif old.op == "Where" and old.inputs[0] in conditions:
                edit.replace([old], _product(edit, old))
            elif old.op == "Cast" and old.inputs[0] in conditions:
                # The mask is of floats already.
                edit.replace([old], [node("Identity", old.name, old.inputs, old.outputs)])
        return edit.done()


def _conditions(graph: Graph, broadcasting: bool) -> set[str]:
    """The comparisons, and their negations, of which every reader can do with 0 and 1."""
    links = Links(graph)
    unbounded = _unbounded(links)
    found = {n.outputs[0]: n for n in graph.nodes if _is_condition(graph, n)}
    # A Not stays only with what it negates, and that only if all its readers do, the Nots among
    # them: each round drops what leans on one dropped before, until none is.
    while True:
        kept = {
            name: made
            for name, made in found.items()
            if (made.op != "Not" or made.inputs[0] in found)
            and name not in graph.outputs
            and all(_can_do(graph, unbounded, name, r, found) for r in links.readers(name))
        }
        if len(kept) == len(found):
            break
        found = kept
    selects = [n for n in graph.nodes if n.op == "Where" and n.inputs[0] in found]
    if broadcasting and not any(_broadcasts(graph, n) for n in selects):
        return set()
    return set(found) if selects else set()


def _is_condition(graph: Graph, made: Node) -> bool:
    if made.op == "Not":
        return True
    return made.op in SWAPPED and all(graph.types[n] == "float32" for n in made.inputs)


def _can_do(
    graph: Graph, unbounded: set[str], name: str, reader: Node, conditions: Iterable[str]
) -> bool:
    if reader.op == "Where":
        branches = reader.inputs[1:]
        kinds = all(graph.types[b] == "float32" for b in branches)
        return kinds and unbounded.isdisjoint(branches)
    if reader.op == "Cast":
        return graph.types[reader.outputs[0]] == "float32"
    return reader.op == "Not" and reader.outputs[0] in conditions


def _broadcasts(graph: Graph, select: Node) -> bool:
    return any(graph.shapes[n] != graph.shapes[select.outputs[0]] for n in select.inputs)


def _unbounded(links: Links) -> set[str]:
    """The values that may be infinite or NaN although the network's inputs are finite."""
    found = {n for n, array in links.graph.constants.items() if not _is_finite(array)}
    for made in links.graph.nodes:
        risky = made.op in MAY_OVERFLOW or (made.op == "Div" and not _divides(links, made))
        if risky or not found.isdisjoint(made.inputs):
            found.update(made.outputs)
    return found


def _is_finite(array: np.ndarray) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _divides(links: Links, division: Node) -> bool:
    """Whether a divisor is a constant without a zero, or kept above zero by a constant."""
    constants, divisor = links.graph.constants, division.inputs[1]
    if divisor in constants:
        return bool((constants[divisor] != 0).all())
    made = links.maker(divisor, "Clip", "Max")
    bounds = () if made is None else made.inputs[1:2] if made.op == "Clip" else made.inputs
    return any(n in constants and bool((constants[n] > 0).all()) for n in bounds)


def _mask(edit: Edit, old: Node) -> list[Node]:
    """The nodes that make 1 where a condition holds and 0 elsewhere, under its name."""
    (result,), shape = old.outputs, edit.graph.shapes[old.outputs[0]]
    edit.value(result, shape)
    one = edit.constant(f"{old.name}/one", np.ones((), np.float32))
    if old.op == "Not":
        return [node("Sub", old.name, [one, old.inputs[0]], [result])]
    zero = edit.constant(f"{old.name}/zero", np.zeros((), np.float32))
    # u >= v is "not v > u": the strict comparison is what Ceil makes of a difference above 0.
    u, v = reversed(old.inputs) if SWAPPED[old.op] else old.inputs
    names = [edit.value(f"{old.name}/{part}", shape) for part in ("difference", "clipped", "step")]
    step = names[2] if old.op in NEGATED else result
    nodes = [
        node("Sub", f"{old.name}/sub", [u, v], names[:1]),
        node("Clip", f"{old.name}/clip", [names[0], zero, one], names[1:2]),
        node("Ceil", old.name, names[1:2], [step]),
    ]
    negation = node("Sub", f"{old.name}/negation", [one, step], [result])
    return [*nodes, negation] if old.op in NEGATED else nodes


def _product(edit: Edit, old: Node) -> list[Node]:
    """What a select returns, from a mask of 0 and 1."""
    mask, a, b = old.inputs
    graph, result = edit.graph, old.outputs[0]
    shape = graph.shapes[result]
    one = edit.constant(f"{old.name}/one", np.ones((), np.float32))
    nothing = edit.value(f"{old.name}/not", graph.shapes[mask])
    inverted = node("Sub", f"{old.name}/negation", [one, mask], [nothing])
    if _alone(graph, mask, a, b, shape):
        return [node("Mul", old.name, [a, mask], [result])]
    if _alone(graph, mask, b, a, shape):
        return [inverted, node("Mul", old.name, [b, nothing], [result])]
    parts = []
    for name, by, branch in (("first", mask, a), ("second", nothing, b)):
        size = np.broadcast_shapes(graph.shapes[mask], graph.shapes[branch])
        made = edit.value(f"{old.name}/{name}", tuple(size))
        parts.append(node("Mul", f"{old.name}/{name}", [branch, by], [made]))
    added = [part.outputs[0] for part in parts]
    return [inverted, *parts, node("Add", old.name, added, [result])]


def _alone(graph: Graph, mask: str, kept: str, other: str, shape: tuple[int, ...]) -> bool:
    """Whether the other branch is zero and the kept one's product has the result's shape."""
    zero = other in graph.constants and not graph.constants[other].any()
    return zero and np.broadcast_shapes(graph.shapes[mask], graph.shapes[kept]) == shape
