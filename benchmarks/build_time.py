"""How long a cold build takes, beside the same job done with plain onnx2tf and coremltools.

    python -m benchmarks.build_time [--model depth] [--rounds 5]

Each job is a process of its own with an empty cache; rounds are interleaved and shuffled, so
that the machine's moods meet all alike. Ours does more than the peers': it also runs the file
on five cases and compares with PyTorch. Results go to benchmarks/results/build_time.json and,
for people, build_time.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).resolve().parent.parent
PEERS = {"ios": "coremltools", "android": "onnx2tf", "web": "onnx2tf"}


def ours(model: str, target: str, directory: Path) -> list[str]:
    """`mlship build` in float32."""
    command = [sys.executable, "-m", "toolchain.cli", "build", model, "--target", target]
    return [*command, "--recipe", "fp32", "--out", str(directory)]


def theirs(model: str, peer: str, directory: Path) -> list[str]:
    """The peer's own calls, in float32."""
    return [sys.executable, "-m", f"benchmarks.peers.plain_{peer}", model, str(directory)]


def seconds(command: list[str], cache: str) -> float:
    """Wall time of one process, which must succeed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"MLSHIP_CACHE": cache, "PATH": path, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if ran.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{ran.stderr[-2000:]}")
    return time.perf_counter() - start


def measure(model: str, rounds: int) -> dict[str, list[float]]:
    """Job name -> seconds of each round."""
    jobs = {f"mlship {target}": target for target in PEERS} | {
        peer: peer for peer in dict.fromkeys(PEERS.values())
    }
    times: dict[str, list[float]] = {name: [] for name in jobs}
    shuffled = random.Random(0)
    for number in range(rounds):
        for name in shuffled.sample(sorted(jobs), len(jobs)):
            with tempfile.TemporaryDirectory() as folder:
                directory = Path(folder) / "out"
                directory.mkdir()
                made = ours if name.startswith("mlship") else theirs
                taken = seconds(made(model, jobs[name], directory), f"{folder}/cache")
            times[name].append(round(taken, 2))
            print(f"round {number + 1}/{rounds}: {name} {taken:.1f} s", file=sys.stderr)
    return times


def machine() -> str:
    """This machine's processor and cores."""
    lines = (
        Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []
    )
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def page(result: dict[str, object], times: dict[str, list[float]]) -> str:
    """The results as Markdown."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    lines = [
        f"# Cold builds of `{result['model']}`, float32, seconds",
        "",
        f"{result['machine']}; median of {result['rounds']} shuffled rounds, one process a job, "
        "empty cache. `mlship` also runs the file on five cases against PyTorch; onnx2tf also "
        "writes a SavedModel and a float16 file. Remake: `python -m benchmarks.build_time`.",
        "",
        "| target | mlship | peer | peer's seconds | ratio |",
        "|---|---|---|---|---|",
    ]
    for target, peer in PEERS.items():
        mine, other = medians[f"mlship {target}"], medians[peer]
        lines.append(f"| {target} | {mine:.1f} | {peer} | {other:.1f} | {other / mine:.1f}x |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, then write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="depth")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    times = measure(asked.model, asked.rounds)
    result: dict[str, object] = {
        "model": asked.model,
        "rounds": asked.rounds,
        "machine": machine(),
        "seconds": times,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "build_time.json").write_text(json.dumps(result, indent=2) + "\n")
    (RESULTS / "build_time.md").write_text(page(result, times))
    print((RESULTS / "build_time.md").read_text())


if __name__ == "__main__":
    main()
