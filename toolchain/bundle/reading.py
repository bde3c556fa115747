"""How every file from outside is read: strictly, into a model, with errors that say what to do.

The only module that knows pydantic's errors. It is imported where a file is read, never before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from model_defs.errors import BadSpec, MlshipError, UnknownName
from model_defs.files import kind_of

T = TypeVar("T")
Step = int | str


class StrictModel(BaseModel):
    """What a file holds: nothing unknown, nothing of another type, nothing that changes.

    Dataclasses inside it are held to the same.
    """

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        serialize_by_alias=True,
        validate_by_name=True,
        validate_by_alias=True,
    )


@dataclass(frozen=True)
class DataFile:
    """A file that is read, for messages: what it is, where it lies, and what helps.

    Of a file that a person writes, nothing is said but what is wrong in it, so `what` is empty;
    its fields are keys, and a key that is not known is an UnknownName.
    """

    what: str
    where: str
    error: type[MlshipError]
    do: str = ""

    def refuse(self, why: str, at: str = "", do: str = "") -> MlshipError:
        """The error for what is wrong with it, at a place in it."""
        where = f"{self.where}: {at}" if at else self.where
        said = f"{self.what} cannot be read: {why}" if self.what else why
        return self.error(said, where=where, do=do or self.do)

    def unknown(self, name: str, known: Sequence[str], at: str) -> MlshipError:
        """The error for a field that is none of those known."""
        noun = "field" if self.what else "key" if at else "table"
        error = UnknownName.among(noun, name, known)
        if self.what:
            return self.refuse(error.what, at, error.do)
        return UnknownName(error.what, where=f"{self.where}: {at}".rstrip(": "), do=error.do)


LARGEST = 64_000_000
"""Bytes of a file that is read at once."""


def read_text(path: Path, file: DataFile, most: int = LARGEST, *, follow: bool = True) -> str:
    """The text of a file of at most so many bytes; links are followed unless `follow` is False.

    The file's error where there is none, or what would never end.
    """
    try:
        status = path.stat(follow_symlinks=follow)
        if (kind := kind_of(status)) != "file":
            raise file.refuse(f"it is a {kind}, not a file")
        if status.st_size > most:
            raise file.refuse(f"it is too large: {status.st_size / 1e6:.0f} MB")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise file.refuse(str(error)) from error


def json_object(text: str, file: DataFile) -> dict[str, Any]:
    """The JSON object in a text; a key that stands twice, NaN and infinity are errors."""
    try:
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise file.refuse(f"this is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise file.refuse(f"this is no JSON object: {_shown(found)}")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"'{next(n for n in names if names.count(n) > 1)}' stands twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


Upgrade = Callable[[dict[str, Any]], dict[str, Any]]
"""Data of one schema as data of the next; KeyError, TypeError, ValueError for what is not."""


def version_of(
    data: Mapping[str, Any], newest: int, steps: Mapping[int, Upgrade], file: DataFile
) -> int:
    """The schema that data has; one without a step, or not known yet, is refused."""
    version = data.get("schema")
    if "schema" not in data:
        raise file.refuse("schema is missing", "schema")
    if type(version) is not int:
        raise file.refuse(f"schema is {_shown(version)}, not a number", "schema")
    if version > newest:
        what = f"it has schema {version}, and this mlship reads up to {newest}"
        raise file.refuse(what, "schema", "install a newer mlship")
    if version < newest and version not in steps:
        raise file.refuse(f"it has schema {version}, not {newest}", "schema")
    return version


def upgraded(
    data: dict[str, Any], newest: int, steps: Mapping[int, Upgrade], file: DataFile
) -> dict[str, Any]:
    """The data as the newest schema has it; `steps` are by the schema that they begin at."""
    for version in range(version_of(data, newest, steps, file), newest):
        try:
            data = steps[version](data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"it is not what schema {version} was: {_of_upgrade(error)}"
            raise file.refuse(why) from error
    return data


def _of_upgrade(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def validated(kind: type[T], data: Mapping[str, Any], file: DataFile) -> T:
    """Data of JSON as a model. Raises the file's error, at the field."""
    return _checked(kind, file, lambda adapter: adapter.validate_json(json.dumps(data)))


def validated_table(kind: type[T], data: Mapping[str, Any], file: DataFile) -> T:
    """Data of TOML as a model, whose lists are lists. Raises the file's error, at the key."""
    return _checked(kind, file, lambda adapter: adapter.validate_python(data))


def _checked(kind: type[T], file: DataFile, validate: Callable[[TypeAdapter[T]], T]) -> T:
    try:
        return validate(TypeAdapter(kind))
    except ValidationError as error:
        raise of_validation(error, kind, file) from error
    except BadSpec as error:
        raise replace(file, do=error.do or file.do).refuse(error.what, error.where) from error
    except RecursionError as error:
        raise file.refuse("it is nested too deeply") from error


