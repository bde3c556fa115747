"""Is the conversion right before anything is rounded? Judged once for each model and converter.

A wrong conversion may be smaller than what a recipe's rounding is let to do. So the model as it is,
without any pass, is converted in float32 as well, and has to be PyTorch's to rounding level. What
passed is kept in the cache: the next recipe of the model is not asked again.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from converters.processes import scratch
from converters.progress import Say
from model_defs.errors import MlshipError
from toolchain.build import cache, produce
from toolchain.build.request import LARGE
from toolchain.bundle.parity_report import ParityReport, ParityRow, Verdict

if TYPE_CHECKING:
    from converters.api import Export
    from converters.format import Source
    from converters.processes.worker import Worker
    from toolchain.build.prepare import Prepared
    from toolchain.recipes.targets import Target


class Unrounded:
    """The model of a build before any pass; its exports are shared by the targets."""

    def __init__(self, prepared: Prepared, work: Path) -> None:
        self._prepared, self._work, self._lock = prepared, work, Lock()
        self._exports: dict[Source, Export] = {}

    def added(self, report: ParityReport, target: Target, worker: Worker, say: Say) -> ParityReport:
        """A file's report with that of the conversion without passes.

        The same where the recipe rounds nothing: then the file itself is that. A model that is too
        large to be converted twice is skipped, which a row says.
        """
        prepared = self._prepared
        if prepared.recipe.exact:
            return report
        if prepared.model.parameters > LARGE:
            note = f"more than {LARGE:,} parameters: not converted a second time without passes"
            return replace(report, rows=(*report.rows, self._row(target, "skipped", note)))
        rows = self._rows(target, worker, say)
        questions = (*report.questions, "unrounded")
        return replace(report, rows=(*report.rows, *rows), questions=questions)

    def _rows(self, target: Target, worker: Worker, say: Say) -> tuple[ParityRow, ...]:
        made = target.made
        key = cache.conversion_key(self._digest(), made.name, self._prepared.request.via)
        known = None if self._prepared.request.fresh else cache.find_conversion(key)
        if known is not None:
            return known
        say(f"{self._prepared.name}-{target.name}", "proving the conversion before any pass")
        try:
            rows = self._converted(target, worker, say)
        except MlshipError as error:
            first = self._prepared.program.spec.outputs[0]
            note = f"it cannot be converted without passes: {error.what}"
            return (
                ParityRow(
                    made.name,
                    "-",
                    first.name,
                    "failed",
                    None,
                    None,
                    note=note,
                    question="unrounded",
                ),
            )
        if all(row.verdict != "failed" for row in rows):
            cache.store_conversion(key, rows)
        return rows

    def _row(self, target: Target, verdict: Verdict, note: str) -> ParityRow:
        """What is said of a conversion that did not take place."""
        output = self._prepared.program.spec.outputs[0].name
        what = (target.made.name, "-", output, verdict, None, None)
        return ParityRow(*what, note=note, question="unrounded")

    def _converted(self, target: Target, worker: Worker, say: Say) -> tuple[ParityRow, ...]:
        from toolchain.parity.reference import of_unrounded

        prepared = self._prepared
        reference = of_unrounded(prepared.reference.result(), prepared.captured)
        hears = partial(say, f"{prepared.name}-{target.name}")
        with scratch.temporary() as folder:
            export = self._export(target.made.source)
            options = produce.options(prepared)
            artifact = worker.convert(export, folder, options, hears)
            return produce.prove_unrounded(artifact, reference)

    def _digest(self) -> str:
        from converters.export import digest_of
        from converters.program_graph import captured_of

        return digest_of(captured_of(self._prepared.captured))

    def _export(self, source: Source) -> Export:
        from converters.export import export_each

        with self._lock:
            if source not in self._exports:
                folder = self._work / f"unrounded-{source}"
                self._exports[source] = export_each(self._prepared.captured, folder, {source})
            return self._exports[source]
