"""The platforms that a bundle is built for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from model_defs.errors import ConversionFailed, UnknownName
from toolchain.recipes import RECIPES, Recipe

Via = Literal["lowering", "onnx2tf"]
"""Our own lowering of ONNX, or onnx2tf's, which then is an oracle for ours."""
DEFAULT_VIA: Via = "lowering"

Compute = Literal["all", "cpu_only", "cpu_and_gpu", "cpu_and_ne"]
"""Where an app lets Core ML compute: GPU is Metal, NE the Neural Engine."""
DEFAULT_COMPUTE: Compute = "all"


@dataclass(frozen=True)
class Target:
    """A platform, the converter of its format, and the artifact's file name ending.

    `loading` names the files of `toolchain/loading` that its bundles carry: code for an app.
    `stores` are the types in which its format holds weights that it computes with in float32.
    """

    name: str
    format: str
    suffix: str
    needs_onnx: bool
    summary: str
    loading: tuple[str, ...] = ()
    stores: tuple[str, ...] = ("float32", "float16")


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            "ios",
            "coreml",
            ".mlpackage",
            False,
            "Core ML (Metal, Neural Engine), iOS 16+",
            loading=("MLShip.swift",),
        ),
        Target("android", "tflite", ".tflite", True, "TFLite / LiteRT (XNNPACK, GPU)"),
        Target(
            "web",
            "tfjs",
            ".tfjs",
            True,
            "TensorFlow.js (WASM, WebGL, WebGPU)",
            loading=("mlship.mjs",),
            stores=("float32", "float16", "uint16", "uint8"),
        ),
    )
}


def find(names: tuple[str, ...]) -> tuple[Target, ...]:
    """The targets of those names, in table order; `all` is every one."""
    for name in names:
        if name not in TARGETS and name != "all":
            raise UnknownName.among("target", name, [*TARGETS, "all"])
    return tuple(t for t in TARGETS.values() if t.name in names or "all" in names)


def check_via(chosen: tuple[Target, ...], via: Via) -> None:
    """ConversionFailed where onnx2tf is asked for a target that ONNX has no part in."""
    for target in chosen:
        if via != DEFAULT_VIA and not target.needs_onnx:
            others = [f"--target {t.name}" for t in TARGETS.values() if t.needs_onnx]
            raise ConversionFailed(
                f"{via} does not write {target.format}", do=f"use {' or '.join(others)}"
            )


def check_recipe(chosen: tuple[Target, ...], recipe: Recipe) -> None:
    """ConversionFailed where a target cannot store a recipe's numbers; names one that it can."""
    for target in chosen:
        if recipe.stores not in target.stores:
            able = [t.name for t in TARGETS.values() if recipe.stores in t.stores]
            nearest = next(r.name for r in RECIPES.values() if r.stores == target.stores[-1])
            raise ConversionFailed(
                f"recipe {recipe.name}: {target.format} does not store {recipe.stores} weights",
                where=f"target {target.name}",
                do=f"use --recipe {nearest}, the nearest that it stores, or --target {able[0]}",
            )


def check_compute(chosen: tuple[Target, ...], compute: Compute) -> None:
    """ConversionFailed where compute units are asked for and no target has them."""
    if compute != DEFAULT_COMPUTE and all(target.format != "coreml" for target in chosen):
        raise ConversionFailed(f"--compute {compute} is of Core ML", do="use --target ios")
