"""Weights out of files, as people have them: in containers, below prefixes, in half precision.

What is taken out of what is said, in notes. A file is data: it is unpickled only where the caller
says that whoever made it is trusted.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model_defs.errors import BadWeights
from model_defs.files import check_file

CONTAINERS = (
    *("params_ema", "state_dict_ema", "model_ema", "ema"),
    *("state_dict", "model_state_dict", "model", "params"),
)
"""Where a checkpoint has its tensors; averaged ones go first, which is what is shipped."""
PREFIXES = ("module.", "model.", "_orig_mod.")
"""What DataParallel, Lightning and torch.compile put before a name."""
COMPILED = "_orig_mod."
COUNTER = "num_batches_tracked"
"""What BatchNorm counts and never computes with; files of before PyTorch 0.4.1 lack it."""

SAVE = "save it with safetensors, or with torch.save(module.state_dict(), path)"
TRUST = (
    "pass --trust-pickle (trust_pickle=True) if you trust whoever made it: unpickling runs code; "
    "or save module.state_dict() alone"
)


@dataclass(frozen=True)
class StateDict:
    """Tensors by name, and what was done to the file's to have them."""

    tensors: Mapping[str, torch.Tensor]
    notes: tuple[str, ...] = ()


def load_weights(
    module: nn.Module,
    path: Path,
    part: str = "",
    inputs: Sequence[torch.Tensor] = (),
    *,
    trust_pickle: bool = False,
) -> list[str]:
    """Load a state dict that fits exactly; returns what was done to the file's tensors, or the net.

    Of a file that has tensors below `part`, these are taken. Where `inputs` are given, and the
    file is of the same net with fewer channels, these are taken out of the module. BadWeights
    names the keys that do not fit.
    """
    wanted = module.state_dict()
    read = fitting(read_weights(path, wanted, trust_pickle=trust_pickle), wanted, part)
    found, notes = read.tensors, list(read.notes)
    notes += _narrowed(module, inputs, found) if inputs else []
    wanted = module.state_dict()
    counters = {k for k in wanted.keys() - found.keys() if k.split(".")[-1] == COUNTER}
    problems = {
        "missing": sorted(wanted.keys() - found.keys() - counters),
        "unexpected": sorted(found.keys() - wanted.keys()),
        "of another shape": [
            f"{key} ({tuple(found[key].shape)}, not {tuple(wanted[key].shape)})"
            for key in sorted(wanted.keys() & found.keys())
            if found[key].shape != wanted[key].shape
        ],
    }
    if any(problems.values()):
        text = "; ".join(f"{len(v)} {k}: {_some(v)}" for k, v in problems.items() if v)
        raise BadWeights(
            f"the weights do not fit the module: {text}",
            where=str(path),
            do="pass the file that belongs to this architecture, saved from its state_dict()",
        )
    module.load_state_dict({**{k: wanted[k] for k in counters}, **found})
    return notes


def _narrowed(
    module: nn.Module, inputs: Sequence[torch.Tensor], found: Mapping[str, torch.Tensor]
) -> list[str]:
    from converters.channels.fit import narrowed  # needs SciPy

    return narrowed(module, inputs, found)


