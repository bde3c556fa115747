"""LSTM, GRU and RNN, lowered for both formats and run, give PyTorch's and ONNX Runtime's numbers.

All layers are outputs of one network, so that one conversion serves them all.
"""

from __future__ import annotations

import time
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from converters.api import Export
from converters.tfjs.convert import convert as to_tfjs
from converters.tflite.convert import convert as to_tflite
from converters.tflite.partitions import partitions
from converters.tflite.runner import open_runner as open_tflite
from tests.converters.tf_checks import Arrays, Case, case, specs, tfjs_outputs, tflite_outputs

TOLERANCE = 1e-5


def check(found: Arrays, wanted: Arrays) -> None:
    assert found.keys() == wanted.keys()
    for name, want in wanted.items():
        assert found[name].shape == want.shape, name
        assert want.std() > 0, f"{name} is constant, which shows nothing"
        assert np.abs(found[name] - want).max() <= TOLERANCE, name


LAYERS: dict[str, tuple[nn.Module, bool]] = {
    f"{kind}_{'both' if both else 'one'}_{layers}{'_first' if first else ''}"
    f"{'' if bias else '_bare'}_of_{batch}{'_from' if given else ''}": (
        make(4, 5, layers, bias=bias, batch_first=first, bidirectional=both, **options),
        given,
    )
    for (kind, (make, options)), (both, layers, first, bias, batch, given) in product(
        {
            "lstm": (nn.LSTM, {}),
            "gru": (nn.GRU, {}),
            "rnn": (nn.RNN, {}),
            "relu": (nn.RNN, {"nonlinearity": "relu"}),
        }.items(),
        [
            (False, 1, False, True, 1, False),
            (True, 2, True, True, 1, True),
            (True, 1, False, False, 2, True),
            (False, 2, True, True, 6, False),
            (True, 1, True, True, 6, True),
        ],
    )
}
"""The layer, and whether it is given its first state."""


