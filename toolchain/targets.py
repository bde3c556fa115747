"""The platforms that a bundle is built for."""

from __future__ import annotations

from dataclasses import dataclass

from model_defs.errors import UnknownName


@dataclass(frozen=True)
class Target:
    """A platform, the converter of its format, and the artifact's file name ending.

    `loading` names the files of `toolchain/loading` that its bundles carry: code for an app.
    """

    name: str
    format: str
    suffix: str
    needs_onnx: bool
    summary: str
    loading: tuple[str, ...] = ()


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("ios", "coreml", ".mlpackage", False, "Core ML (Metal, Neural Engine), iOS 16+"),
        Target("android", "tflite", ".tflite", True, "TFLite / LiteRT (XNNPACK, GPU)"),
        Target(
            "web",
            "tfjs",
            ".tfjs",
            True,
            "TensorFlow.js (WASM, WebGL, WebGPU)",
            loading=("mlship.mjs",),
        ),
    )
}


def find(names: tuple[str, ...]) -> tuple[Target, ...]:
    """The targets of those names, in table order; `all` is every one."""
    for name in names:
        if name not in TARGETS and name != "all":
            raise UnknownName.among("target", name, [*TARGETS, "all"])
    return tuple(t for t in TARGETS.values() if t.name in names or "all" in names)
