"""A .pt2 file, looked through before PyTorch loads it: what it would run is not in what we load.

PyTorch's loader unpickles what it is told to, evaluates expressions, resolves dotted names and
writes Python out of names (torch/_export/serde). What is loaded is therefore a copy that this
module has written: of the parts that are known, with the names and targets that are harmless.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from model_defs.errors import BadArtifact

PROGRAM = re.compile(r"(.*/)?(models/[^/]+\.json|serialized_exported_program\.json)")
CONFIG = re.compile(r".*/data/(weights|constants)/[^/]+_config\.json")
NUMBERS = re.compile(r".*/data/(weights|constants)/(weight|tensor)_\d+")
PICKLED = re.compile(r"(.*/data/.*|serialized_\w+)\.pt")
COMPILED = re.compile(r".*/data/aotinductor/.*")
ABOUT = re.compile(r"(.*/)?(archive_format|archive_version|version|byteorder|\.data/.*)")

TARGET = re.compile(
    r"torch\.ops\.(aten|prims|prim|torchvision|quantized_decomposed)\.\w+\.\w+"
    r"|torch\.ops\.higher_order\.\w+|torch\.sym_\w+|math\.\w+"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pow|and_|or_|eq|ne|lt|le|gt|ge|not_)"
)
FORBIDDEN = ("torch.ops.aten.from_file.",)
"""Operators that reach beyond their tensors."""
NAME = re.compile(r"[\w.\-:<>+/ ]*")
WORD = re.compile(r"[^\W\d]\w*")
EXPRESSION = re.compile(r"[\w\s.,()<>=!&|~*/+\-]*")
SYMBOL = re.compile(r"Symbol\('\w+'(, \w+=(True|False))*\)")
WORDS = re.compile(
    r"[a-z]+\d+|Max|Min|Mod|PythonMod|\w+Div|ToFloat|TruncToInt|RoundToInt|Eq|Ne|Lt|Le|Gt|Ge"
    r"|Where|And|Or|Not|True|False|oo|int_oo|ceiling|floor|Abs|Identity|PowByNatural"
)
"""What symbolic shapes are written with: symbols, and these functions."""

TRUST = "pass --trust-pickle (trust_pickle=True) if you trust whoever made it: unpickling runs code"


def harmless_copy(path: Path, folder: Path, *, trust_pickle: bool) -> Path:
    """A copy of the archive, in the folder, without what would run; tensors lie on the CPU.

    Raises BadArtifact for a file that is no archive, or does not load without being trusted.
    """
    copy = folder / "program.pt2"
    try:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as written:
            for name in archive.namelist():
                content = _content(name, archive.read(name), path, trust_pickle=trust_pickle)
                if content is not None:
                    written.writestr(name, content)
    except (zipfile.BadZipFile, EOFError) as error:
        raise BadArtifact(f"the file is damaged: {error}", where=str(path)) from error
    return copy


def _content(name: str, content: bytes, path: Path, *, trust_pickle: bool) -> bytes | None:
    """What stands for one part in the copy; None for what is left away."""
    if PROGRAM.fullmatch(name):
        return json.dumps(_program(_json(name, content, path), path)).encode()
    if CONFIG.fullmatch(name):
        return json.dumps(_config(_json(name, content, path), path, trust_pickle)).encode()
    if COMPILED.fullmatch(name):
        raise BadArtifact(
            "the file holds a compiled library (AOTInductor), not a program",
            where=f"{path}: {name}",
            do="save the program itself, with torch.export.save",
        )
    if PICKLED.fullmatch(name):
        _check_pickled(name, content, path, trust_pickle)
        return content
    if NUMBERS.fullmatch(name) or ABOUT.fullmatch(name):
        return content
    return content if trust_pickle else None


def _json(name: str, content: bytes, path: Path) -> Any:
    try:
        return json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadArtifact("the file is damaged: it has no JSON", where=f"{path}: {name}") from error


def _check_pickled(name: str, content: bytes, path: Path, trust_pickle: bool) -> None:
    """That a part holds tensors alone, or is trusted: the loader would unpickle all of it."""
    import torch

    if trust_pickle:
        return
    try:
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # of what is none of its files, torch.load raises anything
        raise _untrusted(f"{path}: {name}") from error


def _untrusted(where: str) -> BadArtifact:
    return BadArtifact("a part of the file is pickled Python objects", where=where, do=TRUST)


def _config(config: Any, path: Path, trust_pickle: bool) -> Any:
    """Where each tensor lies; of those that are pickled, and other objects, none untrusted."""
    for name, part in config.get("config", {}).items():
        other = str(part.get("path_name", "")).startswith(("custom_obj", "opaque_obj"))
        if (part.get("use_pickle") or other) and not trust_pickle:
            raise _untrusted(f"{path}: {name}")
    return _on_cpu(config)


def _program(program: Any, path: Path) -> Any:
    """The program with harmless names alone, and without guards, which are Python's code."""
    for key, text in _strings(program):
        reason = _harm(key, text)
        if reason:
            raise BadArtifact(
                f"the program holds {reason}: {text[:60]!r}",
                where=str(path),
                do="save it again with torch.export.save; operators of your own are not known here",
            )
    return _on_cpu({**program, "guards_code": []})


def _strings(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text that the loader makes something of, with the key that it stands below."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            if name not in ("metadata", "guards_code", "as_string", "as_strings"):
                yield "name", str(name)
                yield from _strings(value, str(name))
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value, key)
    elif isinstance(node, str):
        yield key, node


def _harm(key: str, text: str) -> str:
    """What is wrong with a text; "" if nothing."""
    if key in ("target", "as_operator"):
        known = TARGET.fullmatch(text) and not text.startswith(FORBIDDEN)
        return "" if known else "an operator that is not PyTorch's own"
    if key == "expr_str":
        text = SYMBOL.sub("s0", text)
        plain = EXPRESSION.fullmatch(text) and all(map(WORDS.fullmatch, WORD.findall(text)))
        return "" if plain else "an expression that is no size"
    if key in ("in_spec", "out_spec"):
        return _harm_of_structure(text) if key == "in_spec" else ""
    return "" if NAME.fullmatch(text) else "a name that is none"


def _harm_of_structure(text: str) -> str:
    """The same of how the inputs are nested: JSON, with JSON in it for the keys of a dict."""
    try:
        found = [*_strings(json.loads(text))]
        inner = [
            part for key, text in found if key == "context" for part in _strings(json.loads(text))
        ]
    except json.JSONDecodeError:
        return "inputs that cannot be read"
    names = [part for key, part in found if key != "context"] + [part for _, part in inner]
    return "" if all(map(NAME.fullmatch, names)) else "a name of an input that is none"


def _on_cpu(node: Any) -> Any:
    """The same with every device the CPU."""
    if isinstance(node, list):
        return [_on_cpu(value) for value in node]
    if not isinstance(node, Mapping):
        return node
    return {
        name: {"type": "cpu", "index": None}
        if name in ("device", "as_device") and isinstance(value, Mapping)
        else _on_cpu(value)
        for name, value in node.items()
    }
