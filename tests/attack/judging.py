"""Who catches a bundle that was tampered with: the lock, parity with the model, inspect."""

from __future__ import annotations

import shutil
from pathlib import Path

from click.testing import CliRunner
from own_models import Two

from converters.api import Program
from converters.capture import capture
from model_defs import lookup
from model_defs.errors import MlshipError
from tests.attack.faults import BundleFault
from toolchain.build.ship import tools
from toolchain.bundle import bundle as bundles
from toolchain.ci import lock
from toolchain.cli.main import main
from toolchain.parity import harness
from toolchain.parity.harness import BackendChoice
from toolchain.parity.subject import Subjects
from toolchain.recipes import pipeline, recipes

MAIN = ("mil", "litert", "tfjs-wasm")


class FaultJudge:
    """Of bundles of the model `two`, which is captured once and locked as it was built."""

    def __init__(self, two: Two) -> None:
        self._two = two
        (self._model,) = lookup.expand(two.model)
        captured = capture(lookup.load(self._model))
        self._program: Program = pipeline.run(captured, recipes.find("fp16").load())
        self._subjects = Subjects(None, None, None)
        locked = {f"two-{t}": lock.Locked.of(b) for t, b in two.bundles.items()}
        here = lock.machine.this().fingerprint
        self._lock = lock.Lock(tools=tools(), machine=here, bundles=locked)

    def faulty(self, fault: BundleFault, folder: Path) -> Path:
        """A copy of the good bundle with the fault in it."""
        shutil.copytree(self._two.bundles[fault.target].directory, folder)
        return fault.into(folder, self._program)

    def locked(self, folder: Path) -> bool:
        """Whether it is not as locked."""
        try:
            found = bundles.read(folder)
        except MlshipError:
            return True
        name = f"two-{found.target}"
        of_it = [one for one in lock.compared(self._lock, {name: found}) if one.bundle == name]
        return any(one.verdict == "failed" for one in of_it)

    def by_model(self, folder: Path) -> bool:
        """Whether parity with the model fails, or refuses it."""
        try:
            subject = self._subjects.of(bundles.read(folder), self._model)
            return not harness.judge(subject, BackendChoice(MAIN)).report.ok
        except MlshipError:
            return True

    def inspected(self, folder: Path) -> bool:
        """Whether inspect fails."""
        return CliRunner().invoke(main, ["inspect", str(folder)]).exit_code != 0
