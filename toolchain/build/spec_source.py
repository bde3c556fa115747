"""A specification as Python, for a user to keep: what `mlship spec` prints."""

from __future__ import annotations

import json
import os
import textwrap
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from converters.stepping import as_state, proposed_state
from model_defs.spec import ModelSpec, Postprocess, Preprocess, TensorSpec

HEAD = '''"""What `mlship spec` found of {target} by running it once. It is yours to change."""

'''


def source(spec: ModelSpec, model: str, call: str = "", weights: Path | None = None) -> str:
    """The file, for the folder that it is asked in; `model` is path/to/file.py:Net, `call` code."""
    spec = _with_state(spec)
    path, _, attribute = model.rpartition(":")
    relative = Path(os.path.relpath(path))
    used = {type(rule).__name__ for t in (*spec.inputs, *spec.outputs) for rule in _rules(t)}
    names = ", ".join(sorted({"ModelSpec", "TensorSpec", *used}))
    text = HEAD.format(target=f"{relative.as_posix()}:{attribute}")
    text += _imports(relative, attribute, names, weights)
    text += "\n" + "".join(f"# {note}\n" for note in spec.notes)
    for side in ("inputs", "outputs"):
        tensors = "".join(f"    {_tensor(one)},\n" for one in getattr(spec, side))
        text += f"{side} = (\n{tensors})\n"
    build = attribute if _is_made(model) else f"lambda: {attribute}"
    more = [f"    call={call},\n"] if call else []
    if spec.state:
        more.append(f"    state={json.dumps(spec.state)},\n")
    if weights is not None:
        more.append(f"    weights=HERE / {quoted(Path(os.path.relpath(weights)).as_posix())},\n")
    fixed = f"    {quoted(spec.name)},\n    {build},\n    inputs=inputs,\n    outputs=outputs,\n"
    return f"{text}spec = ModelSpec(\n{fixed}{''.join(more)})\n"


def _with_state(spec: ModelSpec) -> ModelSpec:
    """With the state that its names propose, where none is said."""
    state = spec.state or proposed_state(spec.inputs, spec.outputs)
    inputs = tuple(as_state(t) if t.name in state else t for t in spec.inputs)
    return replace(spec, state=state, inputs=inputs)


def _is_made(model: str) -> bool:
    """Whether the name is of what makes the module, not of the module."""
    from torch import nn

    from model_defs import lookup

    return not isinstance(lookup.load_as(model, object), nn.Module)


def _imports(relative: Path, attribute: str, names: str, weights: Path | None) -> str:
    """Lines that find the user's module where it is, as seen from the file."""
    folder, stem = relative.parent.as_posix(), relative.stem
    plain = stem.isidentifier()
    here = weights is not None or folder != "." or not plain
    lines = ["import runpy"] if not plain else []
    lines += ["import sys"] if folder != "." else []
    lines += ["from pathlib import Path"] if here else []
    lines += [""] if lines else []
    lines += [f"from mlship import {names}", ""]
    lines += ["HERE = Path(__file__).resolve().parent"] if here else []
    lines += [f"sys.path.insert(0, str(HERE / {quoted(folder)}))"] if folder != "." else []
    if plain:
        lines.append(f"from {stem} import {attribute}  # noqa: E402")
    else:
        file = f"runpy.run_path(str(HERE / {quoted(relative.as_posix())}))"
        lines.append(f"{attribute} = {file}[{quoted(attribute)}]")
    return "\n".join(lines) + "\n"


def quoted(value: object) -> str:
    """A literal, with the quotes that formatters of Python write."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _rules(tensor: TensorSpec) -> list[Preprocess | Postprocess]:
    return [rule for rule in (tensor.preprocess, tensor.postprocess) if rule is not None]


def _tensor(tensor: TensorSpec) -> str:
    first = f"{quoted(tensor.name)}, {tensor.shape!r}, {quoted(tensor.kind)}"
    rest = _given(tensor, skip=("name", "shape", "kind"))
    one = f"TensorSpec({', '.join([first, *rest])})"
    if len(one) <= 94:
        return one
    return "TensorSpec(\n" + textwrap.indent(",\n".join([first, *rest]), " " * 8) + ",\n    )"


def _given(value: Any, skip: tuple[str, ...] = ()) -> list[str]:
    """The fields that are not at their default, as arguments."""
    found = []
    for field in fields(value):
        here = getattr(value, field.name)
        if field.name in skip or here == field.default:
            continue
        is_rule = isinstance(here, Preprocess | Postprocess)
        text = f"{type(here).__name__}({', '.join(_given(here))})" if is_rule else quoted(here)
        found.append(f"{field.name}={text}")
    return found
