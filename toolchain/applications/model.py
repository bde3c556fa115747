"""A bundle that is loaded, as an app loads it: arrays to arrays, or a picture to a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from converters.stepping import Stepper
from model_defs.errors import BackendUnavailable, BadPicture, UnknownName
from model_defs.pixels import Placement, to_picture
from model_defs.spec import TensorSpec
from toolchain.applications.inputs import chosen_output, read_inputs
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.running import RunningModel

if TYPE_CHECKING:
    from PIL.Image import Image


class Model:
    """A bundle with its runtime on this machine, until it is closed; a context manager.

    BackendUnavailable where nothing here runs it.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._runner = RunningModel.of_bundle(bundle).runner
        self._steps = Stepper(self._runner, bundle.inputs, bundle.state)
        self._closed = False

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.bundle.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.bundle.outputs

    @property
    def backend(self) -> str:
        """What runs it: mil, litert, tfjs-wasm."""
        return self._runner.backend

    def run(self, arrays: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
        """The outputs by name, of their types, of an array for each input, in PyTorch's layout.

        UnknownName for an input that the model does not have, BadPicture for one that is missing,
        of another shape, or not all finite numbers. BackendUnavailable once it is closed.

        What is state may be left out: it is what the last call put out, and zeros at first.
        """
        if self._closed:
            raise BackendUnavailable(
                f"the model {self.bundle.name} is closed", do="load the bundle again, then run it"
            )
        known = {spec.name: spec for spec in self.inputs}
        if not isinstance(arrays, Mapping):
            raise BadPicture(
                f"a {type(arrays).__name__} does not say which input it is",
                do=f"pass arrays by name: {{{', '.join(f'{name!r}: ...' for name in known)}}}",
            )
        for name in arrays:
            if name not in known:
                raise UnknownName.among("input", name, known)
        given = {
            name: _fitting(arrays, spec)
            for name, spec in known.items()
            if name in arrays or name not in self.bundle.state
        }
        found = self._steps.run(given)
        types = {spec.name: spec.dtype for spec in self.outputs}
        return {name: array.astype(types[name], copy=False) for name, array in found.items()}

    def reset(self) -> None:
        """The next call is the first again: its state is zeros."""
        self._steps.reset()

    def picture(self, path: Path | str, output: str | None = None) -> Image:
        """What the model makes of a picture, laid over it: its first output, or the named one.

        Raises BadPicture where the model takes no picture or puts out none.
        """
        from PIL import Image

        chosen = chosen_output(self.bundle, output)
        tensors, placement = read_inputs(self.bundle, Path(path), ())
        return Image.fromarray(shown(self.run(tensors), chosen, placement))

    def close(self) -> None:
        """End the runtime; nothing where it has ended."""
        if not self._closed:
            self._closed = True
            self._runner.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def shown(
    outputs: Mapping[str, np.ndarray], chosen: TensorSpec, placement: Placement
) -> np.ndarray:
    """An output as an 8-bit picture, by the rule of its specification."""
    assert chosen.postprocess is not None
    return to_picture(outputs[chosen.name], chosen.postprocess, placement)


def _fitting(arrays: Mapping[str, ArrayLike], spec: TensorSpec) -> np.ndarray:
    if spec.name not in arrays:
        raise BadPicture(f"input '{spec.name}' is missing", do=f"give it shape {spec.shape}")
    array = _numbers(arrays[spec.name], spec)
    if array.shape != spec.shape:
        raise BadPicture(f"input '{spec.name}' has shape {array.shape}, not {spec.shape}")
    if not np.isfinite(array).all():
        raise BadPicture(f"input '{spec.name}' holds NaN, or numbers beyond {spec.dtype}")
    return array


def _numbers(given: ArrayLike, spec: TensorSpec) -> np.ndarray:
    """An array in the input's type; text, dates and complex numbers are not read as such."""
    try:
        array = np.asarray(given)
        why = f"{array.dtype} is not real numbers" if array.dtype.kind in "SUcmM" else ""
        if not why:
            with np.errstate(over="ignore", invalid="ignore"):
                made = array.astype(spec.dtype, copy=False)
            if spec.is_float or np.array_equal(made, array):
                return made
            why = f"it has numbers that {spec.dtype} does not hold"
    except (TypeError, ValueError, RuntimeError) as error:  # also what a torch.Tensor raises
        why = str(error).split("\n")[0]
    what = f"input '{spec.name}' is no array of numbers: {why}"
    raise BadPicture(what, do=f"pass a {spec.dtype} array")
