"""Runs as their pages are given them, made up, with a name of your choice wherever one stands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.measure.size import SizeRow
from converters.contents import Item
from converters.graph.captured import GraphLayer
from model_defs.spec import TensorSpec
from toolchain.bundle.parity_report import ParityReport, ParityRow
from toolchain.ci.checks import Check
from toolchain.ci.differences import difference
from toolchain.ci.latency import Latency
from toolchain.ci.run import CiResult, CiRun
from toolchain.ci.snapshots import Snapshot
from toolchain.ci.state import BundleFigures, Measurements
from toolchain.debug.blame import BackendBlame, Blame, LayerError
from toolchain.debug.stages import Stage
from toolchain.parity.harness import Example, Outcome
from toolchain.search.choices import StorageChoice
from toolchain.search.search import EvaluatedPlan

SHAPE = (1, 1, 4, 6)


def bundle(name: str) -> Any:
    image = SimpleNamespace(name=name, kind="image", preprocess=None, low=0.0, high=1.0)
    mask = SimpleNamespace(name=name, kind="mask", preprocess=None, low=0.0, high=1.0)
    manifest = SimpleNamespace(
        artifact=SimpleNamespace(path=f"{name}.tflite"), recipe=SimpleNamespace(name=name)
    )
    return SimpleNamespace(
        name=name,
        target="ios",
        manifest=manifest,
        inputs=(image,),
        outputs=(mask,),
        artifact_bytes=15_834_000,
    )


def outcome(name: str) -> Outcome:
    """One output on two backends that ran, one of them wrong, and on one that did not."""

    def row(backend: str, verdict: Any, error: float | None, note: str = "") -> ParityRow:
        limit = None if error is None else 0.02
        metrics = {} if error is None else {"PSNR": 52.1, "IoU": 0.9987}
        return ParityRow(backend, name, name, verdict, error, limit, name, note, metrics, name)

    rows = (
        row("litert", "passed", 0.0003),
        row("litert", "skipped", 0.0, f"constant {name}"),
        row("tfjs-wasm", "failed", 0.4, f"wrong {name}"),
        row("coreml", "skipped", None, f"coreml runs on {name}"),
    )
    subject: Any = SimpleNamespace(
        name=f"{name}-ios", bundle=bundle(name), reference=SimpleNamespace(name=name)
    )
    ramp = np.linspace(0, 1, 24).reshape(SHAPE)
    inputs = {name: np.repeat(ramp, 3, axis=1)}
    examples = {(r.backend, r.output): Example(r, inputs, ramp, ramp[..., ::-1]) for r in rows[::2]}
    report = ParityReport(rows, ("litert", "coreml", name))
    return Outcome(subject, report, examples, seconds={"litert": 12.4})


def blamed(name: str) -> Blame:
    """Thirty layers, one of them off, and a backend that shows no values."""

    def layer(index: int) -> LayerError:
        traced = GraphLayer("x", "conv", f"{name}.{index}", f"{name}.py:{index}", (), True)
        off = index == 20
        added = 0.3 if off else 10.0 ** (-(index % 7) - 3)
        total = 0.4 if index >= 20 else 1e-3
        return LayerError("x", (traced,), added, total, off, name)

    stages = (Stage(name, name, 0.5, 0.01, name, name),)
    backends = (
        BackendBlame("litert", tuple(map(layer, range(30)))),
        BackendBlame(name, (), f"skipped {name}"),
    )
    subject: Any = SimpleNamespace(name=f"{name}-ios")
    return Blame(subject, name, stages, backends)


def figures(name: str, scale: float, wire: float) -> BundleFigures:
    return BundleFigures(
        f"{name}-ios",
        name,
        "ios",
        "fp16",
        "weights",
        f"{name}{scale}",
        {"wire": wire, "latency": 4 * scale, "parity": 0.3},
        {f"{name}.{i}": int(1000 * i * (1 if i % 2 else scale)) for i in range(1, 14)},
        {f"{name}.{i}": 0.1 * i * scale for i in range(1, 6)},
        name,
        tuple(4 * scale + i / 10 for i in range(8)),
    )


def ci_run(name: str) -> CiRun:
    """A bundle that grew, one that is gone, a changed picture and a new one."""
    changed = difference(figures(name, 1.0, 1_390_000), figures(name, 1.2, 1_460_000))
    latency = Latency(changed.after, 1.2, 0.001, True, why=f"side by side {name}")
    bad = {"why": f"why {name}", "layer": f"layer {name}"}
    checks = (
        Check(f"{name}-ios", "bundle", "bundle", "passed"),
        Check(f"{name}-ios", f"parity of {name}", "parity", "passed", "", "1e-05", name, share=0.3),
        Check(f"{name}-ios", "wire", "budget", "failed", name, name, name, "over-limit", **bad),
        Check(f"{name}-ios", "latency", "budget", "warned", cause="over-limit", **bad),
        Check(f"{name}-ios", name, "parity", "skipped", cause="not-run", required=False, **bad),
        Check(f"{name}-web", "bundle", "bundle", "failed", cause="removed", **bad),
        Check(name, f"picture {name}", "picture", "skipped", cause="new", **bad),
    )
    ramp = np.linspace(0, 1, 24).reshape(SHAPE)
    spec = TensorSpec("mask", SHAPE, "mask", low=0, high=1, tolerance=0.02)
    shots = (
        Snapshot(name, name, spec, ramp, ramp[..., ::-1]),
        Snapshot(name, name, spec, None, ramp),
        Snapshot(name, name, None, ramp, None),
    )
    results = {f"{name}-ios": CiResult(outcome(name), changed, latency)}
    here = Measurements("here", name, {})
    return CiRun(here, Measurements("there", name, {}), checks, results, shots)


def shrunk(name: str) -> Any:
    """Three points of a curve, the middle one chosen."""

    def point(count: int, drop: float) -> EvaluatedPlan:
        score: Any = SimpleNamespace(value=1 - drop)
        plan = {f"{i}": StorageChoice(f"{name}.{i}", name, count // i, 0.1 * i) for i in (1, 2, 3)}
        return EvaluatedPlan(count, score, drop, plan)

    chosen = point(2_500_000, 0.01)
    metric = SimpleNamespace(name=name, unit="")
    return SimpleNamespace(
        model=name,
        search=SimpleNamespace(base=SimpleNamespace(metric=metric, value=0.9)),
        point=chosen,
        curve=(point(1_200_000, 0.08), point(4_000_000, 0.0)),
        sizes={name: 2_512_345},
        binding=name,
        problem="",
        exit_code=0,
    )


def weighed(name: str) -> Sequence[tuple[Any, SizeRow]]:
    """Twenty layers of one bundle, its graph and its metadata."""
    items = [Item(f"{name}{i}/w", "weights", 900 * i * i, "float16", (i,)) for i in range(1, 21)]
    items += [Item("graph", "graph", 60_000), Item("note", "metadata", 30_000)]
    total = sum(item.bytes for item in items)
    row = SizeRow(total, {"zip": total - 9000}, total - 90_000, tuple(items))
    return [(SimpleNamespace(name=name, target=name, directory=Path(name)), row)]
