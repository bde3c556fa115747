"""TorchScript of `torch.jit.save`: a worker process loads it and exports it, we read the program.

    python -m converters.files.torchscript FILE PROGRAM < the examples as JSON

Loading TorchScript runs C++ on whatever the file says, so that it never happens in our process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.files.request import FileRequest, InputExample
from converters.processes import children, scratch
from model_defs.errors import ERRORS, BadArtifact, BadModule, MlshipError
from model_defs.installation import IMPORTED_FROM
from model_defs.spec import ModelSpec

SECONDS = 300


def read(request: FileRequest) -> ModelSpec:
    """The specification of a TorchScript file, run on noise of the sizes that the user says.

    Raises BadSpec where he says none, BadArtifact for a damaged file, BadModule where control
    flow or an operator depends on data.
    """
    from converters.files.example import name_of, noises
    from converters.files.program import read as read_program

    noises(request)
    with scratch.temporary() as folder:
        program = folder / "program.pt2"
        answer = _ask(request, program)
        examples = tuple(map(InputExample.read, answer["examples"]))
        own = FileRequest(program, examples)
        spec = read_program(own, answer["notes"], answer["names"])
    return replace(spec, name=name_of(request.path))


def _ask(request: FileRequest, program: Path) -> dict[str, list[str]]:
    """Have the program written; returns what the worker notes, the inputs' names and examples."""
    paths = [str(IMPORTED_FROM), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-P", "-m", "converters.files.torchscript"]
    try:
        done = children.run(
            [*command, str(request.path), str(program)],
            input=json.dumps([str(one) for one in request.examples]),
            capture_output=True,
            errors="replace",
            timeout=SECONDS,
            env={**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": os.pathsep.join(paths)},
            check=False,
        )
    except subprocess.TimeoutExpired:
        what = f"the TorchScript file was not exported within {SECONDS} s"
        raise BadModule(what, where=str(request.path)) from None
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        how = f"by signal {-done.returncode}" if done.returncode < 0 else "without an answer"
        raise BadArtifact(
            f"the process that loads the TorchScript file ended {how}: {' / '.join(lines[-1:])}",
            where=str(request.path),
        ) from None
    if "kind" in answer:
        raise ERRORS[answer["kind"]](answer["what"], where=str(request.path), do=answer["do"])
    found: dict[str, list[str]] = answer
    return found


def main() -> None:
    """Export one file; everything else that is printed goes to standard error."""
    children.end_with_parent()
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    examples = json.load(sys.stdin)
    try:
        said: dict[str, Any] = _export(Path(sys.argv[1]), Path(sys.argv[2]), examples)
    except MlshipError as error:
        said = {"kind": type(error).__name__, "what": error.what, "do": error.do}
    json.dump(said, answer)
    answer.flush()
    os._exit(0)


def _export(path: Path, program: Path, examples: list[str]) -> dict[str, list[str]]:
    import torch

    from converters.capture import CAST
    from converters.weights import cast_note

    try:
        script = torch.jit.load(str(path), map_location="cpu").eval()
    except RuntimeError as error:
        said = (str(error).strip().splitlines() or [""])[0]
        raise BadArtifact(f"the TorchScript file cannot be loaded: {said}") from error
    others = [t for t in (*script.parameters(), *script.buffers()) if t.dtype in CAST]
    notes = cast_note("the TorchScript's {} numbers", others)
    script = script.float() if others else script
    names = [argument.name for argument in script.forward.schema.arguments[1:]]
    request = FileRequest(path, tuple(map(InputExample.read, examples)))
    given = request.of(tuple(names))
    names = [name for name in names if name in given]
    example = tuple(given[name].tensor() for name in names)
    try:
        with torch.no_grad():
            exported = torch.export.export(_as_module(script), example, strict=False)
    except Exception as error:  # TorchScript's interpreter raises what its operators do
        raise BadModule(
            f"the TorchScript does not run on the example, or depends on data: {_cause(error)}",
            do="say the sizes that it takes (--example), or export the module that it was made of",
        ) from error
    torch.export.save(exported, program)
    notes.append("TorchScript, exported by running it once: loops and branches are as they ran")
    bare = [str(replace(given[name], name="")) for name in names]
    return {"notes": notes, "names": names, "examples": bare}


def _as_module(script: Any) -> Any:
    """A module that calls it, since torch.export takes no TorchScript itself."""
    from torch import nn

    class Calls(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = script

        def forward(self, *inputs: Any) -> Any:
            return self.net(*inputs)

    for parameter in script.parameters():
        parameter._is_param = True  # TorchScript hands out plain tensors; by this they are known
    return Calls()


def _cause(error: BaseException) -> str:
    """The last line that says what was raised, of TorchScript's long account."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line]
    return (errors or lines or [type(error).__name__])[-1][:200]


if __name__ == "__main__":
    main()
