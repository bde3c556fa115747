"""What each recipe is worth: bytes, the metric of the task, and time in LiteRT.

    python -m benchmarks.studies.recipes [MODEL]... [--scenes 24] [--rounds 5] [--missing]

Builds each model with each recipe for each target with the command line, as a user would, and
evaluates what came out with `mlship eval`. The metric is the bundle's own, on its format's main
backend. Times are LiteRT's, of one thread, interleaved, and given as ratios to float32. Writes
benchmarks/results/recipes.json and recipes.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure.commands import Failed, said
from benchmarks.measure.timing.rounds import times
from benchmarks.studies import recipes_page
from model_defs import zoo

RESULTS = Path(__file__).parents[1] / "results" / "recipes.json"
MODELS = (
    *("portrait", "portrait-video", "portrait-head"),
    *("depth", "saliency", "select-coarse", "select"),
)
RECIPES = ("fp32", "fp16", "small", "smallest")
TARGETS = ("ios", "android", "web")
RUNS = 10
MOST = 3600.0
"""Seconds for a command: rounding saliency's ConvLSTM to 4 bits takes long beside other work."""
STEADY = {"select": "IoU, 1 click", "select-coarse": "IoU, 1 click"}
"""The one metric that is asked for instead of all, of which the first counts: a robot clicks
elsewhere for a pixel that rounding moved, and counts whole clicks."""


def mlship(*arguments: object) -> Any:
    """What a command says as JSON; Failed with its last words."""
    words = [str(argument) for argument in arguments]
    return json.loads(
        said([sys.executable, "-m", "toolchain.cli.main", *words, "--json"], most=MOST)
    )


def recipes_of(model: str) -> tuple[str, ...]:
    """The recipes that a model has: `fast` needs weights with fewer channels."""
    return RECIPES if zoo.load(model).pruned is None else (*RECIPES, "fast")


def built(
    model: str, recipe: str, folder: Path, targets: Sequence[str] = TARGETS
) -> dict[str, Path]:
    """Target -> the folder of its bundle."""
    places = [word for target in targets for word in ("--target", target)]
    rows = mlship("build", model, *places, "--recipe", recipe, "--out", folder)
    return {row["target"]: Path(row["bundle"]) for row in rows}


def measured(model: str, bundle: Path, scenes: int) -> dict[str, Any]:
    """The bytes of a bundle, and what its evaluation says."""
    (measured,) = mlship("size", bundle)
    return {
        "disk": measured["disk"],
        "wire": next(iter(measured["wire"].values())),
        "ideal": measured["ideal"],
        **evaluate_bundle(model, bundle, scenes),
    }


def evaluate_bundle(
    model: str, bundle: Path, scenes: int, file: Path | None = None
) -> dict[str, Any]:
    """The first metric, or STEADY, of a bundle's evaluation on scenes, or of a file's instead."""
    stand_in = ("--file", file) if file else ()
    only = ("--only", STEADY[model]) if model in STEADY else ()
    (evaluated,) = mlship("eval", bundle, "--scenes", scenes, *stand_in, *only)
    (row,) = (r for r in evaluated["rows"] if (r["who"], r["set"]) == (model, "scenes"))
    metric = next(iter(row["metrics"]))
    return {"metric": metric, "value": row["metrics"][metric], "questions": row["samples"]}


def measure(model: str, scenes: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each recipe and target of a model; one that fails says how."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="mlship-recipes-") as work:
        files: dict[str, Path] = {}
        for recipe in recipes_of(model):
            try:
                bundles = built(model, recipe, Path(work) / recipe)
                files[recipe] = bundles["android"] / f"{model}.tflite"
                for target, bundle in bundles.items():
                    found = measured(model, bundle, scenes)
                    rows.append({"model": model, "recipe": recipe, "target": target, **found})
                    print(rows[-1], flush=True)
            except Failed as error:
                print(f"{model} {recipe}: {error}", flush=True)
                rows.append({"model": model, "recipe": recipe, "failed": str(error)})
        ratios = against_float32(files, rounds)
    return [_timed(row, ratios) for row in rows]


def against_float32(files: dict[str, Path], rounds: int) -> dict[str, float]:
    """Recipe -> the median CPU time of a run as a share of float32's, in the same rounds."""
    found, _ = times(files, rounds, RUNS)
    middle = {recipe: statistics.median(spent) for recipe, spent in found.items()}
    if "fp32" not in middle:
        return {}
    return {recipe: round(middle[recipe] / middle["fp32"], 3) for recipe in files}


def _timed(row: dict[str, Any], ratios: Mapping[str, float]) -> dict[str, Any]:
    is_timed = row.get("target") == "android" and row["recipe"] in ratios
    return row | ({"latency": ratios[row["recipe"]]} if is_timed else {})


def main() -> None:
    """Measure, and write both files; models that are not measured keep their rows."""
    parser = argparse.ArgumentParser(description="What each recipe is worth.")
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--missing", action="store_true", help="Only models without rows.")
    asked = parser.parse_args()
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    known = {row["model"] for row in rows}
    for model in asked.models:
        if asked.missing and model in known:
            continue
        fresh = measure(model, asked.scenes, asked.rounds)
        rows = [row for row in rows if row["model"] != model] + fresh
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        recipes_page.PAGE.write_text(recipes_page.page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
