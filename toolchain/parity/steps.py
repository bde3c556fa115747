"""A file with state, along a sequence of steps: it is fed with its own outputs, as in an app.

PyTorch's answers are those of its own sequence, so that what a file loses at each step shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from converters.api import Tensors
from converters.stepping import fed_back
from model_defs.errors import MlshipError
from toolchain.data import sequences

Run = Callable[[Tensors], Tensors]


class Past:
    """What a file put out at the step before, while it goes along the cases."""

    def __init__(self, state: Mapping[str, str]) -> None:
        self._state, self._case = state, ""
        self._outputs: Tensors | None = {}

    def fed(self, case: str, inputs: Tensors) -> Tensors | None:
        """What the file is given: its own state where a step goes on from the last.

        None where that step did not run.
        """
        if not self._state or not sequences.follows(case, self._case):
            return inputs
        if self._outputs is None:
            return None
        return {**inputs, **fed_back(self._state, self._outputs)}

    def keep(self, case: str, outputs: Tensors | None) -> None:
        """What the file put out; None where it did not run."""
        self._case, self._outputs = case, outputs


@dataclass(frozen=True)
class LaterStep:
    """A step after the first: what a file made of its own state, and PyTorch's state beside it."""

    case: str
    state: Mapping[str, str]
    run: Run
    own: Tensors
    right: Tensors
    outputs: Tensors

    @property
    def number(self) -> int:
        return sequences.parts_of(self.case)[1]

    def why(self, passes: Callable[[Tensors], bool]) -> str:
        """Why an output is off at this step; `passes` judges it among other outputs of the file."""
        last = self.number - 1
        try:
            ignored = [name for name in self.state if self._is_ignored(name)]
            if ignored:
                names = ", ".join(
                    f"'{n}' (what '{self.state[n]}' was at step {last})" for n in ignored
                )
                return f"step {self.number}: the file ignores its state: {names} changes nothing"
            forced = self.run(self.right)
        except MlshipError:  # a record of another machine, which cannot be asked again
            return ""
        if passes(forced):
            what = "the difference is in its own state, which has drifted"
            return f"step {self.number}: with PyTorch's state of step {last} it passes: {what}"
        return (
            f"step {self.number}: with PyTorch's state of step {last} it fails as well: "
            "wrong at this step, not by drift"
        )

    def _is_ignored(self, name: str) -> bool:
        """Whether the file puts out the very same for zeros in place of this state."""
        held = np.asarray(self.own[name])
        if not held.any():
            return False
        found = self.run({**self.own, name: np.zeros_like(held)})
        return found.keys() == self.outputs.keys() and all(
            np.array_equal(found[key], self.outputs[key], equal_nan=True) for key in found
        )
