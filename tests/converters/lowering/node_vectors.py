"""ONNX's own test vectors for operators, lowered to TFLite and TF.js and run.

`python -m tests.converters.lowering.node_vectors` remakes the table that is committed as
`converters/lowering/COVERAGE.md`; a test says that it is current and that nothing is wrong.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import numpy_helper

from converters.lowering.call import Target
from converters.lowering.table import OPERATIONS
from tests.converters.lowering.batches import Ran, Small, run_all

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


Found = dict[str, list[tuple[str, Outcome]]]
TARGETS: tuple[Target, ...] = ("tflite", "tfjs")


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
    """What becomes of one vector on TFLite."""
    (found,) = outcomes_of([vector], "tflite").values()
    return found


def outcomes_of(wanted: Sequence[Vector], target: Target) -> dict[str, Outcome]:
    """By name, what becomes of vectors: first with all numbers fed, then with constant weights."""
    found: dict[str, Outcome] = {}
    again: dict[str, tuple[Vector, list[str]]] = {}
    for vector in wanted:
        fed = _of_types(vector, RUNTIME) or _of_types(vector, INTEGERS)
        if (reason := _out_of_scope(vector)) is not None:
            found[vector.name] = Outcome("out of scope", reason)
        elif not fed:
            found[vector.name] = Outcome("out of scope", "no input to feed")
        else:
            again[vector.name] = vector, fed
    first = _run(list(again.values()), target)
    second = {
        name: (vector, (_of_types(vector, RUNTIME + INTEGERS) or fed)[:1])
        for name, (vector, fed) in again.items()
        if first[name].verdict == "refused" and "while running" in first[name].reason
    }
    return found | first | _run(list(second.values()), target)


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


def _run(cases: Sequence[tuple[Vector, list[str]]], target: Target) -> dict[str, Outcome]:
    smalls = {vector.name: _small(vector, fed) for vector, fed in cases}
    with TemporaryDirectory() as folder:
        ran = run_all(list(smalls.values()), target, Path(folder))
    return {vector.name: _judged(vector, ran[vector.name]) for vector, _ in cases}


def _judged(vector: Vector, ran: Ran) -> Outcome:
    if ran.refused is not None:
        what = ran.refused.what.split("error: ")[-1].split(": ", 1)[-1]
        return Outcome("refused", what.splitlines()[0])
    if ran.failed:
        return Outcome("wrong", ran.failed)
    for index, want in enumerate(vector.outputs.values()):
        got = ran.outputs[f"out{index}"]
        if not np.allclose(got, want.astype(np.float32), rtol=RTOL, atol=ATOL, equal_nan=True):
            return Outcome("wrong", f"worst error {np.abs(got - want).max()}")
    return Outcome("passed")


def _small(vector: Vector, fed: list[str]) -> Small:
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
    return Small(vector.name, model, {names[name]: vector.inputs[name] for name in fed})


def outcomes(target: Target) -> Found:
    """By operator, the outcome of each of its vectors."""
    known = [vector for vector in vectors() if vector.op in OPERATIONS]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        ran = outcomes_of(known, target)
    found: Found = defaultdict(list)
    for vector in vectors():
        found[vector.op].append((vector.name, ran.get(vector.name, Outcome("not lowered"))))
    return found


def table(found: dict[Target, Found]) -> str:
    """The table in Markdown."""
    lines = [
        "# ONNX's operators, lowered",
        "",
        f"ONNX {onnx.__version__}'s own test vectors (of one node; float64 ones in float32),",
        "lowered to TFLite and run in LiteRT, and lowered to TF.js and run on WASM in Node.",
        "Refused is an error that names the operator; wrong is a result that differs, which a",
        "test forbids. Out of scope: other types, dynamic shapes, scalars, empty tensors. Made by",
        "`python -m tests.converters.lowering.node_vectors`.",
        "",
        "| operator | passed | refused | wrong | out of scope | refused because |",
        "|---|---|---|---|---|---|",
    ]
    totals: Counter[str] = Counter()
    tflite, tfjs = found["tflite"], found["tfjs"]
    for op in sorted(OPERATIONS):
        results = [result for _, result in tflite.get(op, [])]
        on_web = [result for _, result in tfjs.get(op, [])]
        counts = _counted(results, on_web)
        totals += counts
        lines.append(_row(op, counts, _reasons(results, on_web)))
    lines.append(_row("all", totals, ""))
    rest = sorted(op for op in tflite if op not in OPERATIONS)
    lines += ["", "Not lowered: " + ", ".join(rest) + "."]
    return "\n".join(lines) + "\n"


def _counted(results: list[Outcome], on_web: list[Outcome]) -> Counter[str]:
    return Counter(result.verdict for result in results) + Counter(
        f"{result.verdict} on TF.js" for result in on_web
    )


def _reasons(results: list[Outcome], on_web: list[Outcome]) -> str:
    """Why vectors are refused; on one format only, which."""
    both = {r.reason: "" for r in results if r.verdict in ("refused", "wrong")}
    web = {r.reason for r in on_web if r.verdict in ("refused", "wrong")}
    both = {reason: "" if reason in web else " (TFLite)" for reason in both}
    both |= {reason: " (TF.js)" for reason in web if reason not in both}
    return "; ".join(sorted(reason + where for reason, where in both.items())).replace("|", "/")


def _row(name: str, counts: Counter[str], reasons: str) -> str:
    """A number where both formats have the same, else TFLite's and TF.js's."""
    numbers = []
    for verdict in ("passed", "refused", "wrong", "out of scope"):
        one, other = counts[verdict], counts[f"{verdict} on TF.js"]
        numbers.append(str(one) if one == other else f"{one}, TF.js {other}")
    return f"| {' | '.join([name, *numbers, reasons])} |"


def main() -> None:
    found: dict[Target, Found] = {target: outcomes(target) for target in TARGETS}
    for target, results in found.items():
        for op, rows in results.items():
            for name, result in rows:
                if result.verdict == "wrong":
                    print(target, op, name, result.reason)
    TABLE.write_text(table(found))


if __name__ == "__main__":
    main()
