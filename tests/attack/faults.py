"""87 faults of a bundle that somebody put in and sealed again, so that every digest is right.

In the artifact: constants, attributes, activations, resizing, paddings, in each format. In what
lies beside it: loading code, golden vectors, and what the manifest says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from own_models import Two
from safetensors.numpy import load_file, save_file

from converters import formats
from converters.api import Artifact, Program
from tests.toolchain.layer_faults import FAULTS, stored
from tests.toolchain.manifests import resealed
from tests.toolchain.test_damaged import DAMAGES

KINDS = {"ios": "coreml", "android": "tflite", "web": "tfjs"}
GOLDEN = "golden/photo.safetensors"
Put = Callable[[Path, Program], object]


@dataclass(frozen=True)
class BundleFault:
    """`put` changes a copy of a bundle of `two` for its target, whose manifest is then sealed.

    `computes`: the file computes other numbers, or its tensors mean others, so that the model's
    word is against it; `seen`: without the model, too, by what the bundle itself carries.
    """

    name: str
    target: str
    put: Put
    computes: bool
    seen: bool

    def into(self, folder: Path, program: Program) -> Path:
        self.put(folder, program)
        return resealed(folder)


def all_of(two: Two) -> list[BundleFault]:
    """Every fault, in the order of the table."""
    found = []
    for target, kind in KINDS.items():
        artifact = two.bundles[target].manifest.artifact
        for name, fault in FAULTS.items():
            found.append(_of_artifact(name, target, getattr(fault, kind), artifact))
        for name, damage in DAMAGES.items():
            found.append(
                _of_artifact(f"middle: {name}", target, stored("middle.weight", damage), artifact)
            )
    found += [
        BundleFault(name, target, _said(change), computes, seen)
        for name, (target, change, computes, seen) in SAID.items()
    ]
    found += [
        BundleFault(name, target, put, computes, seen)
        for name, (target, put, computes, seen) in BESIDE.items()
    ]
    return found


def _of_artifact(name: str, target: str, put: Put, artifact: Artifact) -> BundleFault:
    def into(folder: Path, program: Program) -> None:
        put(folder / artifact.path, program)

    return BundleFault(name, target, into, computes=True, seen=True)


Manifest = dict[str, Any]


def _said(change: Callable[[Manifest], object]) -> Put:
    def put(folder: Path, program: Program) -> None:
        del program
        resealed(folder, change)

    return put


def _image(**values: Any) -> Callable[[Manifest], object]:
    return lambda m: m["inputs"][0]["preprocess"].update(values)


def _output(**values: Any) -> Callable[[Manifest], object]:
    return lambda m: m["outputs"][0].update(values)


def _swap_ports(manifest: Manifest) -> None:
    one, two = manifest["artifact"]["outputs"]
    one["stored_as"], two["stored_as"] = two["stored_as"], one["stored_as"]


def _worst(manifest: Manifest) -> dict[str, Any]:
    rows: list[dict[str, Any]] = manifest["parity"]["rows"]
    return max(rows, key=lambda row: row["error"] or 0)


def _first_row(manifest: Manifest) -> None:
    """The proof has a row less for every case but the first."""
    rows = manifest["parity"]["rows"]
    manifest["parity"]["rows"] = [row for row in rows if row["case"] == rows[0]["case"]]


SAID: Mapping[str, tuple[str, Callable[[Manifest], object], bool, bool]] = {
    "another mean": ("android", _image(mean=[127.5, 127.5, 127.5]), True, False),
    "another std": ("android", _image(std=[127.5, 127.5, 127.5]), True, False),
    "BGR for RGB": ("ios", _image(colour="BGR"), True, False),
    "letterbox for stretch": ("web", _image(resize="letterbox"), True, False),
    "nearest for bilinear": ("android", _image(filter="nearest"), True, False),
    "another colour beside the picture": ("ios", _image(pad=127), True, False),
    "a lower end of the input": ("web", lambda m: m["inputs"][0].update(low=-1.0), True, False),
    "an upper end of the output": ("android", _output(high=2.0), True, False),
    "a unit": ("ios", _output(unit="m"), True, False),
    "another kind": ("web", _output(kind="mask"), True, False),
    "a tolerance of everything": ("android", _output(tolerance=1.0), True, False),
    "another end of what is shown": (
        "ios",
        lambda m: m["outputs"][0]["postprocess"].update(high=0.5),
        True,
        False,
    ),
    "another filter of what is shown": (
        "web",
        lambda m: m["outputs"][0]["postprocess"].update(filter="nearest"),
        True,
        False,
    ),
    "outputs in another order": ("android", lambda m: m["outputs"].reverse(), True, False),
    "swapped ports": ("ios", _swap_ports, True, True),
    "swapped ports of TFLite": ("android", _swap_ports, True, True),
    "swapped ports of TF.js": ("web", _swap_ports, True, True),
    "another summary": ("ios", lambda m: m["model"].update(summary="best of all"), False, False),
    "another count of parameters": (
        "android",
        lambda m: m["model"].update(parameters=7),
        False,
        False,
    ),
    "weights of another file": (
        "web",
        lambda m: m["model"].update(
            weights={"kind": "file", "file": "w.pt", "sha256": "0" * 64},
        ),
        False,
        False,
    ),
    "another recipe": ("ios", lambda m: m["recipe"].update(name="fp32"), False, False),
    "a layer that is said to be kept": (
        "android",
        lambda m: m["recipe"].update(keep={"middle": "because"}),
        False,
        False,
    ),
    "what a pass moved": (
        "web",
        lambda m: m["recipe"]["pass_report"][-1].update(moved=0.0),
        False,
        False,
    ),
    "a note": ("ios", lambda m: m.update(notes=["proved by hand"]), False, False),
    "a note of the conversion": (
        "android",
        lambda m: m["artifact"].update(notes=["exact"]),
        False,
        False,
    ),
    "compute units": ("ios", lambda m: m.update(compute="cpu"), False, False),
    "an error in the proof": ("android", lambda m: _worst(m).update(error=0.0), False, False),
    "a tolerance in the proof": ("web", lambda m: _worst(m).update(tolerance=9.0), False, False),
    "rows of the proof are gone": ("ios", _first_row, False, False),
}


def _edited(name: str) -> Put:
    """Loading code with a line more."""

    def put(folder: Path, program: Program) -> None:
        del program
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write("\n// and sends the picture away\n")

    return put


def _golden(change: Callable[[str, np.ndarray], np.ndarray]) -> Put:
    """A golden vector whose tensors are others."""

    def put(folder: Path, program: Program) -> None:
        del program
        tensors = load_file(folder / GOLDEN)
        save_file({name: change(name, x) for name, x in tensors.items()}, folder / GOLDEN)

    return put


def _outputs_only(change: Callable[[np.ndarray], np.ndarray]) -> Put:
    return _golden(lambda name, x: x if name == "image" else change(x))


def _stale(two_target: str) -> Put:
    """The file of an older model, with golden vectors that are its own."""
    kind = KINDS[two_target]

    def put(folder: Path, program: Program) -> None:
        data = json.loads((folder / "manifest.json").read_text())
        artifact = Artifact.from_json(data["artifact"], folder)
        getattr(FAULTS["right has half its weights"], kind)(artifact.path, program)
        runner = formats.open_in_float32(artifact)
        try:
            for name in (GOLDEN, "golden/noise.safetensors", "golden/rounded/noise.safetensors"):
                given = load_file(folder / name.replace("rounded/", ""))
                answer = runner.run({"image": given["image"]})
                inputs = {} if "rounded" in name else {"image": given["image"]}
                save_file({**inputs, **answer}, folder / name)
        finally:
            runner.close()

    return put


BESIDE: Mapping[str, tuple[str, Put, bool, bool]] = {
    "a line in MLShip.swift": ("ios", _edited("MLShip.swift"), False, True),
    "a line in mlship.mjs": ("web", _edited("mlship.mjs"), False, True),
    "golden answers that are off": ("android", _outputs_only(lambda x: x + 1e-2), False, True),
    "a golden picture of another seed": (
        "ios",
        _golden(lambda name, x: x[..., ::-1].copy() if name == "image" else x),
        False,
        True,
    ),
    "a stale file with its golden vectors": ("android", _stale("android"), True, False),
    "a stale package with its golden vectors": ("ios", _stale("ios"), True, False),
    "a stale graph with its golden vectors": ("web", _stale("web"), True, False),
}