def _some(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def fitting(state: StateDict, wanted: Mapping[str, torch.Tensor], part: str = "") -> StateDict:
    """The tensors under the names that a module has, as far as `part` and the prefixes explain it.

    Of all prefixes, one behind the other, those are taken away below which most of the module's
    names are found; none where none is better.
    """
    found, notes = dict(state.tensors), list(state.notes)
    found = (_below(f"{part}.", found) if part else {}) or found
    plain = {name.replace(COMPILED, ""): tensor for name, tensor in found.items()}
    if plain.keys() != found.keys() and len(plain) == len(found):
        best = _best_prefix(plain, wanted)
        if _common(_below(best, plain), wanted) > _common(found, wanted):
            found = plain
            notes.append(f"weights: {COMPILED} was taken out of the names (of torch.compile)")
    taken = _best_prefix(found, wanted)
    left = sorted(name for name in found if not name.startswith(taken))
    if left:
        notes.append(f"weights: not below {taken}, and not taken: {_some(left)}")
    if taken:
        notes.append(f"weights: what is below {taken} was taken")
    return StateDict(_below(taken, found), tuple(notes))


def _best_prefix(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    chains = ["".join(chain) for depth in range(4) for chain in product(PREFIXES, repeat=depth)]
    return max(chains, key=lambda chain: _common(_below(chain, found), wanted))


def _below(prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _common(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> int:
    return len(found.keys() & wanted.keys())


def read_weights(
    path: Path, wanted: Mapping[str, Any] | None = None, *, trust_pickle: bool = False
) -> StateDict:
    """The tensors of a .safetensors or PyTorch file by name, floats as float32.

    They are found in the containers that trainings write; of several, the first that has the
    `wanted` names, else the first. Raises BadWeights.
    """
    if check_file(path, "weights file", BadWeights).st_size == 0:
        raise BadWeights("the weights file is empty: it has 0 bytes", where=str(path), do=SAVE)
    content = _content(path, trust_pickle=trust_pickle)
    state, notes = _unpacked(content, path, wanted or {})
    for name, tensor in state.items():
        _check(name, tensor, path)
    others = [tensor for tensor in state.values() if _is_other_float(tensor)]
    notes += cast_note(f"weights: {len(others)} tensors of {{}}", others)
    tensors = {k: v.float() if _is_other_float(v) else v for k, v in state.items()}
    return StateDict(tensors, tuple(notes))


def _is_other_float(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dtype != torch.float32


def cast_note(what: str, tensors: Sequence[torch.Tensor]) -> list[str]:
    """That tensors, whose types are put into `what`, were cast to float32; nothing of none.

    Of float64 it is said that digits were lost.
    """
    if not tensors:
        return []
    kinds = sorted(set(map(_kind, tensors)))
    lost = ", which keeps 7 of float64's 16 digits" if "float64" in kinds else ""
    return [f"{what.format(' and '.join(kinds))} were cast to float32{lost}"]


def _kind(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _content(path: Path, *, trust_pickle: bool) -> Any:
    """What a file holds, whatever that is."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=not trust_pickle)
    except SafetensorError as error:
        raise _unreadable(path, str(error)) from error
    except Exception as error:  # of a file that is none of its own, torch.load raises anything
        text = _text(path)
        if text:
            what = f"the weights file is a text, which begins with {text!r}"
            raise BadWeights(what, where=str(path), do=SAVE) from error
        named = sorted(set(re.findall(r"(?:GLOBAL|class|global:?) ([\w.]+\.\w+)", str(error))))
        if "Weights only load failed" in str(error) and (named or zipfile.is_zipfile(path)):
            what = "the weights file holds pickled objects beside tensors"
            what += f": {_some(named)}" if named else ""
            raise BadWeights(what, where=str(path), do=TRUST) from error
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, said: str) -> BadWeights:
    first = (said.strip().splitlines() or ["it is damaged"])[0]
    if first.startswith("Weights only load failed"):  # its advice is of another program
        first = "it is damaged, or no file of torch.save"
    return BadWeights(f"the weights file cannot be read: {first}", where=str(path), do=SAVE)


def _text(path: Path, most: int = 40) -> str:
    """How a file of text begins; "" if it is none."""
    with path.open("rb") as file:
        head = file.read(512)
    text = head.decode("utf-8", errors="replace")
    is_text = all(c.isprintable() or c.isspace() for c in text.rstrip("\ufffd"))
    return text.strip().splitlines()[0][:most] if is_text and text.strip() else ""


def _unpacked(
    content: Any, path: Path, wanted: Mapping[str, Any]
) -> tuple[Mapping[str, torch.Tensor], list[str]]:
    """A state dict out of its containers, and a note on which of them it was in."""
    found = [*_state_dicts(content)]
    if not found:
        what = _without_state_dict(content)
        raise BadWeights(f"the file holds no state dict: {what}", where=str(path), do=SAVE)
    for _, state in found:
        other = next((name for name in state if not isinstance(name, str)), None)
        if other is not None:
            what = f"its tensors are called by a {type(other).__name__} ({other!r}), not by names"
            raise BadWeights(f"the file holds no state dict: {what}", where=str(path), do=SAVE)
    chosen, state = next(((name, s) for name, s in found if _fits(s, wanted)), found[0])
    others = [name for name, _ in found if name and name != chosen]
    beside = f" ({', '.join(others)} not)" if others else ""
    return state, [f"weights: '{chosen}' of the file was taken{beside}"] if chosen else []


def _fits(state: Mapping[str, torch.Tensor], wanted: Mapping[str, Any]) -> bool:
    return bool(wanted) and wanted.keys() <= fitting(StateDict(state), wanted).tensors.keys()


def _state_dicts(content: Any, name: str = "") -> Iterator[tuple[str, Mapping[str, torch.Tensor]]]:
    """Every state dict in what was read, by the keys that lead to it."""
    if isinstance(content, nn.Module):  # only where pickles are trusted
        yield name or type(content).__name__, content.state_dict()
    elif isinstance(content, Mapping) and content:
        if all(torch.is_tensor(value) for value in content.values()):
            yield name, content
            return
        for key in CONTAINERS:
            if key in content:
                yield from _state_dicts(content[key], f"{name}.{key}".lstrip("."))


def _without_state_dict(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"it is a {type(content).__name__}"
    if not content:
        return "it is an empty dict"
    first = next(name for name, value in content.items() if not torch.is_tensor(value))
    return f"its {first!r} is a {type(content[first]).__name__}"


def _check(name: str, tensor: torch.Tensor, path: Path) -> None:
    """That a tensor has numbers which can be loaded as they are."""
    if tensor.is_meta:
        what = "is on the device meta, and has no numbers"
    elif tensor.is_quantized:
        what = f"is quantized ({_kind(tensor)})"
    elif tensor.layout != torch.strided:
        what = f"is sparse ({str(tensor.layout).removeprefix('torch.')})"
    elif tensor.is_complex():
        what = f"is complex ({_kind(tensor)})"
    else:
        return
    raise BadWeights(f"{name} {what}", where=str(path), do="save float tensors, dense and real")
