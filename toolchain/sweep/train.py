"""The job of training a variant up to a number of steps, from where it was left before.

$MLSHIP_CACHE/trainings/<variant>/<steps>.pt            the training, to go on with
$MLSHIP_CACHE/trainings/<variant>/<steps>.safetensors   the weights
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters.processes import scratch
from converters.progress import Say
from toolchain.build import remote
from toolchain.bundle.files import file_digest, whole
from toolchain.bundle.home import cache_home
from toolchain.cluster.job import Job, Json
from toolchain.sweep.variant import Variant


def job(variant: Variant, until: int, before: Mapping[str, Json] | None) -> Job:
    """Training to so many steps; `before` is what came of the rung below."""
    asked = {"variant": _made_and_trained(variant), "until": until, "before": before}
    return Job(f"{variant.trained_name}, to step {until}", "train", asked)


def _made_and_trained(variant: Variant) -> dict[str, Any]:
    """What decides a training: recipes that are built from it share it."""
    return {**variant.to_json(), "recipe": "", "varied": {}}


def work(arguments: Mapping[str, Json], say: Say) -> Json:
    """Trains, keeps what came of it, says: the score, its way there, the files' digests."""
    variant = Variant.from_json(arguments["variant"])
    until, before = arguments["until"], arguments["before"]
    curve, reached = _trained(variant, until, before, say)
    return {
        "steps": until,
        "metric": reached.metric,
        "score": round(reached.score, 6),
        "loss": round(reached.loss, 6),
        "curve": [*(before["curve"] if before else []), *curve],
        "weights": file_digest(weights_of(variant, until)),
        "checkpoint": file_digest(_checkpoint_of(variant, until)),
    }


def _trained(variant: Variant, until: int, before: Json, say: Say) -> tuple[list[Any], Any]:
    from toolchain.training import loop

    settings, curve = variant.settings(), []

    def hear(step: int, loss: float, score: float | None) -> None:
        if score is not None:
            curve.append([step, round(score, 6)])
            say(variant.name, f"step {step}: loss {loss:.4f}, score {score:.4f}")

    with scratch.temporary() as folder:
        resumed = before is not None and _fetched(variant, before, folder / loop.CHECKPOINT)
        reached = loop.train(
            variant.load(), settings, folder, resume=resumed, until=until, say=hear
        )
        for made, kept in (
            (folder / loop.CHECKPOINT, _checkpoint_of(variant, until)),
            (reached.weights, weights_of(variant, until)),
        ):
            with whole(kept) as fresh:
                shutil.copy(made, fresh)
        remote.push(_place(variant, until), _files(variant, until))
    first = before["steps"] if before else 0
    return [point for point in curve if point[0] > first], reached


def _fetched(variant: Variant, before: Mapping[str, Json], place: Path) -> bool:
    """Whether the training of the rung below is here, the same as it was left; then it is copied.

    On a CPU a training that begins anew comes to the same, in more time.
    """
    kept = _checkpoint_of(variant, before["steps"])
    if not _is_here(variant, before, kept, before["checkpoint"]):
        return False
    shutil.copy(kept, place)
    return True


def weights_of(variant: Variant, steps: int) -> Path:
    """Where its weights lie after so many steps."""
    return _folder(variant) / f"{steps}.safetensors"


def _checkpoint_of(variant: Variant, steps: int) -> Path:
    return _folder(variant) / f"{steps}.pt"


def _folder(variant: Variant) -> Path:
    return cache_home() / "trainings" / variant.key


def found_weights(variant: Variant, trained: Mapping[str, Json], say: Say) -> Path:
    """The weights of a training that was made, here or elsewhere: made again where they are not."""
    path = weights_of(variant, trained["steps"])
    if not _is_here(variant, trained, path, trained["weights"]):
        _trained(variant, trained["steps"], None, say)
    return path


def _is_here(variant: Variant, trained: Mapping[str, Json], path: Path, digest: str) -> bool:
    """Whether a file of a training is here as it was left, or at least in the remote cache."""
    steps = trained["steps"]
    for _ in range(2):
        with contextlib.suppress(OSError):
            if file_digest(path) == digest:
                return True
        with scratch.temporary() as work:
            if not remote.fetch(_place(variant, steps), work / "training"):
                return False
            for name, kept in _files(variant, steps).items():
                with contextlib.suppress(OSError), whole(kept) as fresh:
                    shutil.copy(work / "training" / name, fresh)
    return False


def _place(variant: Variant, steps: int) -> str:
    return f"trainings/{variant.key}/{steps}"


def _files(variant: Variant, steps: int) -> dict[str, Path]:
    return {"training.pt": _checkpoint_of(variant, steps), "weights": weights_of(variant, steps)}
