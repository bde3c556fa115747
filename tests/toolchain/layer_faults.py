"""A fault in one layer of the model `two`, put into its finished file, in every format.

    FAULTS["the relu is dropped"].put("tfjs", path, program)

`path` is the artifact, `program` what it was converted from, by whose numbers a weight is found.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.api import Program
from tests.converters.mil.mil_mutation import edit, operation, own_constant

Change = Callable[[np.ndarray], np.ndarray]
LAYOUTS = ((0, 1, 2, 3), (0, 2, 3, 1), (2, 3, 1, 0))
"""How Core ML, TFLite and TF.js store the filters of a convolution."""


@dataclass(frozen=True)
class Fault:
    """`layer` is the module that has to be blamed, or the operation where no module makes it."""

    layer: str
    coreml: Callable[[Path, Program], None]
    tflite: Callable[[Path, Program], None]
    tfjs: Callable[[Path, Program], None]

    def put(self, kind: str, path: Path, program: Program) -> None:
        getattr(self, kind)(path, program)


def stored(name: str, change: Change) -> Callable[[Path, Program], None]:
    """Change a parameter, found by its float16 or float32 numbers in the files of an artifact."""

    def put(path: Path, program: Program) -> None:
        values = program.module.get_parameter(name).detach().numpy()
        layouts = LAYOUTS if values.ndim == 4 else ((0,),)
        files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
        forms = {
            _bytes(v.transpose(axes), kind): _bytes(change(v).transpose(axes), kind)
            for v in (values, values * 4)  # `left` and `right` may hold the factor 4 after them
            for axes in layouts
            for kind in (np.float16, np.float32)  # float32: a build that failed is tried in it
        }
        done = 0
        for file in files:
            data = file.read_bytes()
            for old, new in forms.items():
                if data.count(old) == 1:
                    data, done = data.replace(old, new), done + 1
            file.write_bytes(data)
        assert done == 1, f"{name} is stored {done} times"

    return put


def _bytes(values: np.ndarray, kind: type[np.floating[Any]]) -> bytes:
    return values.astype(kind).tobytes()


def weight(layer: str, change: Change, parameter: str = "weight") -> Fault:
    put = stored(f"{layer}.{parameter}", change)
    return Fault(layer, put, put, put)


def in_tflite(change: Callable[[Any, Any], None]) -> Callable[[Path, Program], None]:
    """Change a file's model and its only graph, as flatbuffer objects."""

    def put(path: Path, program: Program) -> None:
        from ai_edge_litert import schema_py_generated as schema

        from converters.tflite.store import packed

        model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
        change(model, model.subgraphs[0])
        path.write_bytes(packed(model))

    return put


def in_tfjs(name: str, change: Callable[[Any], object]) -> Callable[[Path, Program], None]:
    """Change the node of that name in a model.json."""

    def put(path: Path, program: Program) -> None:
        file = path / "model.json"
        model = json.loads(file.read_text())
        (node,) = [n for n in model["modelTopology"]["node"] if n["name"] == name]
        change(node)
        file.write_text(json.dumps(model))

    return put


def in_coreml(change: Callable[[Any], object]) -> Callable[[Path, Program], None]:
    return lambda path, program: edit(path, change)  # type: ignore[arg-type]


def argument(model: Any, kind: str, index: int, name: str) -> Any:
    """The numbers of an operation's constant argument, which others have no part in any more."""
    return own_constant(model, operation(model, kind, index).inputs[name].arguments[0])


def operators(model: Any, graph: Any, kind: str) -> list[Any]:
    """A graph's operators of a kind, in their order."""
    from ai_edge_litert import schema_py_generated as schema

    code = getattr(schema.BuiltinOperator, kind)
    return [o for o in graph.operators if model.operatorCodes[o.opcodeIndex].builtinCode == code]


def no_relu(model: Any, graph: Any) -> None:
    operators(model, graph, "CONV_2D")[1].builtinOptions.fusedActivationFunction = 0


