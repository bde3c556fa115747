"""The layer that explains a loss of accuracy."""

from __future__ import annotations

from converters.progress import Say
from model_defs.errors import MlshipError
from toolchain.debug.blame import blame
from toolchain.parity.subject import Subject


def layer_to_blame(subject: Subject, say: Say) -> str:
    """The first layer that does not compute what it should, else the one that adds most error.

    A constant that is not the program's comes before all.
    """
    try:
        found = blame(subject, say=say)
    except MlshipError as error:
        return f"no layer can be named: {error.what}"
    if found.constants:
        return f"layer {found.constants[0].layer}: {found.constants[0].sentence}"
    for backend in found.backends:
        if backend.layers:
            layer = backend.first or backend.ranked[0]
            said = "is to blame" if backend.first else "adds most error"
            return (
                f"layer {layer.name} {said} on {backend.backend}: "
                f"{layer.note or f'{layer.added:.2g} of its largest value'}"
            )
    return "no layer can be named: no backend shows its values"
