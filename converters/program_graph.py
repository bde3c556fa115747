"""The graph of a program: captured once, handed on from pass to pass, run to see its values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn

from converters.api import Program, Tensors
from converters.capture import example, user_code
from converters.encodings import HALF, is_exact, is_half
from converters.graph.captured import CapturedGraph, Edit, OnGraph, Seen, capture_graph

_GRAPHS: WeakKeyDictionary[nn.Module, dict[object, CapturedGraph]] = WeakKeyDictionary()
"""Of each module that is in use: no pass changes the one that it is given."""


def captured_of(program: Program) -> CapturedGraph:
    """The graph of the program's module, captured once; BadModule where it cannot be."""
    if isinstance(program.module, OnGraph):
        with user_code("the module cannot be captured"):
            return program.module.graph_for(example(program.spec))
    known = _GRAPHS.setdefault(program.module, {})
    if _sizes(program) not in known:
        with user_code("the module cannot be captured"):
            known[_sizes(program)] = capture_graph(program.module, example(program.spec))
    return known[_sizes(program)]


def _sizes(program: Program) -> object:
    """What a graph depends on beside the module."""
    return tuple((spec.shape, spec.dtype) for spec in program.spec.inputs)


def with_module(
    program: Program, module: nn.Module, edit: Edit = lambda graph: None, **changes: Any
) -> Program:
    """The program with another module and other changes, and without another capture.

    The module computes the same operations with other numbers, or what `edit` makes of them.
    """
    known = _GRAPHS.get(program.module, {}).get(_sizes(program))
    if known is not None and (made := known.on(module, edit)) is not None:
        _GRAPHS[module] = {_sizes(program): made}
    return replace(program, module=module, **changes)


def stored(program: Program) -> Program:
    """The program as files of its precision hold it: what was folded of parameters is rounded, too.

    A pass rounds parameters. What depends on them alone, as a weight that is normalised in forward,
    is one constant in a file, which its converter rounds. The same program where nothing was
    folded, or is exact in float16.
    """
    if program.precision != "float16" or isinstance(program.module, OnGraph):
        return program
    captured = captured_of(program)
    own = {name for name, _ in program.module.named_parameters()}
    own |= {name for name, _ in program.module.named_buffers()} | program.encodings.keys()
    rounded: dict[str, torch.Tensor] = {}
    for node in captured.graph.find_nodes(op="get_attr"):
        array = captured.constant(node).detach().numpy()
        half = is_half(array, program.precision, mixed=program.mixed) and not is_exact(array)
        if half and str(node.target) not in own:
            rounded[str(node.target)] = torch.from_numpy(array.astype(np.float16).astype("float32"))
    if not rounded:
        return program
    made = captured.with_constants(rounded)
    _GRAPHS[made.module] = {_sizes(program): made}
    encodings = {**program.encodings, **dict.fromkeys(rounded, HALF)}
    return replace(program, module=made.module, encodings=encodings)


def watch(program: Program, inputs: Tensors, seen: Seen) -> None:
    """Runs the program's graph on named arrays, one operation at a time."""
    captured_of(program).run(tensors_of(program, inputs), seen)


def tensors_of(program: Program, inputs: Tensors) -> tuple[torch.Tensor, ...]:
    """Named arrays as what the module is called with: copies, for forward may write into them."""
    return tuple(torch.from_numpy(np.array(inputs[spec.name])) for spec in program.spec.inputs)
