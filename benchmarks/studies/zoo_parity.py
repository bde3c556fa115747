"""The zoo's parity on every backend as a table, from one `mlship matrix`.

    make parity-zoo     mlship matrix --all --backend all --report dist/zoo/parity, and then
                        python -m benchmarks.studies.zoo_parity dist/zoo/parity/table.json

Writes benchmarks/results/zoo_parity.json, and the table into benchmarks/PARITY.md and between
the markers of the README, where it has them. Runs nothing; models that are not in it keep
the figures that they had.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from converters.backends import BACKENDS
from model_defs import zoo
from model_defs.errors import BadRecord

RESULTS = Path(__file__).parents[1] / "results" / "zoo_parity.json"
PAGE = Path(__file__).parents[1] / "PARITY.md"
README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- parity: make parity-zoo -->", "<!-- /parity -->"

INTRODUCTION = """# Parity of the zoo

Remade by `make parity-zoo`, which compares each bundle in fp16 with PyTorch.

"""
LEGEND = """The worst error over all cases and outputs as a share of what the model's specification
allows, and the number of cases. `-`: another machine's backend (Core ML runs on a Mac).
`spared`: at its pace an emulated GPU, or kernels written to be read, would take over half a
minute for one picture; `--all-cases` runs them.
"""


def collect(
    rows: list[dict[str, Any]], earlier: dict[str, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """From a matrix: by model and backend the verdict, the share, the cases, the seconds.

    `earlier` says what is known of models that are not in it.
    """
    models: dict[str, dict[str, Any]] = {}
    for row in rows:
        found = models.setdefault(row["model"], {})
        found |= {backend: _ran_as(summary) for backend, summary in row["backends"].items()}
    models = {**(earlier or {}), **models}
    order = {name: index for index, name in enumerate(zoo.MODELS)}
    ordered = sorted(models.items(), key=lambda item: order.get(item[0], len(order)))
    seconds = sum(row["seconds"] for found in models.values() for row in found.values())
    return {"seconds": round(seconds, 1), "models": dict(ordered)}


def _ran_as(summary: dict[str, Any]) -> dict[str, Any]:
    known = {name: summary[name] for name in ("verdict", "share", "cases", "seconds")}
    return {**known, "spared": "--all-cases" in summary["note"]}


def table(results: dict[str, Any]) -> str:
    """The Markdown table: a line a model, a column a backend that ran here."""
    models = results["models"]
    ran = [b for b in BACKENDS if any(_ran(found.get(b)) for found in models.values())]
    lines = [f"| model | {' | '.join(ran)} |", "|---|" + "---:|" * len(ran)]
    for name, found in models.items():
        cells = [_cell(found.get(backend)) for backend in ran]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _ran(found: dict[str, Any] | None) -> bool:
    return found is not None and found["verdict"] != "skipped"


def _cell(found: dict[str, Any] | None) -> str:
    if found is None or not _ran(found):
        return "spared" if found and found["spared"] else "-"
    share = "" if found["share"] is None else f"{found['share']:.1%}"
    counted = f"{share} ({found['cases']})"
    return f"FAILED {counted}" if found["verdict"] == "failed" else counted


def section(results: dict[str, Any]) -> str:
    """What stands between the README's markers."""
    return f"{BEGIN}\n{table(results)}\n\n{LEGEND}{END}"


def page(results: dict[str, Any]) -> str:
    """The whole of benchmarks/PARITY.md."""
    minutes = f"All comparisons took {results['seconds'] / 60:.1f} minutes.\n"
    return f"{INTRODUCTION}{table(results)}\n\n{LEGEND}\n{minutes}"


def in_readme(text: str, results: dict[str, Any]) -> str:
    """The README's text with the section of these results, where it has the markers."""
    if BEGIN not in text:
        return text
    before, rest = text.split(BEGIN)
    return before + section(results) + rest.split(END)[1]


def main() -> None:
    """Collect, then write all files."""
    report = Path(sys.argv[1])
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    earlier = known.get("models", {})
    try:
        results = collect(json.loads(report.read_text(encoding="utf-8"))["rows"], earlier)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRecord(
            f"this is no table of mlship matrix: {error}",
            where=str(report),
            do="mlship matrix --all --backend all --report DIR writes DIR/table.json",
        ) from error
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(results), encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    README.write_text(in_readme(text, results), encoding="utf-8")
    print(page(results))


if __name__ == "__main__":
    main()
