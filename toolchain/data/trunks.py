"""A head's inputs are no pictures: they are what its trunk makes of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from converters.api import Tensors
from converters.stepping import first_state
from model_defs import lookup
from model_defs.spec import ModelSpec
from toolchain.data import cases, sequences

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

    @property
    def has_state(self) -> bool:
        """Whether the model, or a trunk of it, has state: its cases are then sequences."""
        return any(spec.state for spec in (self.head, *(p.spec for p in self.programs)))

    def build_cases(self, names: Iterable[str] | None = None) -> Cases:
        """What the model is given in these cases, or in those that every build is proved on."""
        names, first = self.case_names if names is None else names, self.first
        if self.has_state:
            return self.feed_all(sequences.frames(first.inputs, first.state, names))
        return self.feed_all(cases.build(first.inputs, names))

    def cases_of_folder(self, folder: Path) -> Cases:
        """What the model is given of the pictures in a folder. Raises BadPicture."""
        first = self.first
        if self.has_state:
            return self.feed_all(sequences.frames_of_folder(folder, first.inputs, first.state))
        return self.feed_all(cases.of_folder(folder, first.inputs))

    def feed(self, inputs: Tensors) -> Tensors:
        """What the model is given, of the inputs of the first; its state is zeros or as given."""
        from converters.reference import ReferenceRunner

        held = self._held(inputs)
        for program in self.programs:
            first = first_state(program.spec.inputs, program.spec.state)
            inputs = ReferenceRunner(program).run({**first, **inputs})
        return {**inputs, **held}

    def feed_all(self, cases: Mapping[str, Tensors]) -> Cases:
        """The same of each case; a trunk with state goes along the steps of a sequence."""
        found = {name: dict(inputs) for name, inputs in cases.items()}
        for program in self.programs:
            found = sequences.unrolled(program, found)[1]
        return {name: {**found[name], **self._held(cases[name])} for name in cases}

    def _held(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """The model's own state."""
        first = first_state(self.head.inputs, self.head.state)
        return {name: inputs.get(name, zeros) for name, zeros in first.items()}
