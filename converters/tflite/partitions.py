"""How much of a .tflite file XNNPACK runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter


@dataclass(frozen=True)
class Partitions:
    """How many parts XNNPACK runs, and the operations that LiteRT's own kernels run instead."""

    count: int
    fallen: tuple[str, ...]

    @property
    def outside(self) -> str:
        """The operations outside of the partitions, counted: "1 ARG_MAX, 2 CAST"."""
        return ", ".join(f"{count} {op}" for op, count in sorted(Counter(self.fallen).items()))

    def __str__(self) -> str:
        parts = f"{self.count} partition{'' if self.count == 1 else 's'}"
        return f"{parts}; outside of them: {self.outside or 'nothing'}"


def partitions(path: Path) -> Partitions:
    """The partitions of a file; BadArtifact if it is not one."""
    from converters.tflite.runner import start

    host, declared = start(path)
    host.close()
    count, fallen = declared["partitions"]
    return Partitions(count, tuple(fallen))


def partitions_of(interpreter: Interpreter) -> tuple[int, list[str]]:
    """The number of partitions, and the operations outside of them in their order.

    LiteRT lists each operation also after a delegate has taken it over. What still runs is
    what the outputs need, walking back from them through the delegate's own nodes.
    """
    operations = interpreter._get_ops_details()
    delegates = [op for op in operations if op["op_name"] == "DELEGATE"]
    taken = {int(index) for op in delegates for index in op["outputs"]}
    producer = {int(index): op for op in operations for index in op["outputs"]}
    wanted = [detail["index"] for detail in interpreter.get_output_details()]
    wanted += [int(index) for op in delegates for index in op["inputs"]]
    fallen = {}
    while wanted:
        index = wanted.pop()
        if index in producer and index not in taken and index not in fallen:
            fallen[index] = producer[index]
            wanted += [int(i) for i in producer[index]["inputs"]]
    ran = {op["index"]: op["op_name"] for op in fallen.values()}
    return len(delegates), [ran[index] for index in sorted(ran)]
