"""A captured graph as TorchScript, which is what coremltools converts best.

Measured with coremltools 9.0: its own reader of `torch.export` takes 5 of 11 networks for which
the trace of the exported graph takes 6, and ignores the scale of selu and strides left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any
from unittest import mock

import torch
from torch import fx

from converters.graph.captured import CapturedGraph


def scripted(captured: CapturedGraph, inputs: Sequence[torch.Tensor]) -> torch.jit.ScriptModule:
    """The graph as TorchScript; its values are named as the nodes of the graph."""
    module = captured.module
    runner = _Namer(module)
    with (
        warnings.catch_warnings(),
        torch.no_grad(),
        mock.patch.object(module, "forward", runner.named),
    ):
        warnings.simplefilter("ignore")
        return torch.jit.trace(module, tuple(inputs), check_trace=False)


class _Namer(fx.Interpreter):
    """Runs the graph while it is traced, and names what each node gives."""

    def named(self, *inputs: torch.Tensor) -> Any:
        given = self.run(*inputs)
        return given[0] if len(given) == 1 else given

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.op == "call_function" and isinstance(result, torch.Tensor):
            _name(result, n.name)
        return result


def _name(tensor: torch.Tensor, name: str) -> None:
    jit: Any = torch._C
    if jit._get_tracing_state() is not None:
        jit._get_value_trace(tensor).setDebugName(name)
