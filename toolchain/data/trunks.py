"""A head's inputs are no pictures: they are what its trunk makes of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converters.api import Tensors
from model_defs import lookup
from model_defs.spec import ModelSpec
from toolchain.data import cases

if TYPE_CHECKING:
    from converters.api import Program

Cases = dict[str, dict[str, np.ndarray]]
"""Case -> name of a tensor -> its values."""


@dataclass(frozen=True)
class Trunks:
    """The trunk of a head, after the trunk of that trunk; none for a model that takes pictures.

    A trunk has the weights of its own specification: a file that is given to a head is the
    head's alone.
    """

    head: ModelSpec
    programs: tuple[Program, ...] = ()

    @classmethod
    def of(cls, head: ModelSpec) -> Trunks:
        """Those of a model, captured. Raises what looking up and capturing raise."""
        from converters.capture import capture

        programs: list[Program] = []
        spec = head
        while spec.fed_by is not None:
            programs.insert(0, capture(lookup.load(spec.fed_by)))
            spec = programs[0].spec
        return cls(head, tuple(programs))

    @property
    def first(self) -> ModelSpec:
        """The model whose inputs are given: the first trunk, or the model itself."""
        return self.programs[0].spec if self.programs else self.head

    @property
    def case_names(self) -> tuple[str, ...]:
        """The cases that every build of the model is proved on."""
        return cases.CASES + self.first.cases

    def build_cases(self) -> Cases:
        """What the model is given in these cases."""
        return self.feed_all(cases.build(self.first.inputs, self.case_names))

    def feed(self, inputs: Tensors) -> Tensors:
        """What the model is given, of the inputs of the first."""
        from converters.reference import ReferenceRunner

        for program in self.programs:
            inputs = ReferenceRunner(program).run(inputs)
        return inputs

    def feed_all(self, cases: Mapping[str, Tensors]) -> Cases:
        """The same of each case."""
        return {name: dict(self.feed(inputs)) for name, inputs in cases.items()}
