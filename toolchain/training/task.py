"""What a task of your own is made of: `from toolchain.training.task import HELD_OUT, Task`."""

from __future__ import annotations

from toolchain.data.task import HELD_OUT, SEEDS_APART, TASKS, Example, Examples, Item, Task, find

__all__ = ["HELD_OUT", "SEEDS_APART", "TASKS", "Example", "Examples", "Item", "Task", "find"]
