"""Where a net's own numbers stop being numbers: the first operation that makes NaN or infinity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from model_defs.errors import BadModule

if TYPE_CHECKING:
    from torch import fx

    from converters.api import Program, Tensors
    from converters.graph.captured import GraphCall


def check_finite(program: Program, case: str, inputs: Tensors, outputs: Tensors) -> None:
    """BadModule where what PyTorch answers to a case is not finite, with the layer at fault."""
    for spec in program.spec.outputs:
        finite = np.isfinite(outputs[spec.name])
        if not finite.all():
            wrong = f"{int((~finite).sum())} of its {finite.size} values are NaN or infinite"
            raise BadModule(
                f"PyTorch's own output '{spec.name}' is not finite on case '{case}': {wrong}",
                where=find_origin(program, inputs, spec.name),
                do="correct forward (clamp what is divided by, or what log and sqrt read), or the "
                "bounds (low, high) of the inputs that it is fed",
            )


def find_origin(program: Program, inputs: Tensors, output: str) -> str:
    """The operation whose result is not finite, and all that it reads is; with the user's line.

    An infinity that comes to nothing, as a mask's before a softmax, is not one of these.
    """
    from converters.program_graph import captured_of, watch

    captured, found = captured_of(program), dict[Any, str]()
    specs = [spec.name for spec in program.spec.outputs]

    def seen(call: GraphCall) -> Any:
        found[call.node] = _kind(call.result)
        return call.result

    watch(program, inputs, seen)
    node = _origin(captured.outputs[specs.index(output)], found)
    made = next((one for one in captured.layers() if one.value == node.name), None)
    if made is None:
        return f"model '{program.spec.name}', output '{output}'"
    at = f" ({made.source})" if made.source else ""
    return f"{made.label}{at} makes it: all that it reads is finite"


def _origin(node: fx.Node, found: Mapping[fx.Node, str]) -> fx.Node:
    """From a node upwards to where its NaN, or else its infinity, is from."""
    while True:
        wrong = {given: found[given] for given in node.all_input_nodes if found.get(given)}
        if not wrong:
            return node
        node = min(wrong, key=lambda given: wrong[given] != "nan")


def _kind(value: Any) -> str:
    """ "nan", "inf", or "" of what is finite."""
    import torch

    if isinstance(value, tuple | list):
        kinds = {_kind(each) for each in value}
        return next((kind for kind in ("nan", "inf") if kind in kinds), "")
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return ""
    if bool(value.isnan().any()):
        return "nan"
    return "inf" if bool(value.isinf().any()) else ""
