"""What each recipe is worth: bytes, the metric of the task, and time in LiteRT.

    python -m benchmarks.recipes [MODEL]... [--scenes 24] [--rounds 5] [--missing]

Builds each model with each recipe for each target with the command line, as a user would, and
examines what came out with `mlship eval`. The metric is the bundle's own, on its format's main
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

from benchmarks.commands import Failed, said
from benchmarks.timing.rounds import times

RESULTS = Path(__file__).parent / "results" / "recipes.json"
PAGE = RESULTS.with_suffix(".md")
MODELS = ("portrait", "depth", "saliency", "select-coarse", "select")
RECIPES = ("fp32", "fp16", "small", "smallest", "fast")
TARGETS = ("ios", "android", "web")
RUNS = 10
AIMS = {"small": (0.27, 0.005), "smallest": (0.15, 0.02)}
"""Recipe -> the share of float32's bytes, and of the metric lost, that it aims at."""


def mlship(*arguments: object) -> Any:
    """What a command says as JSON; Failed with its last words."""
    words = [str(argument) for argument in arguments]
    return json.loads(said([sys.executable, "-m", "toolchain.cli", *words, "--json"]))


def built(model: str, recipe: str, folder: Path) -> dict[str, Path]:
    """Target -> the folder of its bundle."""
    places = [word for target in TARGETS for word in ("--target", target)]
    rows = mlship("build", model, *places, "--recipe", recipe, "--out", folder)
    return {row["target"]: Path(row["bundle"]) for row in rows}


def measured(model: str, recipe: str, bundle: Path, scenes: int) -> dict[str, Any]:
    """The bytes of a bundle, and the first metric of its examination on scenes."""
    (weighed,) = mlship("size", bundle)
    (exam,) = mlship("eval", bundle, "--scenes", scenes)
    (row,) = (r for r in exam["rows"] if (r["who"], r["set"]) == (model, "scenes"))
    metric = next(iter(row["marks"]))
    return {
        "disk": weighed["disk"],
        "wire": next(iter(weighed["wire"].values())),
        "ideal": weighed["ideal"],
        "metric": metric,
        "value": row["marks"][metric],
        "questions": row["questions"],
    }


def measure(model: str, scenes: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each recipe and target of a model; one that fails says how."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="mlship-recipes-") as work:
        files: dict[str, Path] = {}
        for recipe in RECIPES:
            try:
                bundles = built(model, recipe, Path(work) / recipe)
                files[recipe] = bundles["android"] / f"{model}.tflite"
                for target, bundle in bundles.items():
                    found = measured(model, recipe, bundle, scenes)
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


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The table in Markdown."""
    lines = [
        "# What each recipe is worth",
        "",
        "`python -m benchmarks.recipes`: artifact bytes and bytes on the wire, as shares of "
        "float32's; the metric of `mlship eval` on held-out scenes, of the file itself, and what "
        "it lost of float32's; time in LiteRT against float32 (one thread, interleaved). "
        f"Aims: {_aims()}; `fast` 1.6 times as fast in LiteRT with 2% lost.",
        "",
        "| model | recipe | target | bytes | of fp32 | on the wire | of its numbers | metric "
        "| lost | time | |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    plain = {(r["model"], r["target"]): r for r in rows if r["recipe"] == "fp32" and "disk" in r}
    lines += [_line(row, plain) for row in rows]
    return "\n".join(lines) + "\n"


def _aims() -> str:
    return "; ".join(
        f"`{name}` {size:.0%} of the bytes and {lost:.1%} of the metric"
        for name, (size, lost) in AIMS.items()
    )


def _line(row: dict[str, Any], plain: Mapping[tuple[str, str], dict[str, Any]]) -> str:
    head = f"| `{row['model']}` | `{row['recipe']}` |"
    if "failed" in row:
        return f"{head} failed: {row['failed']} | | | | | | | | |"
    base = plain.get((row["model"], row["target"]), row)
    share, lost = row["disk"] / base["disk"], drop(base, row)
    met = ""
    if row["recipe"] in AIMS:
        size, most = AIMS[row["recipe"]]
        met = "aim met" if share <= size and lost <= most else "aim missed"
    time = f"{row['latency']:.2f}x" if "latency" in row else ""
    return (
        f"{head} {row['target']} | {row['disk']:,} | {share:.1%} | {row['wire']:,} | "
        f"{row['disk'] / row['ideal']:.3f} | {row['metric']} {row['value']:.4f} | {lost:.2%} | "
        f"{time} | {met} |"
    )


LESS_IS_BETTER = ("AbsRel", "NoC@85", "L1")


def drop(base: Mapping[str, Any], row: Mapping[str, Any]) -> float:
    """The share of the metric that was lost; below zero where it is better."""
    lost = base["value"] - row["value"]
    return float((-lost if row["metric"] in LESS_IS_BETTER else lost) / base["value"])


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
        PAGE.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
