"""A model with state, called step by step: what it put out is what it is fed with next."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from converters.api import Runner, Tensors
from model_defs.spec import ModelSpec, TensorSpec


def first_state(inputs: Iterable[TensorSpec], state: Mapping[str, str]) -> dict[str, np.ndarray]:
    """What the inputs that are state are fed with at the first step: zeros."""
    return {spec.name: np.zeros(spec.shape, spec.dtype) for spec in inputs if spec.name in state}


def fed_back(state: Mapping[str, str], outputs: Tensors) -> dict[str, np.ndarray]:
    """What the inputs that are state are fed with after these outputs; without what is missing."""
    return {name: outputs[source] for name, source in state.items() if source in outputs}


def as_state(spec: TensorSpec) -> TensorSpec:
    """An input as state: no picture, and 0 within its bounds."""
    low = None if spec.low is None else min(spec.low, 0)
    high = None if spec.high is None else max(spec.high, 0)
    return replace(spec, kind="state", preprocess=None, low=low, high=high)


def with_state(spec: ModelSpec, state: Mapping[str, str]) -> ModelSpec:
    """A specification with state that is said beside it, as of the file of a model.

    Raises BadSpec where it cannot be.
    """
    if not state:
        return spec
    inputs = tuple(as_state(one) if one.name in state else one for one in spec.inputs)
    return replace(spec, inputs=inputs, state=state)


_PAST = ("previous", "prev", "last", "old")
_NEXT = ("next", "new", "out", "updated")
_WORD = re.compile(r"(?:h|c|r|s)\d*|hx|cx|hidden|cell|state|memory|mem|carry|cache|recurrent|rec")


def proposed_state(inputs: Iterable[TensorSpec], outputs: Iterable[TensorSpec]) -> dict[str, str]:
    """Which outputs are the next call's inputs by their names, shapes and types: input -> output.

    Proposed is `hidden` of `hidden_out`, `h_in` of `h_out`, `previous_mask` of `mask`, `h0` of
    `hn`, `first` of `first_next`; not a picture that is put out anew (`image` of `image_out`): the
    input's name has to say that it is past, or to be a word for memory.
    """
    inputs, outputs = tuple(inputs), tuple(outputs)
    found: dict[str, str] = {}
    for taken in inputs:
        fitting = [made.name for made in outputs if _is_next(taken, made)]
        if len(fitting) == 1:
            found[taken.name] = fitting[0]
    sources = [*found.values()]
    clear = {name: source for name, source in found.items() if sources.count(source) == 1}
    return clear if len(clear) < len(inputs) else {}


def _is_next(taken: TensorSpec, made: TensorSpec) -> bool:
    if (taken.shape, taken.dtype) != (made.shape, made.dtype):
        return False
    before, is_past = _stem(taken.name.removesuffix("_in"), _PAST, "0")
    # In a tuple, a dict's tensors are called after their place in it as well.
    after, is_next = _stem(re.sub(r"^output\d*_", "", made.name), _NEXT, "n")
    if before != after:
        return False
    if "next" in made.name.split("_") and taken.preprocess is None:
        return True
    return is_past or (is_next and any(map(_WORD.fullmatch, before.split("_"))))


def _stem(name: str, words: tuple[str, ...], digit: str) -> tuple[str, bool]:
    """A name without the words that say when it is, and whether there were any."""
    parts = name.split("_")
    kept = [part for part in parts if part not in words]
    if len(kept) == len(parts) and re.fullmatch(rf"[hc]_?{digit}", name):
        return name[0], True
    return "_".join(kept), len(kept) < len(parts)


class Stepper:
    """A runner that remembers: state that is not given is what came out of the last step."""

    def __init__(
        self, runner: Runner, inputs: Iterable[TensorSpec], state: Mapping[str, str]
    ) -> None:
        self._runner, self._state = runner, state
        self._first = first_state(inputs, state)
        self._held = self._first

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """The outputs of the next step. What is given of the state comes before what is held."""
        outputs = self._runner.run({**self._held, **inputs})
        self._held = {**self._held, **fed_back(self._state, outputs)}
        return outputs

    def reset(self) -> None:
        """The next step is the first again."""
        self._held = self._first
