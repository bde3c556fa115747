"""Files in a page of headless Chromium, which counts the time itself."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure.timing.loaded import Loaded, numbers
from benchmarks.measure.timing.runtime import CORES, Runtime


def in_chromium(name: str, format: str, summary: str) -> Runtime:
    """The runtime that is this backend of Chromium's page."""
    return Runtime(
        name,
        format,
        summary,
        "benchmarks.measure.timing.browser:chromium",
        threads=CORES,
        options=(name,),
        needs="converters.browser.host:programs",
    )


def chromium(path: Path, threads: int, backend: str) -> Loaded:
    """A file in a page of headless Chromium, which counts the time itself."""
    from converters.browser.host import Browser

    browser = Browser()
    asked = {"do": "open", "backend": backend, "path": str(path.resolve())}
    opened, _ = browser.ask(asked, {}, 300)
    inputs = {
        name: numbers(info["shape"], info["dtype"]) for name, info in opened["inputs"].items()
    }

    def timer(runs: int) -> list[float]:
        answer, _ = browser.ask({"do": "time", "id": opened["id"], "runs": runs}, inputs, 600)
        return [float(ms) for ms in answer["milliseconds"]]

    return Loaded(lambda: timer(1), timer=timer)
