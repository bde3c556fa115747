"""What a build writes down pass by pass: bytes, work, parity, and the metric where asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from converters.api import Program
from converters.capture import capture
from model_defs import lookup
from toolchain.cli.main import main
from toolchain.evaluation import score
from toolchain.recipes import pass_report, pipeline, recipes

LIKENESS = "PSNR to the model"


def mlship(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_each_program_is_evaluated_once(write_tiny: Callable[..., str]) -> None:
    asked: list[tuple[str, int]] = []

    def evaluate(after: str, program: Program) -> dict[str, float]:
        asked.append((after, len(program.encodings)))
        return {"score": len(asked)}

    program = capture(lookup.load(write_tiny()))
    fold, halve = recipes.find("weights-fp16").load()
    _, entries = pipeline.record(program, (fold, halve, fold), evaluate)
    assert [name for name, _ in asked] == [pass_report.MODEL, "fold-batchnorm", "weights-fp16"]
    assert [entry.metrics["score"] for entry in entries] == [1, 2, 3, 3]
    assert asked[-1][1] > 0


def test_a_model_without_a_dataset_is_held_against_itself(
    write_tiny: Callable[..., str],
) -> None:
    program = capture(lookup.load(write_tiny()))
    said: list[str] = []
    passes = recipes.find("prune-weights=0.9,weights-fp16").load()
    _, entries = pipeline.record(program, passes, score.make_evaluator(program, said.append))
    (before, folded, pruned, halved) = (entry.metrics[LIKENESS] for entry in entries)
    assert before >= folded > 90 > pruned
    assert abs(pruned - halved) < 1
    assert said[1:] == [f"evaluating it after {step.name}" for step in passes]


def test_a_build_evaluates_only_where_asked(write_tiny: Callable[..., str], tmp_path: Path) -> None:
    build = ("build", write_tiny(), "--target", "android", "--out", tmp_path)
    for options in ((), ("--metric",)):
        assert mlship(*build, *options).exit_code == 0
        folder = tmp_path / "tiny-android"
        entries = json.loads((folder / "manifest.json").read_text())["recipe"]["pass_report"]
        shown = mlship("inspect", folder, "--why").output
        assert [bool(entry["metrics"]) for entry in entries] == [bool(options)] * 4
        assert ("PSNR" in shown) == bool(options)
    again = mlship(*build, "--metric", "--json")
    assert json.loads(again.output)[0]["cached"]
