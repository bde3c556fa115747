"""Why an output is off, where that can be proved: undo a known mistake and compare again.

A hint is offered only if the comparison then passes. It never changes a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from converters.api import Tensors
from model_defs.errors import MlshipError
from model_defs.spec import TensorSpec

if TYPE_CHECKING:
    from converters.api import Program

FLAT = 4.0
"""How many tolerances PyTorch's values must span before agreement means anything."""
BETTER = 0.25
"""What may be left of an error once the mistake is undone, or it was not that mistake."""


@dataclass(frozen=True)
class Evidence:
    """A failed comparison. `run` asks the backend again; `program` is PyTorch's side, if known."""

    spec: TensorSpec
    inputs: Tensors
    expected: Tensors
    outputs: Tensors
    tolerance: float
    run: Callable[[Tensors], Tensors] | None = None
    program: Program | None = None

    @property
    def want(self) -> np.ndarray:
        return self.expected[self.spec.name]

    @property
    def got(self) -> np.ndarray | None:
        return self.outputs.get(self.spec.name)

    def proves(self, candidate: np.ndarray | None, want: np.ndarray | None = None) -> bool:
        """Whether a candidate equals PyTorch's values, which must not be next to constant."""
        want = self.want if want is None else want
        if candidate is None or candidate.shape != want.shape or not np.isfinite(candidate).all():
            return False
        if np.ptp(want) <= FLAT * self.tolerance:
            return False
        off = float(np.abs(candidate.astype(np.float64) - want).max())
        return off <= self.tolerance and off <= BETTER * self._off()

    def _off(self) -> float:
        """What the backend's own values are off by; infinite where they cannot be compared."""
        got = self.got
        if got is None or got.shape != self.want.shape or not np.isfinite(got).all():
            return float("inf")
        return float(np.abs(got.astype(np.float64) - self.want).max())


Candidate = tuple[str, np.ndarray | None]
"""What it would mean, and the values that would prove it if they equal PyTorch's."""

Suspicion = Callable[[Evidence], Iterator[Candidate]]


def explain(evidence: Evidence) -> str:
    """The first mistake that is proved, as a sentence; '' if none is."""
    if not evidence.spec.is_float:
        evidence = _as_numbers(evidence)
    # Candidates are made of wrong numbers: overflows and NaNs among them prove nothing.
    with np.errstate(all="ignore"):
        for suspect in SUSPICIONS:
            for sentence, candidate in suspect(evidence):
                if candidate is evidence.want or evidence.proves(candidate):
                    return sentence
    return ""


def _as_numbers(e: Evidence) -> Evidence:
    """Labels as numbers that can be subtracted; a hint is then offered if all of them are equal."""
    both = [{n: np.asarray(a, np.float32) for n, a in x.items()} for x in (e.expected, e.outputs)]
    return replace(e, expected=both[0], outputs=both[1], tolerance=0.0)


def misnamed(e: Evidence) -> Iterator[Candidate]:
    """Another output holds these values: the outputs are swapped, or this one was renamed."""
    for name, values in e.outputs.items():
        if name != e.spec.name:
            kind = "the outputs are swapped" if name in e.expected else "the output was renamed"
            yield f"{kind}: '{name}' holds the values of '{e.spec.name}'", values


def concatenated(e: Evidence) -> Iterator[Candidate]:
    """The values are some channels of a larger output."""
    channels = e.want.shape[1] if e.want.ndim > 1 else 0
    for name, values in e.outputs.items():
        if values.ndim != e.want.ndim or values.ndim < 2 or values.shape[1] <= channels:
            continue
        for first in range(values.shape[1] - channels + 1):
            what = (
                f"outputs are concatenated: channels {first} to {first + channels - 1} of '{name}'"
            )
            yield f"{what} are '{e.spec.name}'", values[:, first : first + channels]


def layout(e: Evidence) -> Iterator[Candidate]:
    """The numbers are right and lie in another order."""
    got = e.got
    if got is None or e.want.ndim != 4 or got.ndim != 4 or got.size != e.want.size:
        return
    # By the order in which the numbers lie, whatever shape the backend gives them.
    n, c, h, w = e.want.shape
    yield (
        "the layout is (N, H, W, C) where (N, C, H, W) is declared",
        got.reshape(n, h, w, c).transpose(0, 3, 1, 2),
    )
    yield (
        "the layout is (N, C, H, W) where (N, H, W, C) is declared",
        got.transpose(0, 2, 3, 1).reshape(n, c, h, w),
    )
    yield (
        "height and width are transposed",
        got.reshape(n, c, w, h).transpose(0, 1, 3, 2),
    )
    # The following turn an axis round, which the declared shape has to have.
    if got.shape != e.want.shape:
        return
    yield "the rows are upside down", got[:, :, ::-1]
    yield "the columns are mirrored", got[:, :, :, ::-1]
    yield "the channels are in reverse order (RGB and BGR)", got[:, ::-1]


def activation(e: Evidence) -> Iterator[Candidate]:
    """An activation is missing at the end, or there is one too many."""
    got = e.got
    if got is None or not got.size:
        return
    for name, function in ACTIVATIONS.items():
        yield f"the last {name} is missing: equal after {name}", function(got)
    for name, inverse in INVERSES.items():
        yield f"{name} is applied twice: equal before the last {name}", inverse(got)


