"""Every error that a user of mlship can meet, in one tree.

    MlshipError                 exit code 2: the input is wrong
    ├── UnknownName             a model, target, recipe, pass or backend that does not exist
    ├── BadSpec                 a model specification that contradicts itself or its module
    ├── BadWeights              a weights file that does not fit its module
    ├── BadModule               a module that cannot be captured faithfully
    ├── UnsupportedOperation    an operation that a format cannot express
    ├── BadArtifact             a model file that is missing, truncated or malformed
    ├── BadBundle               a bundle whose files and manifest disagree
    ├── BadPicture              a picture or array that cannot be read
    ├── BadRecipe               a recipe whose steps are not ones, or do not go together
    ├── RecipeMismatch          a sound recipe that this model, or this command, cannot take
    ├── GoalOutOfReach          a size that a model cannot be brought to
    ├── BadConfig               an mlship.toml that says what cannot be meant
    ├── BadRecord               recorded results that are damaged or of something else
    ├── BadCheckpoint           a training that is not there, in the way, or of other settings
    ├── BadKey                  a key or certificate that cannot be read, or cannot sign
    ├── BadSignature            a bundle that has no signature, or one that cannot be read
    ├── BadPath                 a path that no system call takes
    ├── CannotWrite             a full disk, an unwritable folder, a file in the way
    ├── UnsupportedOption       a recipe, compute units or a lowering that a target does not have
    ├── TrainingDiverged        exit code 1: a loss that is no longer a finite number
    ├── ParityFailed            exit code 1: what was built is not equal to PyTorch
    ├── BackendUnavailable      exit code 3: the runtime is not on this machine
    ├── PassFailed              exit code 4: a pass that broke its promise
    ├── ClusterFailed           exit code 4: a cluster that cannot be reached, or does not fit
    ├── ConversionFailed        exit code 4: a converter that crashed, or wrote what does not run
    └── InternalError           exit code 4: anything that nobody foresaw

Each says what failed, where, and what to do next. The exit code is of what the user can do: 2,
change the input; 1, look at what was checked; 3, install something; 4, only report it.
"""

from __future__ import annotations

import contextlib
import difflib
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

WORST_FIRST = (4, 2, 1, 3, 0)
"""Exit codes: a failed tool, a wrong input, a failed check, a check that was not made, all good."""

REPORT_IT = (
    "if the lines above lead to a file of yours, correct it; otherwise this is a defect of "
    "mlship: report it, with those lines and what `mlship doctor` says"
)
"""What to do about a defect whose traceback is shown."""

REPORT = (
    "this is a defect of mlship, or of a tool that it calls: report it with this message and what "
    "`mlship doctor` says"
)
"""The same where a message says it all."""


class MlshipError(Exception):
    """An error that the user can act on: `what` failed, `where`, and what to `do`."""

    exit_code = 2
    remedy = ""
    """What to do where nothing better is said: errors of files from outside always have one."""

    def __init__(self, what: str, *, where: str = "", do: str = "") -> None:
        super().__init__(what, where, do)
        self.what, self.where, self.do = what, where, do or self.remedy

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.do:
            lines.append(f"  do: {self.do}")
        return "\n".join(lines)


@contextlib.contextmanager
def during(step: str, kind: type[MlshipError], *, where: str = "", do: str = "") -> Iterator[None]:
    """Whatever is raised within, as an error of this kind that says in which step, and where.

    Errors of this tree pass as they are. `do` comes before how to report it.
    """
    try:
        yield
    except MlshipError:
        raise
    except Exception as error:  # PyTorch, onnx, coremltools and we ourselves raise anything
        instead = f"{do}; {REPORT}" if do else REPORT
        raise kind(f"{step} failed: {said(error)}", where=where, do=instead) from error


def said(error: Exception) -> str:
    """An error of any kind in a line: its type, its first line, the place in the code."""
    words = (str(error).strip().splitlines() or [""])[0]
    stack = traceback.extract_tb(error.__traceback__)
    place = f" (at {Path(stack[-1].filename).name}:{stack[-1].lineno})" if stack else ""
    return f"{type(error).__name__}{': ' if words else ''}{words}{place}"


