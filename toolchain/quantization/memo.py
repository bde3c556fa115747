"""What was found out about a module before."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from torch import nn

from converters.api import Program

T = TypeVar("T")


def once_a_module(find: Callable[[Program], T]) -> Callable[[Program], T]:
    """The same, which looks at each module once: no pass changes the one that it is given."""
    known: WeakKeyDictionary[nn.Module, T] = WeakKeyDictionary()

    @wraps(find)
    def found(program: Program) -> T:
        if program.module not in known:
            known[program.module] = find(program)
        return known[program.module]

    return found
