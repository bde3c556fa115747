"""The manifest's reader: a whole manifest, or an error that says where it lies."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_defs.errors import BadBundle, MlshipError, UnknownName
from tests.toolchain.manifests import contents, with_digest
from toolchain.bundle import bundle, manifest
from toolchain.bundle.manifest import FileEntry, Manifest
from toolchain.recipes import recipes

ENTRY = FileEntry(sha256="1" * 64, bytes=7)


def whole() -> dict[str, Any]:
    return manifest.complete(contents(), {"tiny.bin": ENTRY}).to_json()


def read(data: dict[str, Any]) -> Manifest:
    """A manifest that vouches for itself, whatever it says."""
    return manifest.parse(json.dumps(with_digest(data)), "somewhere/manifest.json")


def changed(**fields: Any) -> dict[str, Any]:
    """With other values at paths whose parts are joined by two underscores."""
    data = whole()
    for path, value in fields.items():
        *outer, last = path.split("__")
        place: Any = data
        for step in outer:
            place = place[int(step) if step.isdigit() else step]
        if value is KeyError:
            del place[last]
        else:
            place[int(last) if last.isdigit() else last] = value
    return data


def test_it_goes_round() -> None:
    found = read(whole())
    assert json.loads(manifest.text_of(found)) == whole()
    assert read(found.to_json()) == found


def test_it_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read(whole()).target = "web"  # type: ignore[misc]


PORT_AT_8 = {"stored_as": "x", "axes": [0, 1, 2, 3], "dtype": "float32"}
ENTRY_AT_8 = {
    "name": "8x8",
    "stored_as": "size_8x8",
    "inputs": [{**PORT_AT_8, "name": "image", "shape": [1, 3, 8, 8]}],
    "outputs": [{**PORT_AT_8, "name": "depth", "shape": [1, 1, 8, 8]}],
}
LIARS: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown field": ({"tagret": "ios"}, "unknown field 'tagret'", "did you mean 'target'"),
    "an unknown field of a tensor": (
        {"inputs__0__prepocess": None},
        "unknown field 'prepocess'",
        "inputs[0]",
    ),
    "a field that is gone": ({"recipe__passes": KeyError}, "recipe.passes is missing", ""),
    "a default that is gone": ({"inputs__0__unit": KeyError}, "inputs[0].unit is missing", ""),
    "a text for a number": ({"model__parameters": "125"}, "not a whole number: '125'", ""),
    "true for a number": ({"files__tiny.bin__bytes": True}, "is not a whole number: True", ""),
    "fewer than none": ({"model__parameters": -1}, "parameters is -1, not at least 0", ""),
    "a number for a text": ({"model__summary": 3}, "model.summary is not a text: 3", ""),
    "a list of numbers": ({"recipe__passes": [3]}, "recipe.passes is not a list of names", ""),
    "another verdict": ({"parity__rows__0__verdict": "pased"}, "is 'pased'", "mean 'passed'"),
    "a proof that lies": ({"parity__rows__0__verdict": "failed"}, "its rows say otherwise", ""),
    "another kind": ({"inputs__0__kind": "imge"}, "inputs[0].kind is 'imge'", "mean 'image'"),
    "compute that is none": ({"compute": "gpu"}, "compute is 'gpu'", "cpu_and_gpu"),
    "no compute": ({"compute": KeyError}, "compute belongs to bundles of Core ML", ""),
    "a path out of the bundle": ({"artifact__path": "../tiny.bin"}, "does not stay", "artifact"),
    "an absolute path": ({"golden": ["/etc/passwd"]}, "does not stay in the folder", "golden[0]"),
    "a file out of the bundle": ({"files": {"../x": ENTRY.model_dump()}}, "does not stay", ""),
    "an artifact that is not there": ({"artifact__path": "other.bin"}, "none of its files", ""),
    "a name that leaves": ({"model__name": "../x"}, "'../x' is no name", "model.name"),
    "a target that leaves": ({"target": "ios/.."}, "is no name", "target"),
    "a target of another format": ({"target": "web"}, "of coreml is for ios", ""),
    "TFLite for the web": (
        {"artifact__format": "tflite", "target": "web", "compute": KeyError},
        "target is 'web', and an artifact of tflite is for android",
        "",
    ),
    "a target of no format": ({"target": "server"}, "target is 'server'", ""),
    "a format of nobody": ({"artifact__format": "tflit"}, "format 'tflit'", "mean 'tflite'"),
    "another digest": ({"files__tiny.bin__sha256": "F" * 64}, "not of the form", "sha256"),
    "axes that are none": (
        {"artifact__inputs__0__axes": [0, 1, 1, 3]},
        "of 'image' do not fit",
        "",
    ),
    "another shape": ({"artifact__outputs__0__shape": [1, 1, 4, 5]}, "of 'depth' do not fit", ""),
    "a port of nobody": ({"artifact__inputs__0__name": "imge"}, "are not the bundle's inputs", ""),
    "a type of nobody": ({"artifact__inputs__0__dtype": "float31"}, "no type of numbers", ""),
    "a size without an entry": (
        {"inputs__0__sizes": [[4, 4], [8, 8]]},
        "artifact.entries are none, and the further sizes 8x8",
        "",
    ),
    "an entry without a size": (
        {"artifact__entries": [ENTRY_AT_8]},
        "artifact.entries are 8x8, and the further sizes none",
        "",
    ),
    "an entry of another size": (
        {
            "inputs__0__sizes": [[4, 4], [8, 9]],
            "artifact__entries": [{**ENTRY_AT_8, "name": "8x9"}],
        },
        "entries: 8x9: inputs: the shape and axes of 'image' do not fit",
        "",
    ),
    "an entry of another output": (
        {
            "inputs__0__sizes": [[4, 4], [8, 8]],
            "artifact__entries": [{**ENTRY_AT_8, "outputs": []}],
        },
        "entries: 8x8: outputs are not the bundle's",
        "",
    ),
    "an artifact at a further size": ({"artifact__entry": "size_8x8"}, "at its default size", ""),
    "golden vectors of no size": ({"golden_at": {"8x8": []}}, "8x8 is no further size", ""),
    "sizes that contradict": (
        {"inputs__0__sizes": [[8, 8], [4, 4]]},
        "sizes begin with 8x8",
        "tensor 'image'",
    ),
    "two tensors of a name": ({"outputs__0__name": "image"}, "stands for two tensors", ""),
    "low above high": ({"inputs__0__low": 2}, "low 2.0 is not below high 1.0", "tensor 'image'"),
    "no inputs": ({"inputs": []}, "inputs is empty", ""),
    "weights of a sentence": ({"model__weights": "untrained"}, "is not a table of fields", ""),
    "weights without a digest": ({"model__weights__sha256": ""}, "need its name and its", ""),
}


def test_a_manifest_of_several_sizes_is_seen_at_each() -> None:
    fields = {"inputs__0__sizes": [[4, 4], [8, 8]], "artifact__entries": [ENTRY_AT_8]}
    found = read(changed(**fields, golden_at={"8x8": ["tiny.bin"]}))
    assert found.at("4x4") is found
    seen = found.at("8x8")
    assert (seen.inputs[0].shape, seen.inputs[0].sizes) == ((1, 3, 8, 8), ())
    assert seen.outputs[0].shape == (1, 1, 8, 8)
    assert (seen.artifact.entry, seen.golden) == ("size_8x8", ("tiny.bin",))
    with pytest.raises(UnknownName, match="size '9x9'"):
        found.at("9x9")


@pytest.mark.parametrize("name", LIARS)
def test_a_liar_is_refused_where_it_lies(name: str) -> None:
    fields, what, more = LIARS[name]
    with pytest.raises(BadBundle) as caught:
        read(changed(**fields))
    error = caught.value
    assert error.what.startswith("the manifest cannot be read: ")
    assert what in error.what
    assert more in f"{error.where} {error.do}"
    assert error.where.startswith("somewhere/manifest.json")
    assert error.do
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"schema": 2, "schema": 2}', "'schema' stands twice"),
        ('{"schema": 2, "model": {"a": 1, "a": 2}}', "'a' stands twice"),
        ('{"schema": NaN}', "NaN is no number"),
        ('{"schema": Infinity}', "Infinity is no number"),
        ("[]", "no JSON object"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"schema": true}', "schema is True, not a number"),
        ('{"schema": "2"}', "schema is '2', not a number"),
        ('{"schema": 0}', "it has schema 0, not 5"),
        ('{"schema": 6}', "it has schema 6, and this mlship reads up to 5"),
        ('{"schema": 5}', "was edited"),
    ],
)
def test_what_is_no_manifest_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadBundle) as caught:
        manifest.parse(text, "manifest.json")
    assert said in caught.value.what


def test_a_number_that_is_none_is_refused() -> None:
    text = json.dumps(with_digest(whole())).replace('"moved": 0.0', '"moved": 1e999')
    data = json.loads(text)
    text = text.replace(data["digest"], manifest.digest_of(data))
    with pytest.raises(BadBundle, match="pass_report"):
        manifest.parse(text, "manifest.json")


VALUES = (None, True, -1, 2**70, 1.5, "../x", "\ud800", [], {"a": 1})


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all fields and items."""
    if isinstance(node, dict | list):
        for key in node if isinstance(node, dict) else range(len(node)):
            yield (*path, key)
            yield from places(node[key], (*path, key))


