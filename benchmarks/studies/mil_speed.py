"""How long the MIL interpreter takes for a package, beside eager PyTorch for its model.

    python -m benchmarks.studies.mil_speed [MODEL ...] [--rounds 15]

Both run in this process, on two threads, in turns: each round gives one ratio, so that the
machine's moods meet both alike. CPU time is counted, which other programs hardly move. Results
go to benchmarks/results/mil_speed.json and, for people, mil_speed.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure.machine import processor

RESULTS = Path(__file__).parents[1] / "results"
PRECISIONS = ("float32", "float16")


def seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def in_turns(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> dict[str, float]:
    """The median CPU times, and the median and the quartiles of the ratios of the rounds."""
    ours(), theirs()
    pairs = []
    for number in range(rounds):
        first, second = (ours, theirs) if number % 2 else (theirs, ours)
        a, b = seconds(first), seconds(second)
        pairs.append((a, b) if number % 2 else (b, a))
    low, ratio, high = statistics.quantiles([a / b for a, b in pairs], n=4)
    return {
        "interpreter_ms": round(statistics.median(a for a, _ in pairs) * 1e3, 1),
        "eager_ms": round(statistics.median(b for _, b in pairs) * 1e3, 1),
        "ratio": round(ratio, 2),
        "low": round(low, 2),
        "high": round(high, 2),
    }


def measure(name: str, rounds: int) -> dict[str, dict[str, float]]:
    """Row title -> figures of one model: float32 as it is, float16 without and with rounding."""
    import torch

    from converters import mil
    from converters.capture import capture, example
    from converters.export import export
    from converters.processes.worker import Worker
    from model_defs import zoo

    program = capture(zoo.load(name))
    inputs = example(program.spec)
    found = {}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        exported = export(program, Path(folder), onnx=False)
        for precision in PRECISIONS:
            made = Path(folder, precision)
            made.mkdir()
            exported = type(exported)(**{**vars(exported), "precision": precision})
            with Worker("coreml") as worker:
                artifact = worker.convert(exported, made)
            main = mil.open_package(artifact.path).main
            feed = {p.stored_as: x.numpy() for p, x in zip(artifact.inputs, inputs, strict=True)}
            for mode in ("exact",) if precision == "float32" else ("weights-only", "exact"):
                interpreter = main.interpreter(mode)
                found[f"{precision}, {mode}"] = in_turns(
                    lambda run=interpreter.run, feed=feed: run(feed),  # type: ignore[misc]
                    lambda: program.module(*inputs),
                    rounds,
                )
    return found


def page(result: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# The MIL interpreter beside eager PyTorch",
        "",
        f"{result['rounds']} rounds in turns on {result['machine']}, 2 threads. The ratio is the "
        "median of the rounds' own ratios, with its quartiles; times are CPU times. "
        "`exact` rounds every result of a float16 package to float16, `weights-only` does not. "
        "Eager PyTorch runs the model as it is written, batch normalisations and all, which the "
        "package has folded. These are no device latencies. "
        "Made by `python -m benchmarks.studies.mil_speed`.",
        "",
        "| model | package, mode | interpreter ms | eager ms | ratio | quartiles |",
        "|---|---|---:|---:|---:|---|",
    ]
    for name, rows in result["models"].items():
        for title, row in rows.items():
            lines.append(
                f"| {name} | {title} | {row['interpreter_ms']:.1f} | {row['eager_ms']:.1f} "
                f"| {row['ratio']:.2f} | {row['low']:.2f} to {row['high']:.2f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    import torch

    from model_defs import zoo

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(2)
    result: dict[str, Any] = {"machine": processor(), "rounds": options.rounds, "models": {}}
    for name in options.models or [n for n in zoo.MODELS if not zoo.load(n).baseline]:
        result["models"][name] = measure(name, options.rounds)
        print(name, result["models"][name], file=sys.stderr)
        (RESULTS / "mil_speed.json").write_text(json.dumps(result, indent=2) + "\n")
        (RESULTS / "mil_speed.md").write_text(page(result))


if __name__ == "__main__":
    main()
