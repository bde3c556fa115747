"""One net through `mlship.convert` for all targets, and its files beside float64.

    python -m tests.converters.wild.measure NAME FOLDER

writes `FOLDER/NAME.json`.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from tests.converters.wild.catalogue import NETS
from tests.converters.wild.records import TARGETS, Outcome, Record, allowed, store

if TYPE_CHECKING:
    from torch import Tensor, nn

    from toolchain.build.request import Built

SEEDS = (7, 8)
"""Of the inputs that files are judged on; a build proves them on others before."""
WITHOUT_TIES = {"rt-detr": (7, 9)}
"""At 8, two of its twenty best scores are 3.6e-7 of 0.99 apart: rounding says which comes first."""
TOOLS = ("torch", "coremltools", "tensorflow", "ai-edge-litert")


def measure(name: str, out: Path, targets: Sequence[str] = TARGETS) -> Record:
    """Build a net as a user builds a module in memory, and judge what came of it."""
    import mlship
    from model_defs.errors import MlshipError

    net = NETS[name]
    module = net.module()
    cases = [net.inputs(seed) for seed in WITHOUT_TIES.get(name, SEEDS)]
    truth, own = _truth(module, cases)
    start, used = time.monotonic(), _processor()
    try:
        built = mlship.convert(
            module, net.inputs(0), targets=targets, recipe="fp32", out=out, name=name
        )
        outcomes = {one.target: one for one in built}
        said: dict[str, Outcome] = {}
    except MlshipError as error:
        outcomes, said = {}, dict.fromkeys(targets, _refused(error))
    seconds, processor = time.monotonic() - start, _processor() - used
    said |= {target: _judged(one, cases, truth, own) for target, one in outcomes.items()}
    return Record(
        name,
        net.version,
        sum(one.numel() for one in module.parameters()),
        own,
        seconds,
        processor,
        said,
        tools={tool: version(tool) for tool in TOOLS},
    )


def _processor() -> float:
    """The seconds of processors that this process and those that it ended have used."""
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, -1))
    return sum(one.ru_utime + one.ru_stime for one in (own, others))


def _truth(
    module: nn.Module, cases: Sequence[tuple[Tensor, ...]]
) -> tuple[list[list[Tensor]], float]:
    """What each case comes to in float64, and PyTorch's own error in float32."""
    import torch

    from tests.converters.wild.doubles import answers, true_answers

    truth = [true_answers(module, case) for case in cases]
    first, second = truth
    assert not all(map(torch.equal, first, second)), "a net that hears nothing shows nothing"
    own = [
        share(mine, true)
        for case, wanted in zip(cases, truth, strict=True)
        for mine, true in zip(answers(module, case), wanted, strict=True)
    ]
    return truth, max(own)


def share(found: Tensor, wanted: Tensor) -> float:
    """The largest error as a share of the range; of labels, how many differ."""
    import torch

    if found.shape != wanted.shape:
        return float("inf")
    if not wanted.is_floating_point():
        return float((found.long() != wanted.long()).double().mean())
    if not bool(torch.isfinite(found).all()):
        return float("inf")
    wanted = wanted.double()
    span = float(wanted.max() - wanted.min()) or float(wanted.abs().max()) or 1.0
    return float((found.double() - wanted).abs().max()) / span


def _judged(
    built: Built, cases: Sequence[tuple[Tensor, ...]], truth: list[list[Tensor]], own: float
) -> Outcome:
    if built.error is not None:
        return _refused(built.error)
    if built.bundle is None:
        return Outcome("wrong", said="; ".join(built.problems)[:400])
    import torch

    from converters import formats
    from converters.tflite.partitions import partitions

    artifact = built.bundle.artifact
    names = [one.name for one in built.bundle.inputs]
    runner = formats.open_runner(artifact)
    errors = []
    try:
        for case, wanted in zip(cases, truth, strict=True):
            given = {n: one.numpy() for n, one in zip(names, case, strict=True)}
            results = runner.run(given)
            found = [torch.from_numpy(results[one.name]) for one in built.bundle.outputs]
            errors += [share(a, b) for a, b in zip(found, wanted, strict=True)]
    finally:
        runner.close()
    parts = partitions(artifact.path) if artifact.format == "tflite" else None
    return Outcome(
        "right" if max(errors) <= allowed(own) else "wrong",
        max(errors),
        built.bundle.artifact_bytes / 1e6,
        parts.count if parts else 0,
        parts.outside if parts else "",
        notes=artifact.notes,
    )


def _refused(error: object) -> Outcome:
    from model_defs.errors import MlshipError

    assert isinstance(error, MlshipError)
    words = " | ".join(filter(None, (error.what, anywhere(error.where), error.do)))
    return Outcome("broken" if error.exit_code == 4 else "refused", said=" ".join(words.split()))


def anywhere(place: str) -> str:
    """A place in a file, without the folders that only this machine has."""
    installed = [one for one in sys.path if Path(one).name == "site-packages"]
    for root in (*installed, Path(__file__).parents[3]):  # the first may lie in the second
        place = place.replace(f"{root}/", "")
    return place


def main() -> None:
    name, folder = sys.argv[1:]
    with tempfile.TemporaryDirectory() as out:
        store(measure(name, Path(out)), Path(folder))


if __name__ == "__main__":
    main()