class Layers(nn.Module):
    """Every layer on the same numbers; the sequences are 3 steps long."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: layer for name, (layer, _) in LAYERS.items()})

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        results: list[torch.Tensor] = []
        for name, (layer, given) in LAYERS.items():
            batch = int(name.split("_of_")[1][0])
            steps = x[:, :batch]
            h = state[: layer.num_layers * (1 + layer.bidirectional), :batch]
            start = ((h, h * 0.5) if isinstance(layer, nn.LSTM) else h) if given else None
            y, last = layer(steps.transpose(0, 1) if layer.batch_first else steps, start)
            results += [y, *(last if isinstance(last, tuple) else (last,))]
        return tuple(results)


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Case:
    torch.manual_seed(0)
    count = sum(3 if isinstance(layer, nn.LSTM) else 2 for layer, _ in LAYERS.values())
    inputs = [torch.randn(3, 6, 4), torch.randn(4, 6, 5)]
    names = [f"y{i}" for i in range(count)]
    return case(tmp_path_factory.mktemp("layers"), Layers(), inputs, names)


def test_tflite_computes_what_pytorch_does(layers: Case, tmp_path: Path) -> None:
    artifact = to_tflite(layers.export, tmp_path)
    assert artifact.notes == ()
    check(tflite_outputs(artifact, layers.inputs), layers.outputs)


def test_tfjs_computes_what_pytorch_does(layers: Case, tmp_path: Path) -> None:
    artifact = to_tfjs(layers.export, tmp_path)
    assert artifact.notes == ()
    check(tfjs_outputs(artifact, layers.inputs), layers.outputs)


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
WAYS = {"forward": 1, "reverse": 1, "bidirectional": 2}
VARIANTS = [
    {"op": op, "direction": direction, **how}
    for op, direction, how in product(
        GATES,
        WAYS,
        [
            {"bias": True, "initial": True},
            {"bias": False, "initial": False, "outputs": 1},
            {"bias": True, "initial": False, "activations": True},
            {"bias": True, "initial": True, "layout": 1, "outputs": (1,)},
            {"bias": True, "initial": True, "linear": 1},
            {"bias": True, "initial": False, "linear": 1},
            {"bias": True, "initial": True, "peepholes": True},
        ],
    )
    if not ("linear" in how and op != "GRU") and not ("peepholes" in how and op != "LSTM")
]


def onnx_case(directory: Path) -> Case:
    """Nodes as PyTorch does not export them. ONNX Runtime, which has no layout 1, sees layout 0."""
    numbers = np.random.default_rng(0)
    x = numbers.normal(size=(3, 2, 4)).astype(np.float32)
    graphs = {}
    for layouts in (False, True):
        state = np.random.default_rng(1)
        nodes, constants, outputs = [], [], []
        for index, how in enumerate(VARIANTS):
            made = _nodes(f"v{index}", how, state, layouts)
            for mine, more in zip((nodes, constants, outputs), made, strict=True):
                mine += more
        graphs[layouts] = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in outputs],
            constants,
        )
    models = {
        key: helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        for key, graph in graphs.items()
    }
    names = [value.name for value in graphs[False].output]
    session = onnxruntime.InferenceSession(models[False].SerializeToString())
    wanted = dict(zip(names, session.run(names, {"x": x}), strict=True))
    onnx.save(models[True], directory / "model.onnx")
    return Case(Export(directory, specs({"x": x}), specs(wanted), "float32"), {"x": x}, wanted)


def _nodes(
    name: str, how: dict, numbers: np.random.Generator, layouts: bool
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto], list[str]]:
    gates, ways, hidden = GATES[how["op"]], WAYS[how["direction"]], 5
    constants, inputs = [], ["x"]

    def constant(noun: str, *shape: int, held: bool = True) -> None:
        array = numbers.normal(size=shape).astype(np.float32) * 0.7
        inputs.append(f"{name}_given_{noun}" if held else "")
        if held:
            constants.append(numpy_helper.from_array(array, inputs[-1]))

    layout = how.get("layout", 0) if layouts else 0
    constant("w", ways, gates * hidden, 4)
    constant("r", ways, gates * hidden, hidden)
    constant("b", ways, 2 * gates * hidden, held=how["bias"])
    inputs.append("")
    for state in ("h", "c")[: 2 if how["op"] == "LSTM" else 1]:
        constant(state, ways, 2, hidden, held=how["initial"])
        if layout:
            array = numpy_helper.to_array(constants[-1]).transpose(1, 0, 2)
            constants[-1] = numpy_helper.from_array(np.ascontiguousarray(array), inputs[-1])
    if "peepholes" in how:
        constant("p", ways, 3 * hidden)
    names = [f"{name}_y", f"{name}_h", f"{name}_c"][: 3 if how["op"] == "LSTM" else 2]
    kept = how.get("outputs", tuple(range(len(names))))
    kept = tuple(range(kept)) if isinstance(kept, int) else kept
    outputs = [n if i in kept else "" for i, n in enumerate(names)][: max(kept) + 1]
    attributes = {"hidden_size": hidden, "direction": how["direction"]}
    if "linear" in how:
        attributes["linear_before_reset"] = how["linear"]
    if "activations" in how:
        one = {"LSTM": ["Tanh", "Relu", "sigmoid"], "GRU": ["Tanh", "relu"], "RNN": ["Sigmoid"]}
        two = {"LSTM": ["Sigmoid", "Tanh", "Relu"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Relu"]}
        attributes["activations"] = [*one[how["op"]], *(two[how["op"]] if ways == 2 else [])]
    if layout:
        attributes["layout"] = 1
    before, after = [], []
    if layout:
        inputs[0] = f"{name}_x"
        before = [helper.make_node("Transpose", ["x"], [inputs[0]], perm=[1, 0, 2])]
        inner = [n and f"{n}_1" for n in outputs]
        for place, (a, b) in enumerate(zip(inner, outputs, strict=True)):
            if b:
                perm = [1, 2, 0, 3] if place == 0 else [1, 0, 2]
                after.append(helper.make_node("Transpose", [a], [b], perm=perm))
        node = helper.make_node(how["op"], inputs, inner, name, **attributes)
    else:
        node = helper.make_node(how["op"], inputs, outputs, name, **attributes)
    return [*before, node, *after], constants, [n for n in outputs if n]


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return onnx_case(tmp_path_factory.mktemp("variants"))


def test_tflite_computes_what_onnx_runtime_does(variants: Case, tmp_path: Path) -> None:
    artifact = to_tflite(variants.export, tmp_path)
    assert artifact.notes == ()
    check(tflite_outputs(artifact, variants.inputs), variants.outputs)


def test_tfjs_computes_what_onnx_runtime_does(variants: Case, tmp_path: Path) -> None:
    artifact = to_tfjs(variants.export, tmp_path)
    assert artifact.notes == ()
    check(tfjs_outputs(artifact, variants.inputs), variants.outputs)


class Long(nn.Module):
    """100 steps both ways, of which the last states are not used."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(64, 96, bidirectional=True, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lstm(x)[0]


STEP = 1500
"""The bytes of a step that are not weights, at most: its operations."""


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Case:
    torch.manual_seed(0)
    return case(tmp_path_factory.mktemp("long"), Long(), [torch.randn(1, 100, 64)])


def weights(precision: str) -> int:
    each = sum(parameter.numel() for parameter in Long().parameters())
    return each * (2 if precision == "float16" else 4)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_hundred_steps_are_one_partition_whose_weights_are_stored_once(
    precision: str, long: Case, tmp_path: Path
) -> None:
    export = Export(long.export.directory, long.export.inputs, long.export.outputs, precision)
    begin = time.process_time()
    artifact = to_tflite(export, tmp_path)
    assert time.process_time() - begin < 20
    assert partitions(artifact.path) == partitions(artifact.path).__class__(1, ())
    assert artifact.path.stat().st_size < weights(precision) + 200 * STEP
    runner = open_tflite(artifact)
    first, second = runner.run(long.inputs), runner.run(long.inputs)
    runner.close()
    assert np.array_equal(first["y"], second["y"]), "a state is left over from the first call"
    assert np.abs(first["y"] - long.outputs["y"]).max() < (1e-5 if precision == "float32" else 1e-2)


def test_a_hundred_steps_on_the_web_store_their_weights_once(long: Case, tmp_path: Path) -> None:
    begin = time.process_time()
    artifact = to_tfjs(long.export, tmp_path)
    assert time.process_time() - begin < 20
    stored = sum(path.stat().st_size for path in artifact.path.glob("*.bin"))
    # The two biases of each direction are one, and what is left are places in arrays.
    assert stored < weights("float32") + 100 * 16
    assert (artifact.path / "model.json").stat().st_size < 200 * 2 * STEP
    check(tfjs_outputs(artifact, long.inputs), long.outputs)
