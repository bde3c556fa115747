"""Our recipes beside the peers' quantisers, on the same trained nets.

    python -m benchmarks.measure.peers.install            # once: the peers' environments, and
    python -m benchmarks.measure.peers.install scikit-learn     # what coremltools clusters with
    python -m benchmarks.studies.quantisers [MODEL]... [--scenes 48] [--fresh]

Every file, ours or a peer's, is made from the same trained float32 net, weighed, and evaluated
with `mlship eval` as it is: a .tflite in LiteRT, an .mlpackage in our interpreter of Core ML
programs. Writes benchmarks/results/quantisers.json after each file, of which `quantisers_page`
makes quantisers.md; what is measured already is measured again only where that is asked.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.measure.commands import Failed, said
from benchmarks.studies import quantisers_page
from benchmarks.studies.peers.named import named
from benchmarks.studies.peers.pictures import load_pictures, save_pictures
from benchmarks.studies.peers.quantise_tools import TOOLS, QuantiserTool
from benchmarks.studies.recipes import built, evaluate_bundle
from converters.contents import disk_bytes

RESULTS = Path(__file__).parents[1] / "results" / "quantisers.json"
MODELS = ("portrait", "depth", "saliency", "select-coarse")
OURS: dict[str, tuple[str, ...]] = {
    "ios": (
        "fp16",
        "small",
        *("weights-int6,weights-fp16", "weights-int4,weights-fp16", "weights-int4=32,weights-fp16"),
        *("palettize=6,weights-fp16", "palettize=4,weights-fp16"),
    ),
    "android": ("fp16", "small", "weights-int4,weights-fp16"),
}
"""Target -> the recipes that are measured beside fp32, which all are compared with."""

SUFFIXES = {"ios": ".mlpackage", "android": ".tflite"}


CALIBRATED = "int8, activations too"

Way = tuple[str, str, str]
"""(target, who, how): `mlship` and a recipe, or a tool and one of its ways."""


def ways() -> Iterator[Way]:
    """All of them, in the order in which they are measured."""
    for target, recipes in OURS.items():
        yield from ((target, "mlship", recipe) for recipe in ("fp32", *recipes))
    for tool in TOOLS:
        yield from ((tool.target, tool.name, way) for way in tool.ways)


@dataclass(frozen=True)
class Bench:
    """Makes and evaluates the files of one model in a folder of its own."""

    model: str
    folder: Path
    scenes: int

    def row(self, way: Way) -> dict[str, Any]:
        """What a file weighs and scores; one that could not be made or run says how."""
        target, who, how = way
        about = {"model": self.model, "target": target, "who": who, "how": how}
        try:
            found = self._ours(target, how) if who == "mlship" else self._theirs(who, how)
        except Failed as error:
            return about | {"failed": str(error)}
        return about | found

    def _ours(self, target: str, recipe: str) -> dict[str, Any]:
        bundle = self._base(target) if recipe == "fp32" else self._built(target, recipe)
        file = bundle / f"{self.model}{SUFFIXES[target]}"
        return {"bytes": disk_bytes(file), **evaluate_bundle(self.model, bundle, self.scenes)}

    def _theirs(self, who: str, way: str) -> dict[str, Any]:
        (tool,) = (tool for tool in TOOLS if tool.name == who)
        file = shown = self._quantised(tool, way)
        if not tool.keeps_names:
            shown = file.with_name("named.tflite")
            named(file, self.model, shown)
        found = evaluate_bundle(self.model, self._base(tool.target), self.scenes, shown)
        return {"bytes": disk_bytes(file), **found}

    def _built(self, target: str, recipe: str) -> Path:
        return built(self.model, recipe, self.folder / recipe, (target,))[target]

    def _base(self, target: str) -> Path:
        """The bundle in float32: built once, then out of the cache."""
        return self._built(target, "fp32")

    def _quantised(self, tool: QuantiserTool, way: str) -> Path:
        """The peer's file; Failed with its last words."""
        if way == CALIBRATED and not load_pictures(self._pictures):
            raise Failed("not asked: the model takes more than a picture")
        directory = self.folder / tool.name / way.replace(" ", "-")
        file = directory / f"model{SUFFIXES[tool.target]}"
        if not file.exists():
            directory.mkdir(parents=True, exist_ok=True)
            script = f"benchmarks.studies.peers.quantise_{tool.script}"
            given = (way, self._source(tool, way), directory, self._pictures)
            said([str(tool.python), "-m", script, *map(str, given)])
        return file

    def _source(self, tool: QuantiserTool, way: str) -> str | Path:
        if tool.name == "coremltools" and way != "float16":
            return self._quantised(tool, "float16")
        if tool.source == "fp32":
            return self._base(tool.target) / f"{self.model}.tflite"
        return self._saved_model if tool.source == "SavedModel" else self.model

    @cached_property
    def _saved_model(self) -> Path:
        folder = self.folder / "saved_model"
        folder.mkdir(exist_ok=True)
        said(
            [
                sys.executable,
                "-m",
                "benchmarks.studies.peers.plain_onnx2tf",
                self.model,
                str(folder),
            ]
        )
        return folder

    @cached_property
    def _pictures(self) -> Path:
        path = self.folder / "pictures.npz"
        save_pictures(self.model, path)
        return path


def main() -> None:
    """Measure the models, and write both files; others keep their rows."""
    parser = argparse.ArgumentParser(description="Our recipes beside the peers' quantisers.")
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--scenes", type=int, default=48)
    parser.add_argument("--fresh", action="store_true", help="Measure again what has a row.")
    asked = parser.parse_args()
    rows = read()
    if asked.fresh:
        rows = [row for row in rows if row["model"] not in asked.models]
    for model in asked.models:
        known = {(r["target"], r["who"], r["how"]) for r in rows if r["model"] == model}
        with tempfile.TemporaryDirectory(prefix="mlship-quantisers-") as work:
            bench = Bench(model, Path(work), asked.scenes)
            for way in (way for way in ways() if way not in known):
                rows.append(bench.row(way))
                print(rows[-1], file=sys.stderr, flush=True)
                write(rows)


def read() -> list[dict[str, Any]]:
    """The rows that are committed."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []


def write(rows: list[dict[str, Any]]) -> None:
    """Both files, the rows in the order of the models."""
    rows.sort(key=lambda row: MODELS.index(row["model"]))
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    quantisers_page.PAGE.write_text(quantisers_page.page(rows), encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
