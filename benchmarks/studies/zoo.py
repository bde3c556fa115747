"""The table of the zoo: model x recipe x target, with sizes and parity as the bundles say.

    make zoo        builds everything, then: python -m benchmarks.studies.zoo dist/zoo

Reads the manifests of the bundles in DIR/RECIPE/MODEL-TARGET, writes
benchmarks/results/zoo.json and puts the table between the markers of the README. Builds nothing;
bundles that are not there keep the figures that they had.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model_defs import zoo
from model_defs.counting import count

RESULTS = Path(__file__).parents[1] / "results" / "zoo.json"
README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- models: make zoo -->", "<!-- /models -->"
TARGETS = {"ios": "iOS", "android": "Android", "web": "web"}
RECIPES = ("fp32", "fp16")


def collect(folder: Path, earlier: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a model: parameters and MACs counted, and each bundle's bytes and parity.

    `earlier` rows say what is known of bundles that are not in the folder.
    """
    rows = []
    known = {row["name"]: row["bundles"] for row in earlier}
    for name in zoo.MODELS:
        spec = zoo.load(name)
        bundles = dict(known.get(name, {}))
        for recipe in RECIPES:
            for target in TARGETS:
                if (path := folder / recipe / f"{name}-{target}").is_dir():
                    bundles[f"{recipe} {target}"] = _bundle(path)
        counted = asdict(count(spec))
        rows.append({"name": name, "baseline": spec.baseline, **counted, "bundles": bundles})
    return rows


def _bundle(directory: Path) -> dict[str, Any]:
    manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    artifact = manifest["artifact"]
    files = manifest["files"].items()
    judged = [row for row in manifest["parity"]["rows"] if row["error"] is not None]
    worst = max(judged, key=lambda row: row["error"] / row["tolerance"])
    return {
        "bytes": sum(e["bytes"] for n, e in files if Path(n).parts[0] == artifact["path"]),
        "parity": manifest["parity"]["ok"],
        "error": worst["error"],
        "tolerance": worst["tolerance"],
        "notes": artifact["notes"],
        **_partitions(directory / artifact["path"], artifact["format"]),
    }


def _partitions(path: Path, format_name: str) -> dict[str, Any]:
    """Of a .tflite: how many parts XNNPACK runs, and what it does not run."""
    if format_name != "tflite":
        return {}
    from converters.tflite.partitions import partitions

    found = partitions(path)
    return {"partitions": found.count, "outside": found.outside}


def table(rows: list[dict[str, Any]]) -> str:
    """The Markdown table: bytes of the artifact and worst error as a share of the tolerance."""
    heads = [f"{recipe} {label}" for recipe in RECIPES for label in TARGETS.values()]
    lines = [
        "| model | parameters | GMAC | " + " | ".join(heads) + " |",
        "|---|---:|---:|" + "---:|" * len(heads),
    ]
    for row in rows:
        cells = [
            _cell(row["bundles"].get(f"{recipe} {target}"))
            for recipe in RECIPES
            for target in TARGETS
        ]
        counts = f"{row['parameters']:,} | {row['macs'] / 1e9:.2f}"
        lines.append(f"| `{row['name']}` | {counts} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    share = found["error"] / found["tolerance"]
    verdict = f"{share:.1%}" if found["parity"] else "FAILED"
    return f"{found['bytes'] / 1e6:.2f} MB, {verdict}"


def section(rows: list[dict[str, Any]]) -> str:
    """What stands between the README's markers."""
    return (
        f"{BEGIN}\n{table(rows)}\n\n"
        "Size of the artifact, and the worst error over all cases and outputs as a share of what "
        "is allowed. `-`: a baseline, which is not shipped.\n" + END
    )


def in_readme(text: str, rows: list[dict[str, Any]]) -> str:
    """The README's text with the section of these rows."""
    before, rest = text.split(BEGIN)
    return before + section(rows) + rest.split(END)[1]


def main() -> None:
    """Collect, then write both files."""
    earlier = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    rows = collect(Path(sys.argv[1]), earlier)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    README.write_text(in_readme(text, rows), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
