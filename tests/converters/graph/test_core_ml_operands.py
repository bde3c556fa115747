"""Operands that Core ML does not take are written otherwise: one package, a branch a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.api import Program
from converters.export import export
from converters.formats import open_runner
from converters.graph.captured import capture_graph
from converters.graph.rules import FOR_CORE_ML
from converters.processes.worker import Worker
from model_defs.spec import ModelSpec, TensorSpec

SHAPE = (1, 4, 6, 8)
SLOPES = torch.tensor([0.1, 0.2, 0.3, 0.4])


def example() -> Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(7)) * 4 - 2


def whole(x: Tensor) -> Tensor:
    return (x * 2).long()


CASES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "all_of": lambda x: (x > 0).amin(1).float(),
    "and": lambda x: torch.logical_and(whole(x), x > 0).float(),
    "any_of": lambda x: (x > 1.5).amax((1, 2), keepdim=True).float(),
    "bias": lambda x: F.conv2d(x, torch.ones(4, 4, 1, 1), x[0, :, 0, 0]),
    "batch_norm": lambda x: F.batch_norm(x, SLOPES, SLOPES * 2, x[0, :, 0, 0], x[0, :, 1, 0]),
    "cumsum": lambda x: x.cumsum(-2) * 0.3,
    "dot": lambda x: x[0, 0, 0] @ x[0, 1, 0] + x,
    "einsum": lambda x: torch.einsum("bchw,dc->bdhw", whole(x), whole(x[0, 0, :3, :4])).float(),
    "exp": lambda x: torch.exp(whole(x)) * 0.1,
    "instance_norm": lambda x: F.instance_norm(x.reshape(1, 2, 2, 6, 8)),
    "instance_norm_scaled": lambda x: F.instance_norm(x, weight=x[0, :, 0, 0], bias=SLOPES),
    "layer_norm": lambda x: F.layer_norm(x, (8,), x[0, 0, 0], x[0, 0, 1]),
    "log_softmax": lambda x: F.log_softmax(x * 60, 2) * 0.01,
    "matrix_vector": lambda x: x @ x[0, 1, 0],
    "not": lambda x: torch.logical_not(whole(x)).float(),
    "prelu_of_volumes": lambda x: F.prelu(x[:, :, None], SLOPES),
    "prelu_of_rows": lambda x: F.prelu(x[0, :, :, 0].T, SLOPES),
    "relu": lambda x: torch.relu(whole(x)).float(),
    "shuffle": lambda x: F.pixel_shuffle(x[0], 2),
    "shuffle_integers": lambda x: F.pixel_unshuffle(F.pixel_shuffle(whole(x), 2), 2).float(),
    "softmax": lambda x: torch.softmax(whole(x), 1, dtype=torch.float32),
    "truths": lambda x: whole(x).bool().float() + whole(x).to(torch.bool).float(),
    "vector_matrices": lambda x: x[0, 0, 0] @ x.mT,
}


class All(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(case(x) for case in CASES.values())


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What the package of all cases gives, by case."""
    made, folder = All()(example()), tmp_path_factory.mktemp("operands")
    outputs = tuple(
        TensorSpec(f"y{i}", tuple(y.shape), "features", tolerance=1e-3) for i, y in enumerate(made)
    )
    spec = ModelSpec("operands", All, (TensorSpec("x", SHAPE, "features"),), outputs)
    exported = export(Program(spec, All().eval()), folder, onnx=False)
    with Worker("coreml") as worker:
        runner = open_runner(worker.convert(exported, folder))
    got = runner.run({"x": example().numpy()})
    runner.close()
    return {name: got[f"y{i}"] for i, name in enumerate(CASES)}


@pytest.mark.parametrize("name", CASES)
def test_core_ml_computes_what_pytorch_computes(name: str, results: dict[str, np.ndarray]) -> None:
    want = CASES[name](example()).numpy()
    assert want.std() > 0.05
    np.testing.assert_allclose(results[name], want, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.exp(x),
        lambda x: x @ x.transpose(2, 3),
        lambda x: F.prelu(x, SLOPES),
        lambda x: F.pixel_shuffle(x, 2),
        lambda x: F.layer_norm(x, (8,), SLOPES.repeat(2), SLOPES.repeat(2)),
        lambda x: F.conv2d(x, torch.ones(4, 4, 1, 1), SLOPES),
        lambda x: x.cumsum(2),
        lambda x: F.instance_norm(x, weight=SLOPES),
    ],
)
def test_what_core_ml_takes_stays(function: Callable[[Tensor], Tensor]) -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x)

    before = capture_graph(Net().eval(), (example(),))
    after = before.decomposed(FOR_CORE_ML)
    assert [n.target for n in after.operations] == [n.target for n in before.operations]
