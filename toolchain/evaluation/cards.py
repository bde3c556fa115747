"""Model cards: how the weights came to be, what they score, what they cannot do.

    python -m toolchain.evaluation.cards [--evaluate] [MODEL...]

writes model_defs/cards from the weights' files and results.json; `--evaluate` evaluates the models
(all that are trained, or those named) and draws their contact sheets first.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from PIL import Image

from model_defs import zoo
from toolchain.bundle.files import file_digest
from toolchain.evaluation import dataset as datasets
from toolchain.evaluation import trainings
from toolchain.evaluation.notes import NOTES
from toolchain.evaluation.run import EvalResult, cell, evaluate

FOLDER = Path(zoo.__file__).parent / "cards"
RESULTS = FOLDER / "results.json"


def trained() -> list[str]:
    """The models of the zoo that ship with weights and have a dataset."""
    return [name for name in datasets.DATASETS if zoo.load(name).weights is not None]


def results() -> dict[str, EvalResult]:
    """What the last evaluation of each model found."""
    if not RESULTS.exists():
        return {}
    found = [EvalResult.from_json(data) for data in json.loads(RESULTS.read_text(encoding="utf-8"))]
    return {result.model: result for result in found}


def pages() -> dict[str, str]:
    """File name -> text, of every card and of the table."""
    found = results()
    cards = {f"{name}.md": card(result) for name, result in found.items()}
    return {**cards, "README.md": overview(found)}


def overview(found: dict[str, EvalResult]) -> str:
    """The table of all models and of the trivial rules beside them."""
    text = [
        "# What the zoo's weights score",
        "",
        "Means over held-out scenes and photographs, none of which was trained on, by the weights",
        "as they ship. In *italics*: rules that need no net. `make cards` remakes all files here.",
    ]
    for name, result in found.items():
        text += ["", f"## [`{name}`]({name}.md)", "", *table(result)]
    others = [name for name in zoo.MODELS if zoo.load(name).weights is None]
    listed = ", ".join(f"`{name}`" for name in others)
    return "\n".join([*text, "", f"Untrained (weights drawn under seed 0): {listed}.", ""])


def table(result: EvalResult) -> list[str]:
    """A Markdown table of one evaluation."""
    metrics = datasets.find(result.model).metrics
    units = [f" ({m.unit})" if m.unit else "" for m in metrics]
    heads = [
        f"{m.name}{unit} {'↑' if m.higher else '↓'}" for m, unit in zip(metrics, units, strict=True)
    ]
    lines = ["| | set | n | " + " | ".join(heads) + " |"]
    lines.append("|---|---|---:|" + "---:|" * len(heads))
    for row in sorted(result.rows, key=lambda row: row.set, reverse=True):
        who = f"`{row.who}`" if row.who == result.model else f"*{row.who}*"
        values = " | ".join(cell(row, metric) for metric in metrics)
        lines.append(f"| {who} | {row.set} | {row.samples} | {values} |")
    return lines


def card(result: EvalResult) -> str:
    """A model's card, Markdown."""
    spec = zoo.load(result.model)
    assert spec.weights is not None
    from toolchain.training.weights import history

    note = NOTES[result.model]
    text = [
        f"# `{result.model}`: {spec.summary}",
        "",
        note.about,
        "",
        f"![input, truth, output]({result.model}.jpg)",
        "",
        "Input, truth (black where nobody knows it), output; first held-out scenes, then",
        "photographs.",
        note.seen,
        "",
        "## Figures",
        "",
        *table(result),
        "",
        f"`mlship eval {result.model}`, in PyTorch, of `{spec.weights.name}`,",
        f"sha256 `{file_digest(spec.weights)}`, which stores kernels in float16 (or float8, where "
        "that is exact).",
        "",
        "## Training",
        "",
        *trainings.commands(history(spec.weights)),
        "",
        *trainings.how(history(spec.weights)),
        "",
        f"Data: {note.data} Loss: {note.loss} No person's picture, click or look was used.",
        "",
        *trainings.of_fewer_channels(spec),
        "## What it cannot do",
        "",
        *(f"- {limit}" for limit in note.limits),
        "",
        "Licence: the weights were made by this project from its own data, and have its licence.",
        "The photographs are free of rights (`toolchain/data/photos/README.md`).",
        "",
    ]
    return "\n".join(text)


def evaluate_all(names: list[str]) -> None:
    """Remakes the results and contact sheets of some models."""
    found = results()
    for name in names:
        found[name] = evaluate(name)
        draw(name)
        print(f"{name}: evaluated", flush=True)
    ordered = [found[name].to_json() for name in datasets.DATASETS if name in found]
    RESULTS.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


def draw(name: str) -> None:
    """A model's contact sheet, as a JPEG."""
    from toolchain.evaluation.sheet import SHOWN, sheet
    from toolchain.evaluation.subject import opened

    dataset = datasets.find(name)
    with opened(name) as subject:
        samples = list(dataset.samples(subject.inputs, SHOWN))
        picture = sheet(dataset, samples, subject.predict)
    Image.fromarray(picture).save(FOLDER / f"{name}.jpg", quality=82)


def main() -> None:
    parser = argparse.ArgumentParser(description="Remake the model cards.")
    parser.add_argument("models", nargs="*")
    parser.add_argument("--evaluate", "--examine", action="store_true")
    options = parser.parse_args()
    if options.evaluate:
        evaluate_all(options.models or trained())
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
