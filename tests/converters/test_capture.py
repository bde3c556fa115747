"""Capturing refuses what a tracer would get wrong, and repairs what can be repaired."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from converters.capture import capture
from converters.export import export
from converters.program_graph import captured_of
from model_defs.errors import BadModule, BadSpec, BadWeights, UnsupportedOperation
from model_defs.spec import ModelSpec, TensorSpec

IMAGE = TensorSpec("image", (1, 3, 8, 8), "image", low=0, high=1)
OUT = TensorSpec("y", (1, 4, 8, 8), "map", tolerance=0.01)


def spec_of(
    forward: Callable[[Any, Tensor], Any] = lambda self, x: self.conv(x),
    setup: Callable[[Any], None] = lambda self: None,
    output: TensorSpec = OUT,
) -> ModelSpec:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.eval()
            setup(self)

        def forward(self, x: Tensor) -> Any:
            return forward(self, x)

    return ModelSpec("net", Net, (IMAGE,), (output,))


def test_captures_the_same_weights_every_time() -> None:
    first, second = capture(spec_of()), capture(spec_of())
    assert torch.equal(first.module.conv.weight, second.module.conv.weight)
    assert first.notes == ()


def branches(self: Any, x: Tensor) -> Tensor:
    return self.conv(x) if x.sum() > 0 else -self.conv(x)


def test_refuses_a_branch_on_data_and_names_the_line() -> None:
    with pytest.raises(BadModule, match="depends on data") as caught:
        capture(spec_of(branches))
    assert "test_capture.py" in caught.value.where
    assert "x.sum() > 0" in caught.value.where


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: self.conv(x) * x.max().item(),
        lambda self, x: self.conv(x) * float(x.max()),
        lambda self, x: self.conv(x) * torch.tensor(x.tolist()).max(),
        lambda self, x: self.conv(x) * float(x.numpy().max()),
        lambda self, x: self.conv(x) if torch.equal(x, x + 1) else -self.conv(x),
    ],
    ids=["item", "float", "tolist", "numpy", "equal"],
)
def test_refuses_values_read_out_of_tensors(forward: Callable[[Any, Tensor], Tensor]) -> None:
    with pytest.raises(BadModule, match="reads a tensor's value"):
        capture(spec_of(forward))


def test_branching_on_a_shape_is_fine() -> None:
    program = capture(spec_of(lambda self, x: self.conv(x) if x.shape[2] > 4 else x))
    assert program.notes == ()


def test_refuses_randomness() -> None:
    with pytest.raises(BadModule, match="differs between two runs"):
        capture(spec_of(lambda self, x: nn.functional.dropout(self.conv(x))))


def test_switches_a_module_in_train_mode_to_eval_and_says_so() -> None:
    def setup(self: Any) -> None:
        self.drop = nn.Dropout()
        self.train()

    program = capture(spec_of(lambda self, x: self.drop(self.conv(x)), setup))
    assert not program.module.training
    assert "train mode" in program.notes[0]


def test_train_mode_without_consequence_is_not_worth_a_note() -> None:
    assert capture(spec_of(setup=lambda self: self.train())).notes == ()


def test_makes_non_contiguous_buffers_contiguous() -> None:
    def setup(self: Any) -> None:
        grid = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="xy")[0]
        assert not grid.is_contiguous()
        self.register_buffer("grid", grid)

    program = capture(spec_of(lambda self, x: self.conv(x) + self.grid, setup))
    assert program.module.grid.is_contiguous()
    assert program.notes == ("grid was not contiguous: made contiguous",)


def test_folds_parametrizations() -> None:
    def setup(self: Any) -> None:
        parametrizations.spectral_norm(self.conv)

    program = capture(spec_of(setup=setup))
    assert "conv.weight" in program.notes[0]
    assert isinstance(program.module.conv.weight, nn.Parameter)


def with_integers(self: Any) -> None:
    self.conv.weight = nn.Parameter(torch.ones(4, 3, 3, 3, dtype=torch.int32), requires_grad=False)


def with_short_buffer(self: Any) -> None:
    self.register_buffer("scale", torch.ones(1).to(torch.float8_e5m2))


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        (with_integers, "conv.weight is int32"),
        (with_short_buffer, "scale is float8_e5m2"),
    ],
)
def test_refuses_numbers_that_are_not_float32(setup: Callable[[Any], None], message: str) -> None:
    with pytest.raises(BadModule, match=message):
        capture(spec_of(setup=setup))


def test_double_precision_is_cast_and_said() -> None:
    def setup(self: Any) -> None:
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 1 / 3, dtype=torch.float64))

    program = capture(spec_of(lambda self, x: self.conv((x - self.mean).float()), setup))
    assert program.module.mean.dtype == torch.float32
    assert program.notes == (
        "the module's float64 numbers were cast to float32, which keeps 7 of float64's 16 digits",
    )


def test_refuses_weights_that_are_not_finite() -> None:
    def setup(self: Any) -> None:
        self.conv.weight.data[0, 0, 0, 0] = float("nan")

    with pytest.raises(BadWeights, match="NaN or Inf"):
        capture(spec_of(setup=setup))


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda self, x: {}, "returned dict"),
        (lambda self, x: {"y": self.conv(x).tolist}, "returned dict"),
        (lambda self, x: {"x": self.conv(x), "z": x}, r"2 tensors for 1 outputs\s+do: .* x, z"),
        (lambda self, x: (self.conv(x), x), "2 tensors for 1 outputs"),
        (lambda self, x: self.conv(x)[:, :2], r"shape \(1, 2, 8, 8\), not \(1, 4, 8, 8\)"),
        (
            lambda self, x: self.conv(x).int(),
            r"is int32, not float32\s+.*\s+do: say so: dtype='int32'",
        ),
    ],
)
def test_refuses_outputs_that_are_not_the_declared_ones(
    forward: Callable[[Any, Tensor], Any], message: str
) -> None:
    with pytest.raises(BadSpec, match=message):
        capture(spec_of(forward))


def test_an_error_in_forward_names_the_users_line() -> None:
    with pytest.raises(BadModule, match="RuntimeError") as caught:
        capture(spec_of(lambda self, x: self.conv(x).view(5)))
    assert "test_capture.py" in caught.value.where


def test_build_must_return_a_module() -> None:
    with pytest.raises(BadSpec, match="returned int, not a nn.Module"):
        capture(ModelSpec("net", lambda: 3, (IMAGE,), (OUT,)))  # type: ignore[arg-type, return-value]


class TestWeights:
    def state(self) -> dict[str, Tensor]:
        return {"conv.weight": torch.ones(4, 3, 3, 3), "conv.bias": torch.zeros(4)}

    @pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
    def test_loads_a_file_that_fits(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"w{suffix}"
        state = self.state()
        save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
        assert torch.equal(capture(spec_of(), path).module.conv.weight, state["conv.weight"])

    def test_names_the_keys_that_do_not_fit(self, tmp_path: Path) -> None:
        path = tmp_path / "w.safetensors"
        save_file({"conv.weight": torch.ones(4, 3, 5, 5), "head.bias": torch.ones(1)}, path)
        with pytest.raises(BadWeights) as caught:
            capture(spec_of(), path)
        assert "1 missing: conv.bias" in caught.value.what
        assert "1 unexpected: head.bias" in caught.value.what
        assert "(4, 3, 5, 5), not (4, 3, 3, 3)" in caught.value.what
        assert caught.value.where == str(path)

    @pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
    def test_refuses_a_truncated_file(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        save_file(self.state(), path) if "safe" in name else torch.save(self.state(), path)
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(BadWeights, match="cannot be read"):
            capture(spec_of(), path)

    def test_refuses_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(BadWeights, match="no such weights file"):
            capture(spec_of(), tmp_path / "none.pt")


def test_the_digest_knows_graph_weights_and_constants(tmp_path: Path) -> None:
    def digest(forward: Callable[[Any, Tensor], Tensor], shift: float = 0.0) -> str:
        def setup(self: Any) -> None:
            self.conv.bias.data += shift

        return export(capture(spec_of(forward, setup)), tmp_path, onnx=False).digest

    plain = digest(lambda self, x: self.conv(x))
    assert plain == digest(lambda self, x: self.conv(x))
    different = {
        plain,
        digest(lambda self, x: self.conv(x), shift=1.0),
        digest(lambda self, x: self.conv(x).relu()),
        digest(lambda self, x: self.conv(x) + torch.tensor([[1.0], [2.0]])[0]),
        digest(lambda self, x: self.conv(x) + torch.tensor([[1.5], [2.0]])[0]),
    }
    assert len(different) == 5


def test_an_operation_that_cannot_be_exported_is_named_with_its_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = capture(spec_of(lambda self, x: torch.cummax(self.conv(x), 1).values))
    with pytest.raises(UnsupportedOperation, match="cummax") as caught:
        export(program, tmp_path)
    assert "test_capture.py:" in caught.value.where
    assert capfd.readouterr().out == ""


def test_each_onnx_node_has_its_module_and_its_line(tmp_path: Path) -> None:
    def setup(self: Any) -> None:
        self.layers = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1)), nn.Sigmoid())

    program = capture(spec_of(lambda self, x: self.layers(x) * 2, setup))
    exported = export(program, tmp_path)
    import onnx

    nodes = onnx.load(exported.onnx).graph.node
    assert [node.name for node in nodes] == ["/layers/0/0/Conv", "/layers/1/Sigmoid", "/Mul"]
    assert all(re.search(r"test_capture\.py:\d+$", node.doc_string) for node in nodes)


def test_the_export_computes_what_the_module_computes(tmp_path: Path) -> None:
    import onnxruntime

    program = capture(spec_of(lambda self, x: self.conv(x).sigmoid()))
    exported = export(program, tmp_path)
    x = torch.rand(IMAGE.shape)
    want = program.module(x)
    assert torch.equal(torch.jit.load(str(exported.torchscript))(x), want)
    session = onnxruntime.InferenceSession(exported.onnx)
    got = session.run(["y"], {"image": x.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(got), want, atol=1e-6, rtol=0)


def test_tracing_leaves_the_module_alone() -> None:
    program = capture(spec_of())
    before = program.module.conv.weight.clone()
    captured_of(program)
    assert torch.equal(program.module.conv.weight, before)


def test_a_module_that_ends_the_program_is_refused() -> None:
    def leave(self: Any, *given: Tensor) -> Tensor:
        raise SystemExit(0)

    with pytest.raises(BadModule, match="SystemExit") as caught:
        capture(spec_of(setup=leave))
    assert "test_capture.py" in caught.value.where
    with pytest.raises(BadModule, match="SystemExit"):
        capture(spec_of(leave))