def corners(model: Any, graph: Any) -> None:
    options = operators(model, graph, "RESIZE_BILINEAR")[0].builtinOptions
    options.alignCorners, options.halfPixelCenters = True, False


def pad_before(model: Any, graph: Any) -> None:
    (pad,) = operators(model, graph, "PAD")
    buffer = model.buffers[graph.tensors[pad.inputs[1]].buffer]
    buffer.data = np.array([0, 0, 2, 0, 2, 0, 0, 0], np.int32).view(np.uint8)


def dilated(model: Any, graph: Any) -> None:
    options = operators(model, graph, "CONV_2D")[1].builtinOptions
    options.dilationHFactor = options.dilationWFactor = 2


def tanh(model: Any, graph: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    code = schema.BuiltinOperator.TANH
    model.operatorCodes.append(
        schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1)
    )
    operators(model, graph, "LOGISTIC")[0].opcodeIndex = len(model.operatorCodes) - 1


def mil_type(kind: str, index: int, new: str) -> Callable[[Path, Program], None]:
    return in_coreml(lambda model: setattr(operation(model, kind, index), "type", new))


def mil_numbers(kind: str, index: int, **arguments: list[int]) -> Callable[[Path, Program], None]:
    def change(model: Any) -> None:
        for name, numbers in arguments.items():
            argument(model, kind, index, name).ints.values[:] = numbers

    return in_coreml(change)


def mil_corners(model: Any) -> None:
    argument(model, "upsample_bilinear", 0, "align_corners").bools.values[:] = [True]


def attributes(**values: Any) -> Callable[[Any], object]:
    return lambda node: node["attr"].update(values)


def numbers(*values: int) -> dict[str, Any]:
    return {"list": {"i": [str(value) for value in values]}}


FAULTS: dict[str, Fault] = {
    "filters of down in reverse": weight("down", lambda w: w[::-1]),
    "a weight of middle is perturbed": weight("middle", lambda w: w + 0.5 * (w == w.max())),
    "left is negated": weight("left", lambda w: -w),
    "right has half its weights": weight("right", lambda w: w / 2),
    "a weight of middle is NaN": weight("middle", lambda w: np.where(w == w.max(), np.nan, w)),
    "the bias of middle is in reverse": weight("middle", lambda b: b[::-1], "bias"),
    "the relu after middle is dropped": Fault(
        "relu",
        mil_type("relu", 1, "identity"),
        in_tflite(no_relu),
        in_tfjs(
            "Net/Relu_1/Relu",
            lambda node: node["attr"]["fused_ops"]["list"]["s"].remove("UmVsdQ=="),
        ),
    ),
    "up has its corners aligned": Fault(
        "up",
        in_coreml(mil_corners),
        in_tflite(corners),
        in_tfjs(
            "Net/up/Resize/ResizeBilinear",
            attributes(align_corners={"b": True}, half_pixel_centers={"b": False}),
        ),
    ),
    "down is padded before, not around": Fault(
        "down",
        mil_numbers("conv", 0, pad=[2, 0, 2, 0]),
        in_tflite(pad_before),
        in_tfjs("Net/Relu/Relu", attributes(explicit_paddings=numbers(0, 0, 2, 0, 2, 0, 0, 0))),
    ),
    "middle is dilated": Fault(
        "middle",
        mil_numbers("conv", 1, pad=[2, 2, 2, 2], dilations=[2, 2]),
        in_tflite(dilated),
        in_tfjs("Net/Relu_1/Relu", attributes(dilations=numbers(1, 2, 2, 1))),
    ),
    "the first sigmoid is a tanh": Fault(
        "sigmoid",
        mil_type("sigmoid", 0, "tanh"),
        in_tflite(tanh),
        in_tfjs("Net/Sigmoid/Sigmoid", lambda node: node.update(op="Tanh")),
    ),
}
