"""What is compared: ours and every other tool, the only list of them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from benchmarks.measure.peers.install import pins, python_of
from benchmarks.measure.timing.runtime import Runtime
from benchmarks.measure.timing.runtimes import PEERS, RUNTIMES
from benchmarks.studies.peers.subjects import address


@dataclass(frozen=True)
class Tool:
    """A tool, the file that it makes of a model, and how numbers go in and come out of that.

    `target` is that of ours beside which it stands. `file` lies in the tool's own folder.
    `channels_last`: maps are stored NHWC. `named`: tensors have the specification's names, or
    outputs are `numbered` behind this word in the specification's order; else all tensors stand
    in that order. `package` is what makes the file, and `peer` the environment that it
    is in (none: ours). `source` names the tool whose folder it converts, where it does not take
    PyTorch. A tool that is not `timed` is for devices that are not here.
    """

    name: str
    target: str
    file: str
    runtime: Runtime
    package: str = ""
    peer: str = ""
    channels_last: bool = False
    named: bool = False
    numbered: str = ""
    source: str = ""
    timed: bool = True

    @property
    def ours(self) -> bool:
        return not self.package

    @property
    def python(self) -> str:
        return str(python_of(self.peer)) if self.peer else sys.executable

    def command(self, model: str, folder: Path) -> list[str]:
        """What makes the file of a model in `folder/name`, which exists."""
        out = str(folder / self.name)
        if self.ours:
            build = [self.python, "-m", "toolchain.cli.main", "build", address(model)]
            return [*build, "--target", self.target, "--recipe", "fp32", "--out", out]
        module = f"benchmarks.studies.peers.plain_{self.package.replace('-', '_')}"
        taken = str(folder / self.source) if self.source else model
        return [self.python, "-m", module, taken, out]

    def made(self, model: str, folder: Path) -> Path:
        """The file, or the folder that TF.js and Core ML have for one."""
        return folder / self.name / self.file.format(model=model, target=self.target)

    @property
    def version(self) -> str:
        """What is compared: a release, or the first digits of a commit."""
        if self.ours:
            return ""
        if not self.peer:
            return metadata.version(self.package)
        named = {line.partition("==")[0].lower(): line for line in _pins(self.peer)}
        release = named.get(self.package, "").partition("==")[2]
        commits = [line.rpartition("@")[2][:8] for line in _pins(self.peer) if "@ git+" in line]
        return release or commits[0]


def _pins(peer: str) -> list[str]:
    return pins(peer).read_text(encoding="utf-8").splitlines()


LITERT, TFJS, MIL = RUNTIMES["litert-1"], RUNTIMES["tfjs-wasm"], RUNTIMES["mil-1"]
BUNDLE = "{model}-{target}/{model}"

TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "mlship",
            "android",
            f"{BUNDLE}.tflite",
            LITERT,
            channels_last=True,
            named=True,
        ),
        Tool(
            "onnx2tf",
            "android",
            "model_float32.tflite",
            LITERT,
            "onnx2tf",
            channels_last=True,
            named=True,
            numbered="Identity",
        ),
        Tool("litert-torch", "android", "model.tflite", LITERT, "litert-torch", "litert_torch"),
        Tool(
            "TinyNeuralNetwork",
            "android",
            "model.tflite",
            LITERT,
            "tinynn",
            "tinynn",
            channels_last=True,
        ),
        Tool(
            "ExecuTorch", "android", "model.pte", PEERS["executorch-1"], "executorch", "executorch"
        ),
        Tool(
            "ONNX Runtime",
            "android",
            "model.onnx",
            PEERS["peer-onnxruntime-1"],
            "onnxruntime",
            "onnxruntime",
            named=True,
        ),
        Tool(
            "mlship (TF.js)",
            "web",
            f"{BUNDLE}.tfjs",
            TFJS,
            channels_last=True,
            named=True,
        ),
        Tool(
            "TF.js converter",
            "web",
            ".",
            TFJS,
            "tensorflowjs",
            "tensorflowjs",
            channels_last=True,
            named=True,
            numbered="output",
            source="onnx2tf",
        ),
        Tool("mlship (Core ML)", "ios", f"{BUNDLE}.mlpackage", MIL, named=True, timed=False),
        Tool(
            "coremltools",
            "ios",
            "model.mlpackage",
            MIL,
            "coremltools",
            named=True,
            timed=False,
        ),
    )
}
OURS = {tool.target: tool.name for tool in TOOLS.values() if tool.ours}
"""Target -> which of ours the other tools stand beside."""
