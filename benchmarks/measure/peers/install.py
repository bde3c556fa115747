"""Environments of the tools that we are compared with: python -m benchmarks.measure.peers.install.

Each is a folder of .peers/ with what its list of pins beside this file names, and nothing else:
none of them installs beside our own packages. onnx2tf and plain coremltools need none: they run in
our own environment, where they are pinned too. $TORCH_INDEX, as for `make setup`, says where
PyTorch for the CPU is, if not where pip looks by itself. TinyNeuralNetwork has no releases: it
is built from a commit of its repository, or from a checkout of that commit that $TINYNN names.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parents[2] / ".peers"
PEERS = ("litert_torch", "tinynn", "executorch", "onnxruntime", "tensorflowjs")
BUILDING = ("setuptools", "wheel", "packaging")
"""What the pins that are built here are built with."""


def python_of(peer: str) -> Path:
    """The Python of a peer's environment."""
    return FOLDER / peer / "bin" / "python"


def pins(peer: str) -> Path:
    return HERE / f"{peer}.txt"


def requirements(peer: str) -> list[str]:
    """The pins, with the checkout for the repository where there is one."""
    lines = pins(peer).read_text(encoding="utf-8").splitlines()
    checkout = os.environ.get("TINYNN")
    return [checkout if checkout and "@ git+" in line else line for line in lines]


def commands(peer: str) -> list[list[str]]:
    """What has to be run, in this order."""
    pip = [str(python_of(peer)), "-m", "pip", "install", "-q", "--no-deps"]
    wanted = requirements(peer)
    torch = [line for line in wanted if line.startswith("torch==")]
    index = os.environ.get("TORCH_INDEX")
    return [
        [sys.executable, "-m", "venv", str(FOLDER / peer)],
        [*pip, *BUILDING],
        *([[*pip, "--index-url", index, *torch]] if index and torch else []),
        [*pip, "--no-build-isolation", *wanted],
    ]


def install(peer: str) -> str:
    """Build a peer's environment; returns pip's last words if it failed, else nothing."""
    for command in commands(peer):
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            return ran.stderr.strip().splitlines()[-1]
    return ""


def main() -> None:
    """Install the peers that are named, or all; exit code 1 if one could not be."""
    problems = {peer: install(peer) for peer in sys.argv[1:] or PEERS}
    for peer, problem in problems.items():
        print(f"{peer}: {problem or 'installed'}")
    sys.exit(any(problems.values()))


if __name__ == "__main__":
    main()