@contextlib.contextmanager
def reading_file(path: Path) -> Iterator[None]:
    """What is raised within names this file, where it names another place or none."""
    try:
        yield
    except MlshipError as error:
        if str(path) not in error.where:
            error.where = f"{path}: {error.where}" if error.where else str(path)
        raise


class UnknownName(MlshipError):
    """A name that is in none of our tables; suggests the nearest one."""

    @classmethod
    def among(cls, noun: str, name: str, known: Iterable[str]) -> UnknownName:
        """The error for `name`, which is not among the `known` names of this noun."""
        known = list(known)
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"did you mean '{nearest[0]}'? " if nearest else ""
        return cls(f"unknown {noun} '{name}'", do=f"{hint}known: {', '.join(known)}")


class BadSpec(MlshipError):
    """A model specification that contradicts itself or its module."""


class BadWeights(MlshipError):
    """A weights file that is unreadable or does not fit its module."""

    remedy = "write the weights file again, or pass another one"


class BadModule(MlshipError):
    """A module that cannot be captured faithfully, so it is not captured at all."""


class UnsupportedOperation(MlshipError):
    """An operation that a format cannot express exactly."""


class BadArtifact(MlshipError):
    """A model file that is missing, truncated, malformed or beyond what we execute."""

    remedy = "make the file again with what wrote it: a bundle's with mlship build"


class BadBundle(MlshipError):
    """A bundle whose files and manifest disagree."""

    remedy = "remove the bundle and build it again"


class BadPicture(MlshipError):
    """A picture or array file that cannot be read or does not fit the model's input."""

    remedy = "pass another picture or array"


class BadRecipe(MlshipError):
    """A recipe with a step that stands twice, or an option that a pass does not take."""


class RecipeMismatch(MlshipError):
    """A recipe, sound in itself, that this model or this command cannot take."""


class GoalOutOfReach(MlshipError):
    """So few bytes, numbers or multiply-adds that no choice of layers or channels has them."""


class BadConfig(MlshipError):
    """An mlship.toml or sweep.toml that is missing, or says what cannot be meant."""


class BadRecord(MlshipError):
    """A file of recorded results that is truncated, edited, or of another bundle."""

    remedy = "write the file again with the command that wrote it"


class BadCheckpoint(MlshipError):
    """A training to resume that is not there, damaged, in the way, or of other settings."""


class BadKey(MlshipError):
    """A key or certificate that is none, is of a kind that is not signed with, or does not fit."""

    remedy = "pass keys and certificates in PEM that belong together: docs/signing.md"


class BadSignature(MlshipError):
    """A signature, or a document beside it, that is not there or cannot be read."""

    remedy = "sign the bundle again: mlship sign BUNDLE --key private.pem"


class BadPath(MlshipError):
    """A path that no system call takes: too long, with a null character, links in a circle."""


class CannotWrite(MlshipError):
    """A full disk, an unwritable folder, or a file that is in the way."""


class UnsupportedOption(MlshipError):
    """A recipe, compute units or a lowering that a target does not have."""


class TrainingDiverged(MlshipError):
    """A loss that became infinite or not a number."""

    exit_code = 1


class ParityFailed(MlshipError):
    """A bundle that was built, and that does not compute what PyTorch does."""

    exit_code = 1


class PassFailed(MlshipError):
    """A pass that changed its input, drifted though exact, or returned NaN."""

    exit_code = 4


class ConversionFailed(MlshipError):
    """A converter that crashed or refused; the message carries its last words."""

    exit_code = 4


class InternalError(MlshipError):
    """A defect of ours, or of a library that is called: no error of this tree, but a traceback."""

    exit_code = 4


class ClusterFailed(MlshipError):
    """A cluster whose scheduler or workers cannot be reached, or are not fit for what is asked."""

    exit_code = 4


class BackendUnavailable(MlshipError):
    """A runtime that is not installed or cannot exist on this machine."""

    exit_code = 3


ERRORS: dict[str, type[MlshipError]] = {
    name: value
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, MlshipError)
}
"""By name, so that an error crosses a process boundary as itself."""


def worst_code(codes: Iterable[int]) -> int:
    """The exit code of many things: what came of the worst of them; 0 of none."""
    found = set(codes)
    return next((code for code in WORST_FIRST if code in found), 0)
