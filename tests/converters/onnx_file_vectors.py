"""ONNX's own test vectors, read as files and run in PyTorch.

`python -m tests.converters.onnx_file_vectors` remakes the table that is committed as
`converters/files/onnx/COVERAGE.md`; a test says that it is current and that nothing is wrong.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from converters.files.onnx.graph import graph_of
from converters.files.onnx.load import in_float32
from converters.files.onnx.module import build
from converters.files.onnx.table import OPERATIONS
from model_defs.errors import MlshipError

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data" / "node"
TABLE = Path(__file__).parents[2] / "converters" / "files" / "onnx" / "COVERAGE.md"
TYPES = ["float16", "float32", "float64", "bool", "uint8", "int8", "int16", "int32", "int64"]
RTOL, ATOL = 1e-3, 1e-5
"""ONNX's own relative tolerance: some vectors hold four decimals."""
OF_FUNCTIONS = "functions, expanded"
"""The heading of models of several nodes, which are what ONNX says of composed operators."""


@dataclass(frozen=True)
class Outcome:
    """`passed`, `refused` with our reason, `wrong`, which may not be, or `out of scope`."""

    name: str
    op: str
    verdict: str
    reason: str = ""


def outcomes() -> list[Outcome]:
    """What becomes of each vector: first with all numbers fed, then with constant weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [_outcome(folder) for folder in sorted(DATA.iterdir())]


def _outcome(folder: Path) -> Outcome:
    model = onnx.load(folder / "model.onnx")
    op = model.graph.node[0].op_type if len(model.graph.node) == 1 else OF_FUNCTIONS
    name = folder.name.removeprefix("test_")
    values = [*model.graph.input, *model.graph.output]
    if not all(value.type.HasField("tensor_type") for value in values):
        return Outcome(name, op, "out of scope", "sequences and optionals")
    data = folder / "test_data_set_0"
    inputs = dict(_arrays(data, "input", [v.name for v in model.graph.input]))
    outputs = dict(_arrays(data, "output", [v.name for v in model.graph.output]))
    if any(str(a.dtype) not in TYPES for a in [*inputs.values(), *outputs.values()]):
        return Outcome(name, op, "out of scope", "other types")
    in_float32(model)
    reasons = []
    for fed in _feedings(inputs):
        try:
            why = _run(model, fed, inputs, [*outputs.values()])
        except MlshipError as error:
            reasons.append(error.what.splitlines()[0])
        else:
            return Outcome(name, op, "wrong" if why else "passed", why)
    return Outcome(name, op, "refused", reasons[0])


def _arrays(folder: Path, noun: str, names: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    for index, name in enumerate(names):
        path = folder / f"{noun}_{index}.pb"
        if path.exists():
            array = numpy_helper.to_array(onnx.load_tensor(path))
            is_float = array.dtype in (np.float16, np.float64)
            yield name, array.astype(np.float32) if is_float else array


def _feedings(inputs: dict[str, np.ndarray]) -> Iterator[list[str]]:
    """All inputs; those of floats; the first: what is not fed is a constant."""
    yield [*inputs]
    yield [name for name, array in inputs.items() if array.dtype.kind == "f"] or [*inputs][:1]
    yield [*inputs][:1]


def _run(
    model: onnx.ModelProto, fed: list[str], inputs: dict[str, np.ndarray], wanted: list[np.ndarray]
) -> str:
    """In which way the results differ; nothing if they do not."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    kept = [value for value in model.graph.input if value.name in fed]
    del graph.input[:]
    graph.input.extend(kept)
    known = {tensor.name for tensor in graph.initializer} | {*fed}
    graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in inputs.items() if name not in known
    )
    shapes = {name: inputs[name].shape for name in fed if inputs[name].size and inputs[name].ndim}
    read = graph_of(changed, Path("model.onnx"), shapes)
    example = [torch.from_numpy(inputs[one.name].copy()) for one in read.inputs]
    found = build(read, example)(*example)
    results = found if isinstance(found, tuple) else (found,)
    for got, want in zip(results, wanted, strict=True):
        if got.shape != want.shape:
            return f"shape {tuple(got.shape)}, not {want.shape}"
        left, right = got.double().numpy(), want.astype(np.float64)
        if not np.allclose(left, right, rtol=RTOL, atol=ATOL, equal_nan=True):
            return f"worst error {np.abs(left - right).max()}"
    return ""


def table(found: Sequence[Outcome]) -> str:
    """The committed page."""
    rows = defaultdict(list)
    for one in found:
        rows[one.op].append(one)
    lines = [
        "# ONNX's operators, read from files",
        "",
        f"ONNX {onnx.__version__}'s own test vectors, read as files are, run in PyTorch (float16",
        "and float64 as float32). Refused is an error that names the operator; wrong is a result",
        "that differs, which a test forbids. Out of scope: types that PyTorch lacks, sequences.",
        "Made by `python -m tests.converters.onnx_file_vectors`.",
        "",
        "| operator | passed | refused | wrong | out of scope |",
        "|---|---|---|---|---|",
    ]
    read = {op: outs for op, outs in rows.items() if any(o.verdict == "passed" for o in outs)}
    for op in sorted(read, key=str.lower):
        lines.append(_row(op, read[op]))
    lines.append(_row("all", found))
    lines += ["", "Read, and without a vector of its own that runs: "]
    lines[-1] += ", ".join(sorted({*OPERATIONS} - {*read}, key=str.lower)) + "."
    lines += ["", "Not read: "]
    lines[-1] += ", ".join(sorted({*rows} - {*OPERATIONS, OF_FUNCTIONS}, key=str.lower)) + "."
    lines += ["", "## Refused of operators that are read", "", "| vector | because |", "|---|---|"]
    for op in sorted(read, key=str.lower):
        lines += [f"| {o.name} | {o.reason} |" for o in read[op] if o.verdict == "refused"]
    return "\n".join(lines) + "\n"


def _row(op: str, found: Sequence[Outcome]) -> str:
    verdicts = [one.verdict for one in found]
    counts = [verdicts.count(v) for v in ("passed", "refused", "wrong", "out of scope")]
    return f"| {op} | {' | '.join(map(str, counts))} |"


if __name__ == "__main__":
    TABLE.write_text(table(outcomes()))
