"""Memory that outlives a call."""

from __future__ import annotations

from torch import Tensor

from converters.mil.ops.signature import Op, StateCell


def read_state(input: StateCell) -> Tensor:
    return input.value


def write_state(input: StateCell, data: Tensor) -> tuple[()]:
    input.value = data
    return ()


OPS: dict[str, Op] = {
    "read_state": Op(read_state, gives=("input",), moves=True, reads_data=True),
    "write_state": Op(write_state, gives=(), moves=True, reads_data=True),
}
