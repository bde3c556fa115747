"""What older files say, as the next schema says it: the only place that knows how it was."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from toolchain.bundle.reading import Upgrade
from toolchain.bundle.weights import SENTENCES


def weights_of(said: str) -> dict[str, str]:
    """The weights that a sentence of schema 1 names; ValueError for another sentence."""
    for kind, sentence in SENTENCES.items():
        if said == sentence:
            return {"kind": kind, "file": "", "sha256": ""}
    found = re.fullmatch(r"(.+), sha256 ([0-9a-f]{64})", said)
    if found is None:
        raise ValueError(f"weights are {said!r}")
    return {"kind": "file", "file": found[1], "sha256": found[2]}


def _manifest_of_1(data: dict[str, Any]) -> dict[str, Any]:
    """Weights were a sentence, the pass report was called a ledger, and some fields came later."""
    model, recipe, parity, artifact = (
        data[key] for key in ("model", "recipe", "parity", "artifact")
    )
    added = {"compute": "all"} if artifact["format"] == "coreml" else {}
    entries = [{"metrics": {}, **entry} for entry in recipe.get("ledger", ())]
    rest = {key: value for key, value in recipe.items() if key != "ledger"}
    rows = [{"metrics": {}, "hint": "", **row} for row in parity["rows"]]
    return {
        **added,
        **data,
        "schema": 2,
        "model": {**model, "weights": weights_of(model["weights"])},
        "recipe": {"layers": {}, "keep": {}, "pruned": False, **rest, "pass_report": entries},
        "parity": {**parity, "rows": rows},
    }


def _manifest_of_2(data: dict[str, Any]) -> dict[str, Any]:
    """All tensors were float32."""
    both = {
        side: [{"dtype": "float32", **tensor} for tensor in data[side]]
        for side in ("inputs", "outputs")
    }
    return {**data, "schema": 3, **both}


def _manifest_of_3(data: dict[str, Any]) -> dict[str, Any]:
    """A model had one size, and no state that a bundle knew of."""
    both = {
        side: [{**tensor, "sizes": []} for tensor in data[side]] for side in ("inputs", "outputs")
    }
    artifact = {**data["artifact"], "entries": [], "entry": ""}
    more = {"artifact": artifact, "golden_at": {}, "state": {}}
    return {**data, "schema": 4, **both, **more}


def _manifest_of_4(data: dict[str, Any]) -> dict[str, Any]:
    """Only one question was asked, no constants were compared, and no measure judged an output."""
    both = {
        side: [{**tensor, "limit": None} for tensor in data[side]] for side in ("inputs", "outputs")
    }
    parity = data["parity"]
    rows = [{**row, "question": "accurate"} for row in parity["rows"]]
    asked = {"questions": ["accurate"], "constants": None, "rows": rows}
    return {**data, "schema": 5, **both, "golden_rounded": [], "parity": {**parity, **asked}}


MANIFEST: Mapping[int, Upgrade] = {
    1: _manifest_of_1,
    2: _manifest_of_2,
    3: _manifest_of_3,
    4: _manifest_of_4,
}


def _lock_of_1(data: dict[str, Any]) -> dict[str, Any]:
    """Weights were a sentence; the digest of a spec was of its text, where 0 was not 0.0."""
    bundles = {
        name: {**one, "spec": None, "weights": weights_of(one["weights"])}
        for name, one in data["bundles"].items()
    }
    return {**data, "schema": 2, "bundles": bundles}


def _lock_of_2(data: dict[str, Any]) -> dict[str, Any]:
    """Of what a bundle says only its tensors were locked, as a digest that is not made any more."""
    bundles = {
        name: {**{k: v for k, v in one.items() if k != "spec"}, "says": {}, "measured": {}}
        for name, one in data["bundles"].items()
    }
    return {**data, "schema": 3, "machine": "", "bundles": bundles}


LOCK: Mapping[int, Upgrade] = {1: _lock_of_1, 2: _lock_of_2}


def _baseline_of_1(data: dict[str, Any]) -> dict[str, Any]:
    bundles = [{**one, "weights": weights_of(one["weights"])} for one in data["bundles"]]
    return {**data, "schema": 2, "bundles": bundles}


BASELINE: Mapping[int, Upgrade] = {1: _baseline_of_1}
PROJECT: Mapping[int, Upgrade] = {1: lambda data: {**data, "schema": 2}}
"""An mlship.toml of schema 1 says nothing of its schema; nothing else has changed."""
