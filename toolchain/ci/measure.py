"""Sizes and what parity measured, as figures that budgets know."""

from __future__ import annotations

from benchmarks.measure.budgets import LIMITS
from benchmarks.measure.size import SizeRow
from toolchain.bench.size import measure_bundle
from toolchain.bundle.bundle import Bundle
from toolchain.bundle.parity_report import ParityReport
from toolchain.ci.state import BundleFigures, artifact_digest
from toolchain.parity.lines import worst_metrics


def measured(bundle: Bundle, report: ParityReport) -> BundleFigures:
    """A bundle with its sizes and how near it is to PyTorch; latencies come later."""
    _, row = measure_bundle(bundle.directory)
    return BundleFigures(
        f"{bundle.name}-{bundle.target}",
        bundle.name,
        bundle.target,
        bundle.manifest.recipe.name,
        bundle.manifest.model.weights,
        artifact_digest(bundle),
        {**sizes(row), **_quality(report)},
        {layer.name: layer.bytes for layer in row.layers} | _rest(row),
    )


def _rest(row: SizeRow) -> dict[str, int]:
    return {f"({kind})": n for kind, n in row.kinds.items() if kind != "weights" and n}


def sizes(row: SizeRow) -> dict[str, float]:
    wasted = sum(same[0].bytes * (len(same) - 1) for same in row.duplicates)
    return {
        "disk": row.disk,
        "wire": row.shipped,
        "overhead": row.overhead,
        "duplicates": wasted,
    }


def _quality(report: ParityReport) -> dict[str, float]:
    """The worst error as a share of its tolerance, and each metric's worst value."""
    found: dict[str, float] = {}
    worst = report.worst
    if worst is not None and worst.error is not None and worst.tolerance:
        found["parity"] = worst.error / worst.tolerance
    metrics = worst_metrics(report.rows)
    for key, limit in LIMITS.items():
        if limit.metric in metrics:
            value = metrics[limit.metric]
            found[key] = 1 - value if limit.drop else value
    return found
