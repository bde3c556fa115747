"""Environments of the converters that we are compared with: python -m benchmarks.peers.install.

Each is built from pins in its own folder of .peers/, since none of them installs beside ours.
TinyNeuralNetwork is not released as a package: it is installed from its repository's commit.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".peers"
TINYNN = "git+https://github.com/alibaba/TinyNeuralNetwork@cddc4124b3af2dabe057efb61d8aac2d79762513"
PINS = {
    "litert_torch": ("litert-torch==0.10.0", "torch==2.13.0"),
    "tinynn": (TINYNN, "torch==2.13.0"),
    "tensorflowjs": ("tensorflow==2.19.0", "tensorflow-hub==0.16.1", "tf-keras==2.19.0"),
}
ALONE = {"tensorflowjs": ("tensorflowjs==4.22.0",)}
"""Installed without what they ask for, which cannot be had together."""


def python_of(peer: str) -> Path:
    """The Python of a peer's environment."""
    return FOLDER / peer / "bin" / "python"


def install(peer: str) -> str:
    """Build a peer's environment; returns pip's last words if it failed, else nothing."""
    commands = [[sys.executable, "-m", "venv", str(FOLDER / peer)]]
    pip = [str(python_of(peer)), "-m", "pip", "install", "-q"]
    commands.append([*pip, "setuptools<81", "wheel", "safetensors", "scipy"])
    commands.append([*pip, "--no-build-isolation", *PINS[peer]])
    if peer in ALONE:
        commands.append([*pip, "--no-deps", *ALONE[peer]])
    for command in commands:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            return ran.stderr.strip().splitlines()[-1]
    return ""


def main() -> None:
    failed = False
    for peer in sys.argv[1:] or PINS:
        problem = install(peer)
        failed = failed or bool(problem)
        print(f"{peer}: {problem or 'installed'}")
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