def mutated(data: dict[str, Any], path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    found = copy.deepcopy(data)
    place: Any = found
    for step in path[:-1]:
        place = place[step]
    change(place, path[-1])
    return found


def outcome(data: dict[str, Any]) -> Manifest | None:
    """A manifest that can be used, or None where it was refused properly."""
    try:
        found = read(data)
        recipes.of_manifest(found.recipe)
    except (BadBundle, UnknownName):
        return None
    again = manifest.with_own_digest(found)
    assert again == found.model_copy(update={"digest": again.digest})
    one = bundle.Bundle(Path("somewhere"), found)
    assert one.artifact.path.parent == Path("somewhere")
    assert one.artifact_bytes >= 0
    assert [port.logical_shape for port in one.artifact.inputs] == [t.shape for t in one.inputs]
    return found


def test_nothing_comes_of_a_mutant_but_a_manifest_or_an_error() -> None:
    data = whole()
    refused = taken = 0
    for path in places(data):
        for value in VALUES:

            def put(place: Any, key: Any, value: Any = value) -> None:
                place[key] = value

            if outcome(mutated(data, path, put)) is None:
                refused += 1
            else:
                taken += 1
        outcome(mutated(data, path, lambda place, key: place.pop(key)))
    assert refused > 1000
    assert taken > 0  # a free text may say anything


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(2, 6))
def test_several_mutations_at_once(seed: int, count: int) -> None:
    data, dice = whole(), random.Random(seed)
    for _ in range(count):
        path = dice.choice([*places(data)])

        def change(place: Any, key: Any) -> None:
            how = dice.randrange(3)
            if how == 0:
                place.pop(key)
            elif how == 1:
                place[key] = dice.choice(VALUES)
            elif isinstance(place, dict):
                place[f"{key}?"] = place[key]

        data = mutated(data, path, change)
    outcome(data)


@given(text=st.text(max_size=60))
def test_any_text_is_an_error(text: str) -> None:
    with pytest.raises(BadBundle):
        manifest.parse(text, "manifest.json")


def test_a_pass_that_nobody_knows_is_an_error() -> None:
    found = read(changed(recipe__passes=["fold-batchnorms"]))
    with pytest.raises(MlshipError, match="unknown pass") as caught:
        recipes.of_manifest(found.recipe)
    assert "did you mean 'fold-batchnorm'" in caught.value.do


def test_a_bundle_is_sealed_with_what_it_will_be_read_as(tmp_path: Path) -> None:
    (tmp_path / "tiny.bin").write_bytes(b"weights")
    sealed = bundle.seal(tmp_path, contents())
    assert sealed == bundle.read(tmp_path)
