"""What was timed: milliseconds and bytes of each file, and what the machine could do meanwhile."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measure.significance import interval, percentile
from benchmarks.measure.timing.peaks import COPIED, PEAK_SIZE
from benchmarks.measure.timing.runtimes import PEAKS


@dataclass(frozen=True)
class Times:
    """What came of one entry, in milliseconds and bytes; a block is a list of runs.

    `cpu` is empty where the runtime counts only by the clock, `device` unless it was another than
    this machine. `layers` are the best of each
    layer's milliseconds, where they were asked for and the runtime can tell.
    """

    load: float
    first: float
    wall: tuple[tuple[float, ...], ...]
    cpu: tuple[tuple[float, ...], ...]
    resident: int
    peak: int
    threads: int = 1
    layers: Mapping[str, float] = field(default_factory=dict)
    device: str = ""

    @property
    def runs(self) -> tuple[float, ...]:
        return tuple(ms for block in self.wall for ms in block)

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    @property
    def p90(self) -> float:
        return percentile(self.runs, 0.9)

    @property
    def interval(self) -> tuple[float, float]:
        """The median's 95 % confidence interval, from the blocks' medians."""
        return interval([statistics.median(block) for block in self.wall])

    @property
    def blocks(self) -> tuple[float, ...]:
        """What is compared: each block's best run, of CPU time on one thread, else by the clock.

        The best, because what else a machine does only ever adds. On one thread CPU time is what
        the clock says, but for the moments in which another process has the core.
        """
        chosen = self.cpu if self.cpu and self.threads == 1 else self.wall
        return tuple(map(min, chosen))

    @property
    def own_memory(self) -> int | None:
        """Bytes beyond what the runtime took before it had the file; None where it cannot tell."""
        return max(self.peak - self.resident, 0) if self.resident else None

    def to_json(self) -> dict[str, Any]:
        low, high = self.interval
        return {
            "median_ms": round(self.median, 4),
            "p90_ms": round(self.p90, 4),
            "interval_ms": [round(low, 4), round(high, 4)],
            "load_ms": round(self.load, 3),
            "first_ms": round(self.first, 3),
            "runs": len(self.runs),
            "threads": self.threads,
            "blocks_ms": [round(ms, 4) for ms in self.blocks],
            "peak_bytes": self.peak,
            "own_bytes": self.own_memory,
            "device": self.device,
            "layers_ms": {name: round(ms, 4) for name, ms in self.layers.items()},
        }


@dataclass(frozen=True)
class Session:
    """What was timed in the same rounds, and why the rest was not."""

    times: Mapping[str, Times]
    failed: Mapping[str, str]

    @property
    def roof(self) -> Roof | None:
        """What the machine could do in these rounds; None if that was not timed."""
        if not PEAKS.keys() <= self.times.keys():
            return None
        single, every, copy = (self.times[name].median for name in ("peak-1", "peak", "copy"))
        work = PEAK_SIZE**3 / 1e6
        return Roof(work / single, work / every, 2 * COPIED / copy / 1e6)


@dataclass(frozen=True)
class Roof:
    """The roofline's two roofs (Williams et al., CACM 2009): multiply-adds and memory.

    In GMAC/s on one thread and on all, and GB/s.
    """

    gmacs_single: float
    gmacs: float
    gigabytes: float

    def least_ms(self, macs: int, count: int, threads: int) -> float:
        """Milliseconds below which so many multiply-adds over so many bytes cannot be done."""
        peak = self.gmacs_single if threads == 1 else self.gmacs
        return max(macs / peak, count / self.gigabytes) / 1e6

    def to_json(self) -> dict[str, float]:
        return {
            "gmacs_1_thread": round(self.gmacs_single, 1),
            "gmacs": round(self.gmacs, 1),
            "gigabytes_per_second": round(self.gigabytes, 1),
        }
