"""What a rule of Core ML is, and the operation that it looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from converters.mil.program import Argument, Operation
from converters.mil.types import TensorType, Type
from converters.mil.values import Constant

Kind = Literal["loader", "runtime", "unit"]
Shape = tuple[int | None, ...]

ANY = "*"
"""In a rule's operators: every operation."""


@dataclass(frozen=True)
class KnownValue:
    """What is known of a value: its type, what computes it, and its constant, if it is one."""

    type: Type
    maker: Operation | None = None
    constant: Constant | None = None


@dataclass(frozen=True)
class RuledCall:
    """An operation among the values of its program, as a rule looks at it.

    What an input or output of a function is is looked at as a call of "input" or "output", whose
    argument `x` it is, and a function as a call of "function", whose `inputs` they are.
    """

    type: str
    name: str
    opset: str
    arguments: Mapping[str, tuple[Argument, ...]]
    results: tuple[Type, ...] = ()
    known: Mapping[str, KnownValue] = field(default_factory=dict)

    def given(self, name: str) -> bool:
        return name in self.arguments

    @property
    def version(self) -> int:
        """The opset's number: 5 of iOS 15, 7 of iOS 17, 9 of iOS 26."""
        return int(self.opset.removeprefix("CoreML"))

    def values(self, name: str) -> tuple[KnownValue, ...]:
        """What is known of an argument's values; none where it is left out."""
        return tuple(self._known(a) for a in self.arguments.get(name, ()))

    def tensor(self, name: str) -> TensorType | None:
        """The type of an argument's only or first value."""
        values = self.values(name)
        return values[0].type if values and isinstance(values[0].type, TensorType) else None

    def dtype(self, name: str) -> str:
        tensor = self.tensor(name)
        return tensor.dtype if tensor else ""

    def shape(self, name: str) -> Shape | None:
        """The sizes of an argument, None where one is flexible."""
        tensor = self.tensor(name)
        return tensor.shape if tensor else None

    def rank(self, name: str) -> int | None:
        shape = self.shape(name)
        return None if shape is None else len(shape)

    def computed(self, name: str) -> bool:
        """Whether an argument is there and no constant."""
        return any(
            not v.constant and not (v.maker and v.maker.type.startswith("constexpr_"))
            for v in self.values(name)
        )

    def array(self, name: str) -> np.ndarray | None:
        """A constant's numbers; None where it is computed, left out, or has none."""
        values = self.values(name)
        if len(values) != 1 or values[0].constant is None:
            return None
        found = values[0].constant.load()
        return found if isinstance(found, np.ndarray) else None

    def numbers(self, name: str) -> list[Any]:
        """A constant's numbers, flat; none where `array` has none."""
        array = self.array(name)
        return [] if array is None else array.flatten().tolist()

    def number(self, name: str, default: Any) -> Any:
        numbers = self.numbers(name)
        return numbers[0] if len(numbers) == 1 else default

    def text(self, name: str, default: str = "") -> str:
        values = self.values(name)
        found = values[0].constant.load() if values and values[0].constant else default
        return found if isinstance(found, str) else default

    def maker(self, name: str) -> RuledCall | None:
        """The operation that computes an argument."""
        values = self.values(name)
        maker = values[0].maker if values else None
        return None if maker is None else call_of(maker, self.opset, self.known)

    def _known(self, argument: Argument) -> KnownValue:
        if isinstance(argument, Constant):
            return KnownValue(argument.type, constant=argument)
        return self.known[argument]


def call_of(operation: Operation, opset: str, known: Mapping[str, KnownValue]) -> RuledCall:
    """An operation as rules look at it."""
    results = tuple(result.type for result in operation.results)
    return RuledCall(operation.type, operation.name, opset, operation.arguments, results, known)


Check = Callable[[RuledCall], str | None]
"""Says why an operation breaks a rule, or None."""


@dataclass(frozen=True)
class CoreMlRule:
    """What Core ML does that neither PyTorch nor the meaning of its operations tells.

    `kind`: the loader refuses it; its runtime computes something else than PyTorch, on every unit;
    or it goes wrong on one `unit` of a machine. `source` is where that is reported or documented,
    `what` what Core ML does, `instead` what we write. An operation for which `check` gives a
    reason is refused by the interpreter if it is the loader's, computed as Core ML does if it is
    the runtime's, and warned of if it is a unit's. The converter writes none of the first two.
    """

    name: str
    kind: Kind
    operators: tuple[str, ...]
    source: tuple[str, ...]
    what: str
    instead: str
    check: Check


def mil(*names: str) -> tuple[str, ...]:
    """Apple's documentation of operations, `iOS15.pool.avg_pool`."""
    return tuple(f"mil:{name}" for name in names)


CHROMIUM = "chromium:services/webnn/coreml/graph_builder_coreml.cc"
EP = "microsoft/onnxruntime:onnxruntime/core/providers/coreml/builders/impl/"
"""ONNX Runtime's builders for Core ML, which say what they found out about it."""

FLOATS = ("fp16", "fp32")
NUMBERS = (*FLOATS, "int32")


def ranks(low: int, high: int = 5, argument: str = "x") -> Check:
    """The argument has from `low` to `high` axes."""

    def check(call: RuledCall) -> str | None:
        rank = call.rank(argument)
        if rank is None or low <= rank <= high:
            return None
        wanted = f"{low}" if low == high else f"{low} to {high}"
        return f"'{argument}' has {rank} axes, not {wanted}"

    return check


def dtypes(allowed: tuple[str, ...], *arguments: str) -> Check:
    """The arguments, where they are given, are of these types."""

    def check(call: RuledCall) -> str | None:
        for argument in arguments:
            for value in call.values(argument):
                declared = value.type
                if isinstance(declared, TensorType) and declared.dtype not in allowed:
                    return f"'{argument}' is {declared.dtype}, not {' or '.join(allowed)}"
        return None

    return check


def constants(*arguments: str, before: int = 99) -> Check:
    """The arguments, where they are given, are constants in opsets before that number."""

    def check(call: RuledCall) -> str | None:
        if call.version >= before:
            return None
        found = next((a for a in arguments if call.computed(a)), None)
        return None if found is None else f"'{found}' is computed, not a constant"

    return check
