"""Environments of the converters that we are compared with: python -m benchmarks.peers.install.

Each is a folder of .peers/ with what its list of pins beside this file names, and nothing else:
none of them installs beside our own packages. $TORCH_INDEX, as for `make setup`, says where
PyTorch for the CPU is, if not where pip looks by itself. TinyNeuralNetwork has no releases: it
is built from a commit of its repository.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".peers"
PEERS = ("litert_torch", "tinynn", "tensorflowjs")


def python_of(peer: str) -> Path:
    """The Python of a peer's environment."""
    return FOLDER / peer / "bin" / "python"


def pins(peer: str) -> Path:
    return HERE / f"{peer}.txt"


def commands(peer: str) -> list[list[str]]:
    """What has to be run, in this order."""
    pip = [str(python_of(peer)), "-m", "pip", "install", "-q", "--no-deps"]
    torch = [line for line in pins(peer).read_text().splitlines() if line.startswith("torch==")]
    index = os.environ.get("TORCH_INDEX")
    return [
        [sys.executable, "-m", "venv", str(FOLDER / peer)],
        [*pip, "setuptools", "wheel"],
        *([[*pip, "--index-url", index, *torch]] if index and torch else []),
        [*pip, "--no-build-isolation", "-r", str(pins(peer))],
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
