"""ONNX's own test vectors for operators, lowered to TFLite and run.

`python -m tests.converters.lowering.node_vectors` remakes the table that is committed as
`converters/lowering/COVERAGE.md`; a test says that it is current and that nothing is wrong.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from converters.lowering.graph import graph_of
from converters.lowering.lower import lower
from converters.lowering.rewrites import rewritten
from converters.lowering.table import OPERATIONS
from converters.tflite.convert import to_flatbuffer
from converters.tflite.store import stored
from model_defs.errors import ConversionFailed, UnsupportedOperation
from model_defs.spec import TensorSpec

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
TABLE = Path(__file__).parents[3] / "converters" / "lowering" / "COVERAGE.md"
RUNTIME = ("float32", "bool")
"""Types of inputs that are fed; shapes, axes and indices become constants."""
INTEGERS = ("int32", "int64")
"""Fed where a vector has nothing else."""
RTOL, ATOL = 1e-3, 1e-5
"""ONNX's own relative tolerance: some vectors hold four decimals."""


@dataclass(frozen=True)
class Vector:
    """A model of one operator, inputs and the outputs that ONNX expects."""

    name: str
    op: str
    model: onnx.ModelProto
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


@dataclass(frozen=True)
class Outcome:
    """`passed`, `refused` (with our reason), `wrong` (which may not be) or `out of scope`."""

    verdict: str
    reason: str = ""


def vectors() -> Iterator[Vector]:
    """All of ONNX's operator tests whose models have one node."""
    for folder in sorted((DATA / "node").iterdir()):
        model = _in_float32(onnx.load(folder / "model.onnx"))
        if len(model.graph.node) == 1 and "expanded" not in folder.name:
            data = folder / "test_data_set_0"
            yield Vector(
                folder.name.removeprefix("test_"),
                model.graph.node[0].op_type,
                model,
                _arrays(data, "input", model.graph.input),
                _arrays(data, "output", model.graph.output),
            )


def _arrays(folder: Path, noun: str, values: list[onnx.ValueInfoProto]) -> dict[str, np.ndarray]:
    arrays = {}
    for index, value in enumerate(values):
        if value.type.HasField("tensor_type"):
            proto = onnx.load_tensor(folder / f"{noun}_{index}.pb")
            array = numpy_helper.to_array(proto)
            arrays[value.name] = array.astype(np.float32) if array.dtype == np.float64 else array
    return arrays


