"""Every way to run an artifact: the only list of backends."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass

from converters import browser
from converters.api import Artifact, Runner
from model_defs.errors import BackendUnavailable, UnknownName

SYSTEMS = {"darwin": "macOS"}


@dataclass(frozen=True)
class Backend:
    """A runtime that opens artifacts of one format.

    `half` computes in float16 whatever the file stores, so that only the product's tolerance
    can judge it. `pace` is about how many GMAC a second it does on two cores (measured; see
    `benchmarks.studies.zoo_parity`), from which follows how many cases it is given. `slow` takes
    seconds for what others do in milliseconds: an emulated GPU, kernels written to be read.
    `system` is the only `sys.platform` that has it; `needs` looks for the programs that it runs.
    """

    name: str
    format: str
    summary: str
    opener: Callable[[Artifact], Runner]
    pace: float
    half: bool = False
    slow: bool = False
    system: str = ""
    needs: Callable[[], object] = tuple

    def open(self, artifact: Artifact) -> Runner:
        """The artifact, loaded; BackendUnavailable on another system or without the runtime."""
        self.look()
        return self.opener(artifact)

    def look(self) -> None:
        """BackendUnavailable where this machine cannot run it, as far as can be seen from here."""
        if self.system and sys.platform != self.system:
            raise BackendUnavailable(
                f"{self.name} runs on {SYSTEMS.get(self.system, self.system)} only",
                do="record there, compare here: mlship parity BUNDLE --record FILE",
            )
        self.needs()


def _mil(artifact: Artifact) -> Runner:
    from converters.coreml.convert import MilRunner

    return MilRunner(artifact)


def _mil_weights_only(artifact: Artifact) -> Runner:
    from converters.variants import WeightsOnlyRunner

    return WeightsOnlyRunner(artifact)


def _coreml(artifact: Artifact, compute: str = "all") -> Runner:
    from converters.coreml.convert import CoreMlRunner

    return CoreMlRunner(artifact, compute)


def _core_ml_on(name: str, compute: str, where: str) -> Backend:
    opens = functools.partial(_coreml, compute=compute)
    return Backend(name, "coreml", f"Core ML on {where}", opens, 100, half=True, system="darwin")


def _litert(artifact: Artifact) -> Runner:
    from converters.tflite import open_runner

    return open_runner(artifact)


def _litert_reference(artifact: Artifact) -> Runner:
    from converters.variants import ReferenceKernelsRunner

    return ReferenceKernelsRunner(artifact)


def _tfjs_node(artifact: Artifact) -> Runner:
    from converters.tfjs import open_runner

    return open_runner(artifact)


def _node() -> object:
    from converters.tfjs.runner import node_program

    return node_program()


def _chromium() -> object:
    from converters.browser.host import programs

    return programs()


def _in_browser(
    name: str, format: str, summary: str, pace: float, half: bool = False, slow: bool = False
) -> Backend:
    def opened(artifact: Artifact) -> Runner:
        return browser.open_runner(artifact, name)

    return Backend(name, format, summary, opened, pace, half, slow, needs=_chromium)


BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend("mil", "coreml", "the saved program, in the types that it declares", _mil, 40),
        Backend("mil-weights-only", "coreml", "the same in float32", _mil_weights_only, 50),
        _core_ml_on("coreml", "all", "all that it chooses"),
        _core_ml_on("coreml-cpu", "cpu_only", "the CPU"),
        _core_ml_on("coreml-gpu", "cpu_and_gpu", "CPU and GPU (Metal)"),
        _core_ml_on("coreml-ane", "cpu_and_ne", "CPU and Neural Engine"),
        Backend("litert", "tflite", "LiteRT with XNNPACK", _litert, 60),
        Backend(
            "litert-reference", "tflite", "LiteRT's plain kernels", _litert_reference, 1, slow=True
        ),
        _in_browser("litertjs", "tflite", "LiteRT.js in Chromium", 10),
        Backend("tfjs-wasm", "tfjs", "TF.js on WebAssembly in Node", _tfjs_node, 10, needs=_node),
        _in_browser("tfjs-wasm-chromium", "tfjs", "TF.js on WebAssembly in Chromium", 10),
        _in_browser("tfjs-webgl", "tfjs", "TF.js on WebGL, float32", 0.3, slow=True),
        _in_browser(
            "tfjs-webgl-f16", "tfjs", "TF.js on WebGL, float16 textures", 0.3, True, slow=True
        ),
        _in_browser(
            "tfjs-webgpu", "tfjs", "TF.js on WebGPU, where Chromium starts it", 0.06, slow=True
        ),
    )
}


def of_format(name: str) -> tuple[Backend, ...]:
    """The backends of a format, the main one first."""
    return tuple(b for b in BACKENDS.values() if b.format == name)


def find(name: str) -> Backend:
    """The backend of that name; UnknownName for any other."""
    if name not in BACKENDS:
        raise UnknownName.among("backend", name, BACKENDS)
    return BACKENDS[name]
