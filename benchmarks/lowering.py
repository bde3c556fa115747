"""Our TFLite and TF.js files beside those of other converters, on this machine.

    python -m benchmarks.peers.install            # once: the peers' environments
    python -m benchmarks.lowering [--model NAME ...] [--rounds 7] [--runs 10] [--missing]

Every file is timed on one thread in processes of its own, in shuffled rounds, together with a
product of matrices that tells what the machine can do in that round. Results are merged into
benchmarks/results/lowering.json by model; lowering.md is made from it (`lowering_page`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import lowering_page
from benchmarks.build_time import ROOT, machine
from benchmarks.peers.install import python_of
from benchmarks.timing.loaded import PEAK_SIZE
from benchmarks.timing.runtimes import PEAKS, RUNTIMES
from benchmarks.timing.session import Entry, Process
from model_defs import zoo
from model_defs.counting import count
from model_defs.errors import MlshipError

RESULTS = Path(__file__).parent / "results" / "lowering.json"
OFFICIAL = "tensorflowjs"
SECONDS = 900
ENOUGH = 5_000.0
"""Milliseconds after which a file that takes long is not run again."""


class Failed(Exception):
    """A converter or a runtime that did not do its work, in its own last words."""


def said(command: list[str], environment: dict[str, str] | None = None) -> str:
    """What a process prints; Failed where it fails."""
    paths = {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})}
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    try:
        ran = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PATH": programs, **paths},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(str(error).splitlines()[0]) from error
    if ran.returncode != 0:
        raise Failed(_last_words(ran.stderr) or f"exit {ran.returncode}")
    return ran.stdout


def _last_words(text: str) -> str:
    """The last line that names an error, or the last one: Node ends with its own version."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ([line for line in lines if "Error" in line] or lines or [""])[-1]


def files_of(model: str, folder: Path) -> dict[str, Path | str]:
    """Converter -> its file (or TF.js folder), or why there is none."""
    made: dict[str, Callable[[Path], Path]] = {
        "mlship": partial(_ours, model, "android"),
        "mlship (TF.js)": partial(_ours, model, "web"),
        "onnx2tf": partial(_theirs, model, "onnx2tf", Path(sys.executable)),
        "litert-torch": partial(_theirs, model, "litert_torch", python_of("litert_torch")),
        "TinyNeuralNetwork": partial(_theirs, model, "tinynn", python_of("tinynn")),
        OFFICIAL: partial(_official, folder / "onnx2tf"),
    }
    found: dict[str, Path | str] = {}
    for label, make in made.items():
        directory = folder / label
        directory.mkdir()
        try:
            found[label] = make(directory)
        except Failed as error:
            found[label] = str(error)
        print(f"{model}: {label}: {found[label]}", file=sys.stderr)
    return found


def _ours(model: str, target: str, directory: Path) -> Path:
    command = [sys.executable, "-m", "toolchain.cli", "build", model, "--target", target]
    said([*command, "--recipe", "fp32", "--out", str(directory)])
    suffix = {"android": ".tflite", "web": ".tfjs"}[target]
    return directory / f"{model}-{target}" / f"{model}{suffix}"


def _theirs(model: str, peer: str, python: Path, directory: Path) -> Path:
    said([str(python), "-m", f"benchmarks.peers.plain_{peer}", model, str(directory)])
    return directory / ("model_float32.tflite" if peer == "onnx2tf" else "model.tflite")


def _official(saved_model: Path, directory: Path) -> Path:
    """The official converter's TF.js model of what onnx2tf wrote."""
    module = "benchmarks.peers.plain_tensorflowjs"
    said([str(python_of("tensorflowjs")), "-m", module, str(saved_model), str(directory)])
    return directory


def times(
    files: dict[str, Path], rounds: int, runs: int
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Converter -> the median CPU milliseconds of each round, or why its file does not run.

    `peak` is the matrices'.
    """
    found: dict[str, list[float]] = {name: [] for name in [*files, "peak"]}
    failed: dict[str, str] = {}
    shuffled = random.Random(0)
    for _ in range(rounds):
        for name in shuffled.sample(sorted(found), len(found)):
            try:
                spent = _cpu_times(files.get(name), runs)
            except MlshipError as error:
                failed[name] = f"the file does not run: {error.what}"
                del found[name]
            else:
                found[name].append(round(statistics.median(spent), 3))
    return found, failed


def _cpu_times(file: Path | None, runs: int) -> list[float]:
    """CPU milliseconds of runs on one thread in a process of its own; no file: the matrices."""
    web = file is not None and file.is_dir()
    runtime = RUNTIMES["tfjs-wasm" if web else "litert-1"] if file else PEAKS["peak-1"]
    process = Process(Entry(runtime, file or Path()))
    try:
        return list(process.run(runs, ENOUGH)["cpu"])
    finally:
        process.close()


def size(file: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    parts: Iterable[Path] = file.rglob("*") if file.is_dir() else [file]
    return sum(part.stat().st_size for part in parts if part.is_file())


def measure(model: str, rounds: int, runs: int) -> dict[str, Any]:
    """Bytes and rounds of every converter that made a file, and why the others did not."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLSHIP_CACHE"] = f"{folder}/cache"
        found = files_of(model, Path(folder))
        files = {name: file for name, file in found.items() if isinstance(file, Path)}
        measured, broken = times(files, rounds, runs)
        peak = PEAK_SIZE**3 / statistics.median(measured.pop("peak")) / 1e6
        return {
            "macs": count(zoo.load(model)).macs,
            "machine": machine(),
            "peak_gmacs": round(peak, 1),
            "rounds": rounds,
            "runs": runs,
            "bytes": {name: size(file) for name, file in files.items()},
            "milliseconds": measured,
            "failed": {n: why for n, why in found.items() if isinstance(why, str)} | broken,
        }


def main() -> None:
    """Measure the models, then write both files."""
    shipped = [name for name in zoo.MODELS if not zoo.load(name).baseline]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", choices=shipped)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--missing", action="store_true", help="leave what is measured already")
    asked = parser.parse_args()
    entries = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    RESULTS.parent.mkdir(exist_ok=True)
    for model in asked.model or shipped:
        if asked.missing and model in entries:
            continue
        entries[model] = measure(model, asked.rounds, asked.runs)
        ordered = {name: entries[name] for name in shipped if name in entries}
        RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")
        lowering_page.PAGE.write_text(lowering_page.page(ordered))
    print(lowering_page.PAGE.read_text())


if __name__ == "__main__":
    main()