def _in_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with float32 where it has float64, which is nothing to the operator."""
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return model


def outcome(vector: Vector) -> Outcome:
    """What becomes of a vector: first with all its numbers fed, then with constant weights."""
    if (reason := _out_of_scope(vector)) is not None:
        return Outcome("out of scope", reason)
    fed = _of_types(vector, RUNTIME) or _of_types(vector, INTEGERS)
    if not fed:
        return Outcome("out of scope", "no input to feed")
    try:
        return _run(vector, fed)
    except UnsupportedOperation as error:
        if "while running" not in error.what:
            return Outcome("refused", error.what.split(": ", 1)[-1].splitlines()[0])
    try:
        return _run(vector, (_of_types(vector, RUNTIME + INTEGERS) or fed)[:1])
    except UnsupportedOperation as error:
        return Outcome("refused", error.what.split(": ", 1)[-1].splitlines()[0])


def _of_types(vector: Vector, kinds: tuple[str, ...]) -> list[str]:
    return [n for n, a in vector.inputs.items() if a.dtype.name in kinds and a.size and a.ndim]


def _out_of_scope(vector: Vector) -> str | None:
    graph = vector.model.graph
    if len(vector.inputs) < len(graph.input) or len(vector.outputs) < len(graph.output):
        return "sequences and optionals"
    kinds = {a.dtype.name for a in [*vector.inputs.values(), *vector.outputs.values()]}
    if kinds - {"float32", "bool", "int64", "int32"}:
        return "other types"
    if any(not a.size or not a.ndim for a in vector.outputs.values()):
        return "scalar or empty results"
    if any(not a.size for a in vector.inputs.values() if a.dtype.name in RUNTIME):
        return "empty inputs"
    if any(not d.HasField("dim_value") for v in graph.input for d in v.type.tensor_type.shape.dim):
        return "dynamic shapes"
    return None


def _run(vector: Vector, fed: list[str]) -> Outcome:
    model, names = _with_constants(vector, fed)
    inputs = [TensorSpec(names[n], vector.inputs[n].shape, "features") for n in fed]
    outputs = [
        TensorSpec(names[n], array.shape, "features", tolerance=1.0)
        for n, array in vector.outputs.items()
    ]
    lowered = lower(rewritten(graph_of(model), "tflite"), inputs, outputs, "tflite")
    try:
        data = stored(to_flatbuffer(lowered), lowered, "float32")
    except (ConversionFailed, UnsupportedOperation) as error:
        return Outcome("refused", error.what.split("error: ")[-1][:60])
    feeds = {p.name: p.to_stored(a) for p, a in zip(lowered.inputs, _fed(vector, fed), strict=True)}
    found = _interpreted(data, feeds)
    for port, want in zip(lowered.outputs, vector.outputs.values(), strict=True):
        got = port.to_logical(found[port.name])
        if not np.allclose(got, want.astype(np.float32), rtol=RTOL, atol=ATOL, equal_nan=True):
            return Outcome("wrong", f"worst error {np.abs(got - want).max()}")
    return Outcome("passed")


def _fed(vector: Vector, names: list[str]) -> list[np.ndarray]:
    return [vector.inputs[name] for name in names]


def _with_constants(vector: Vector, fed: list[str]) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The model with constants for what is not fed, and the names that a spec allows."""
    model = onnx.ModelProto()
    model.CopyFrom(vector.model)
    graph, (node,) = model.graph, model.graph.node
    names = {v.name: f"in{i}" for i, v in enumerate(graph.input)}
    names |= {v.name: f"out{i}" for i, v in enumerate(graph.output)}
    node.input[:] = [names.get(n, n) for n in node.input]
    node.output[:] = [names.get(n, n) for n in node.output]
    inputs = [v for v in graph.input if v.name in fed]
    del graph.input[:]
    graph.input.extend(inputs)
    for value in [*graph.input, *graph.output]:
        value.name = names[value.name]
    graph.initializer.extend(
        numpy_helper.from_array(array, names[name])
        for name, array in vector.inputs.items()
        if name not in fed
    )
    return model, names


def _interpreted(data: bytes, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    results: dict[str, np.ndarray] = interpreter.get_signature_runner()(**feeds)
    return results


def outcomes() -> dict[str, list[tuple[str, Outcome]]]:
    """By operator, the outcome of each of its vectors."""
    found: dict[str, list[tuple[str, Outcome]]] = defaultdict(list)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for vector in vectors():
            known = vector.op in OPERATIONS
            found[vector.op].append(
                (vector.name, outcome(vector) if known else Outcome("not lowered"))
            )
    return found


def table(found: dict[str, list[tuple[str, Outcome]]]) -> str:
    """The table in Markdown."""
    lines = [
        "# ONNX's operators, lowered",
        "",
        f"ONNX {onnx.__version__}'s own test vectors (of one node; float64 ones in float32),",
        "lowered to TFLite and run in LiteRT. Refused is an error that names the operator;",
        "wrong is a result that differs, which a test forbids. Out of scope: other types,",
        "dynamic shapes, scalars, empty tensors. Made by",
        "`python -m tests.converters.lowering.node_vectors`.",
        "",
        "| operator | passed | refused | wrong | out of scope | refused because |",
        "|---|---|---|---|---|---|",
    ]
    totals: Counter[str] = Counter()
    for op in sorted(OPERATIONS):
        results = [result for _, result in found.get(op, [])]
        counts = Counter(result.verdict for result in results)
        totals += counts
        reasons = sorted({r.reason for r in results if r.verdict in ("refused", "wrong")})
        lines.append(_row(op, counts, "; ".join(reasons).replace("|", "/")))
    lines.append(_row("all", totals, ""))
    rest = sorted(op for op in found if op not in OPERATIONS)
    lines += ["", "Not lowered: " + ", ".join(rest) + "."]
    return "\n".join(lines) + "\n"


def _row(name: str, counts: Counter[str], reasons: str) -> str:
    numbers = [str(counts[v]) for v in ("passed", "refused", "wrong", "out of scope")]
    return f"| {' | '.join([name, *numbers, reasons])} |"


def main() -> None:
    results = outcomes()
    for op, rows in results.items():
        for name, result in rows:
            if result.verdict == "wrong":
                print(op, name, result.reason)
    TABLE.write_text(table(results))


if __name__ == "__main__":
    main()