def of_validation(error: ValidationError, kind: type[Any], file: DataFile) -> MlshipError:
    """Our error for pydantic's: the first field, what is wrong with it, and the nearest name."""
    details = error.errors(include_url=False)
    first = next((d for d in details if d["type"] in UNKNOWN), details[0])
    place = tuple(step for step in first["loc"] if step != "[key]")
    if first["type"] in UNKNOWN:
        known = [*_schema_at(kind, place[:-1]).get("properties", {})]
        return file.unknown(str(place[-1]), known, path_of(place[:-1]))
    why, do = _said(first, place, kind)
    if not file.what and first["type"] in ("model_type", "dict_type"):
        do = f"write [{path_of(place)}] on a line"
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return file.refuse(why + more, path_of(place), do)


UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")
NOUNS = {
    "string": "a text",
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a finite number",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "dict": "a table of names and values",
    "mapping": "a table of names and values",
    "model": "a table of fields",
    "dataclass": "a table of fields",
    "path": "a path",
}
"""By the beginning of pydantic's name for an error of type."""


def _said(first: ErrorDetails, place: Sequence[Step], kind: type[Any]) -> tuple[str, str]:
    """What is wrong with a field, and what to do where that is known."""
    name, sort, given = path_of(place) or "it", first["type"], _shown(first["input"])
    if sort in MISSING:
        return f"{name} is missing", ""
    if sort == "string_type" and isinstance(place[-1] if place else None, int):
        return f"{path_of(place[:-1])} is not a list of names: it has {given}", ""
    if sort in ("literal_error", "enum"):
        schema = _schema_at(kind, place)
        allowed = [str(one) for one in schema.get("enum", [schema.get("const")])]
        return f"{name} is {given}", UnknownName.among("", str(first["input"]), allowed).do
    if sort == "string_pattern_mismatch":
        return f"{name} is {given}, not of the form {first['ctx']['pattern']}", ""
    if sort == "value_error":
        what, *do = first["ctx"]["error"].args  # a second argument of ours is what to do
        return f"{name}: {what}" if place else str(what), "".join(do)
    if sort == "too_short":
        return f"{name} is empty", ""
    if sort == "greater_than_equal":
        return f"{name} is {given}, not at least {first['ctx']['ge']}", ""
    if sort == "greater_than":
        return f"{name} is {given}, not above {first['ctx']['gt']}", ""
    noun = NOUNS.get(sort, NOUNS.get(sort.partition("_")[0], ""))
    if noun == "a list" and _schema_at(kind, place).get("items") == {"type": "string"}:
        noun = "a list of names"
    if noun:
        return f"{name} is not {noun}: {given}", ""
    return f"{name} is {given}: {first['msg'][:1].lower()}{first['msg'][1:]}", ""


def path_of(place: Sequence[Step]) -> str:
    """A field as one writes it: `inputs[0].preprocess.mean[2]`."""
    made = ""
    for step in place:
        if isinstance(step, int):
            made += f"[{step}]"
        elif re.fullmatch(r"[\w-]+", step):
            made += f".{step}" if made else step
        else:
            made += f"[{step!r}]"
    return made


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _schema_at(kind: type[Any], place: Sequence[Step]) -> dict[str, Any]:
    """The JSON schema of a field."""
    whole = TypeAdapter(kind).json_schema()
    node = _resolved(whole, whole)
    for step in place:
        inner: Any = (
            node.get("items", {})
            if isinstance(step, int)
            else node.get("properties", {}).get(step, node.get("additionalProperties", {}))
        )
        node = _resolved(inner if isinstance(inner, dict) else {}, whole)
    return node


def _resolved(node: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """A schema without a reference, and of alternatives the first that is not null."""
    if "anyOf" in node:
        node = next((one for one in node["anyOf"] if one != {"type": "null"}), {})
    if "$ref" in node:
        node = whole["$defs"][node["$ref"].rpartition("/")[2]]
    return node


def first_missing(given: Any, whole: Any, place: tuple[Step, ...] = ()) -> tuple[Step, ...] | None:
    """Where data says less than all of it: what was left to a default."""
    if isinstance(whole, dict) and isinstance(given, dict):
        pairs = {key: (given.get(key), value) for key, value in whole.items()}
        left = next((key for key in whole if key not in given), None)
        if left is not None:
            return (*place, left)
    elif isinstance(whole, list) and isinstance(given, list):
        pairs = dict(enumerate(zip(given, whole, strict=True)))
    else:
        return None
    found = (first_missing(a, b, (*place, key)) for key, (a, b) in pairs.items())
    return next((one for one in found if one is not None), None)
