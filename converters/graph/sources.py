"""Where a node of a captured graph comes from: its module, and the user's line."""

from __future__ import annotations

import contextlib
import os
import re
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import fx

from model_defs.errors import UnsupportedOperation, during

TORCH = os.path.dirname(torch.__file__)
OURS = tuple(str(Path(__file__).parents[2] / room) for room in ("converters", "toolchain"))
"""Where adapters lie that forward goes through."""
FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def module_of(node: fx.Node) -> str:
    """The path of the innermost module that calls an operation, '' for the whole."""
    stack = node.meta.get("nn_module_stack") or {}
    path = ""
    for found, _ in stack.values():
        path = found
    return re.sub(r"@\d+$", "", str(path))


def user_line(node: fx.Node) -> str:
    """The innermost line that is neither PyTorch's nor ours, as `file.py:12`, or ''."""
    found = [f"{name}:{line}" for name, line in FRAME.findall(node.meta.get("stack_trace") or "")]
    return next((f for f in reversed(found) if not f.startswith((TORCH, *OURS))), "")


@contextlib.contextmanager
def working_on(node: fx.Node) -> Iterator[None]:
    """Whatever is raised within, as a refusal of this operation with its line."""
    step = f"writing operation {operation_of(node)} for a converter"
    where, do = user_line(node), "write it with other operations"
    with during(step, UnsupportedOperation, where=where, do=do):
        try:
            yield
        except UnsupportedOperation as error:
            raise UnsupportedOperation(
                error.what, where=error.where or where, do=error.do or do
            ) from error


def line_of_stack(stack: Sequence[traceback.FrameSummary]) -> str:
    """The same of a stack of Python, as `file.py:12: code`."""
    skipped = (TORCH, *OURS)
    frames = [f for f in stack if not f.filename.startswith(skipped) and "<" not in f.filename]
    return f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""


def packet_of(node: fx.Node) -> Any:
    """The operation of a node, whatever its overload."""
    return getattr(node.target, "overloadpacket", node.target)


def operation_of(node: fx.Node) -> str:
    """`conv2d` of torch.ops.aten.conv2d.default."""
    packet = packet_of(node)
    return str(getattr(packet, "__name__", packet)).strip("_")