def scale(e: Evidence) -> Iterator[Candidate]:
    """A constant factor or offset, fitted by least squares."""
    got = e.got
    if got is None or got.shape != e.want.shape or not np.isfinite(got).all() or not np.ptp(got):
        return
    x, y = got.astype(np.float64).ravel(), e.want.astype(np.float64).ravel()
    if not np.any(x):
        return
    # The simplest first: whatever a factor alone explains, a line explains as well.
    factor = float(x @ y / (x @ x))
    yield f"off by a constant factor: PyTorch's is {factor:.6g} times this", got * factor
    offset = float(y.mean() - x.mean())
    yield f"off by a constant: PyTorch's is this {offset:+.6g}", got + offset
    slope, intercept = np.polyfit(x, y, 1)
    line = f"{slope:.6g} times this {intercept:+.6g}"
    yield f"off by a factor and a constant: PyTorch's is {line}", got * slope + intercept


def inputs_differ(e: Evidence) -> Iterator[Candidate]:
    """The file expects its picture in another form: what it answers to that form is right."""
    if e.run is None:
        return
    for name, values in e.inputs.items():
        for sentence, change in PICTURE_FORMS.items():
            if values.ndim == 4 and (values.shape[1] == 3 or "channels" not in sentence):
                changed = {**e.inputs, name: change(values)}
                yield f"input '{name}': {sentence}", _asked(e.run, changed, e.spec.name)


def _asked(run: Callable[[Tensors], Tensors], inputs: Tensors, name: str) -> np.ndarray | None:
    try:
        return run(inputs).get(name)
    except MlshipError:  # it refuses its input in this form
        return None


def reference_differs(e: Evidence) -> Iterator[Candidate]:
    """PyTorch gives these values, too, if one option is changed everywhere in the model."""
    if e.program is None or e.got is None or e.got.shape != e.want.shape:
        return
    from toolchain.parity.counterfactuals import COUNTERFACTUALS, outputs_if

    for sentence, patch in COUNTERFACTUALS.items():
        try:
            changed = outputs_if(e.program, e.inputs, patch)
        except MlshipError:  # a program on grids is no other than it was calibrated as
            continue
        yield sentence, _mirrored(e, changed)


def _mirrored(e: Evidence, changed: Tensors) -> np.ndarray | None:
    """PyTorch's true values if the changed ones equal the backend's, else None."""
    values = changed[e.spec.name]
    # The other way round than elsewhere: the backend's values are held against a changed PyTorch. A
    # change without an effect in this model explains nothing.
    moved = np.abs(values - e.want).max() > e.tolerance
    assert e.got is not None
    return e.want if moved and e.proves(e.got, values) else None


def overflow(e: Evidence) -> Iterator[Candidate]:
    """NaN or infinity, and PyTorch's own activations exceed what float16 holds."""
    if e.program is None or e.got is None or np.isfinite(e.got).all():
        return
    from toolchain.parity.counterfactuals import first_beyond

    found = first_beyond(e.program, e.inputs, float(np.finfo(np.float16).max))
    if found is not None:
        # Nothing equals NaN: the activation is the proof, and PyTorch's own values stand for it.
        what = f"float16 overflows: PyTorch computes {found[1]:.4g} in {found[0]}"
        yield f"{what}, the largest float16 is 65504", e.want


def _sigmoid(x: np.ndarray) -> np.ndarray:
    # The same as 1 / (1 + exp(-x)), without an exp that overflows.
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x.astype(np.float64))))


def _softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _logit(y: np.ndarray) -> np.ndarray | None:
    inside = y.min() > 0 and y.max() < 1
    return np.log(y / (1 - y.astype(np.float64))) if inside else None


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray | None]] = {
    "sigmoid": _sigmoid,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "tanh": np.tanh,
    "softmax": lambda x: _softmax(x) if x.ndim > 1 else None,
    "clamp to 0..1": lambda x: np.clip(x, 0, 1),
    "clamp to -1..1": lambda x: np.clip(x, -1, 1),
}
# Neither relu nor a clamp: applied twice they give what they give once.
INVERSES: dict[str, Callable[[np.ndarray], np.ndarray | None]] = {
    "sigmoid": _logit,
    "tanh": lambda y: np.arctanh(y.astype(np.float64)) if np.abs(y).max() < 1 else None,
}
PICTURE_FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the file expects the channels in reverse order (RGB and BGR)": lambda x: x[:, ::-1].copy(),
    "the file expects 0..255 where 0..1 is declared": lambda x: x * 255,
    "the file expects 0..1 where 0..255 is declared": lambda x: x / 255,
    "the file expects -1..1 where 0..1 is declared": lambda x: x * 2 - 1,
    "the file expects 0..1 where -1..1 is declared": lambda x: (x + 1) / 2,
}

SUSPICIONS: tuple[Suspicion, ...] = (
    overflow,
    misnamed,
    concatenated,
    layout,
    activation,
    scale,
    inputs_differ,
    reference_differs,
)
"""In this order: what needs no further run comes first."""
