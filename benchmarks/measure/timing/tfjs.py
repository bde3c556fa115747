"""What times a TF.js model: Node with node.mjs, and Chromium."""

from __future__ import annotations

from benchmarks.measure.timing.browser import in_chromium
from benchmarks.measure.timing.runtime import Runtime

RUNTIMES = (
    Runtime("tfjs-wasm", "tfjs", "TF.js on WASM in Node, 1 thread", None, main=True),
    in_chromium("tfjs-wasm-chromium", "tfjs", "TF.js on WASM in Chromium"),
)
