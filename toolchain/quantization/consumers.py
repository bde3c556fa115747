"""Which layers hand what they make to one other layer alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from torch import fx, nn

from converters.api import Program
from converters.graph.captured import CapturedGraph
from converters.graph.sources import module_of, operation_of
from converters.program_graph import captured_of

Makers = Mapping[type[nn.Module], Collection[str]]
"""Types of layers, and the operations that may lie behind one."""


def find_pairs(
    program: Program, makers: Makers, readers: Collection[type[nn.Module]]
) -> list[tuple[str, str]]:
    """The paths of each (maker, reader) of which the first's result is read by the second alone.

    In the order of the graph. Each is used once, and so is each of its numbers. Subclasses are
    left alone: their forward may do more.
    """
    graph = captured_of(program)
    layers = dict(program.module.named_modules(remove_duplicate=False))
    uses = uses_of(graph, program.module)
    order = {path: number for number, path in enumerate(graph.by_module)}
    found = []
    for path, nodes in graph.by_module.items():
        through = makers.get(type(layers[path]))
        reader = None if through is None else _reader(nodes[-1], through)
        if reader is None or type(layers[reader]) not in readers:
            continue
        tensors = [t for one in (path, reader) for t in layers[one].state_dict().values()]
        if all(uses[t.data_ptr()] <= 1 for t in tensors):
            found.append((path, reader))
    return sorted(found, key=lambda pair: order[pair[1]])


def _reader(made: fx.Node, through: Collection[str]) -> str | None:
    """The module that alone reads what an operation makes, after what may lie in between."""
    while len(made.users) == 1:
        (user,) = made.users
        if user.op != "call_function" or user.args[0] is not made:
            return None
        if operation_of(user) not in through:
            return module_of(user)
        made = user
    return None


def uses_of(graph: CapturedGraph, module: nn.Module) -> Counter[int]:
    """How often each of a module's tensors is read, whatever its names are, by its address."""
    names = module.state_dict()
    uses: Counter[int] = Counter()
    for name, reads in graph.reads.items():
        if name in names:
            uses[names[name].data_ptr()] += reads
    return uses
