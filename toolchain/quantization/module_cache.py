"""Results that are kept for as long as the module is that they were computed from."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from torch import nn

from converters.api import Program

T = TypeVar("T")


def cache_by_module(find: Callable[[Program], T]) -> Callable[[Program], T]:
    """`functools.cache` for a function of a program: no pass changes the module that it has."""
    cached: WeakKeyDictionary[nn.Module, T] = WeakKeyDictionary()

    @wraps(find)
    def found(program: Program) -> T:
        if program.module not in cached:
            cached[program.module] = find(program)
        return cached[program.module]

    return found
