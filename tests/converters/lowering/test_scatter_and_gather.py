"""Scattered and gathered numbers, at indices that are constants and at such as are computed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from converters.lowering.call import Target
from model_defs.errors import UnsupportedOperation
from tests.converters.lowering.batches import Check, failures, lower_small, node_check

SHAPES = ((5,), (4, 6), (2, 3, 5), (1, 3, 4, 5))
NUMBERS = np.random.default_rng(0)


def uniform(*shape: int) -> np.ndarray:
    return NUMBERS.uniform(-2, 2, shape).astype(np.float32)


def permutations(shape: tuple[int, ...], axis: int, count: int) -> np.ndarray:
    """Indices of which none is met twice along an axis; some count from the end."""
    size = shape[axis]
    ranked = np.argsort(NUMBERS.uniform(size=shape), axis).take(range(count), axis)
    return np.where(NUMBERS.uniform(size=ranked.shape) < 0.3, ranked - size, ranked)


def elements() -> Iterator[Check]:
    """ScatterElements and GatherElements, against PyTorch's scatter and gather."""
    for shape in SHAPES:
        for axis in range(-1, len(shape) - 1):
            data, count = uniform(*shape), max(shape[axis] - 1, 1)
            indices = permutations(shape, axis, count)
            indices = indices[: max(indices.shape[0] - 1, 1)]  # fewer rows than the data
            x = torch.tensor(data)
            at = torch.tensor(indices % shape[axis])
            updates = uniform(*indices.shape)
            u = torch.tensor(updates)
            doubled = np.sort(indices % shape[axis], axis) // 2
            for fed in (("x", "updates"), ("x", "indices", "updates"), ("x",)):
                tag = f"{shape}_{axis}_{len(fed)}"
                given = {"x": data, "indices": indices, "updates": updates}
                found = x.scatter(axis, at, u).numpy()
                yield node_check(f"put_{tag}", "ScatterElements", given, found, fed, axis=axis)
                found = x.scatter_add(axis, torch.tensor(doubled), u).numpy()
                given = given | {"indices": doubled}
                how = {"axis": axis, "reduction": "add"}
                yield node_check(f"add_{tag}", "ScatterElements", given, found, fed, **how)
            for reduction, name in {"mul": "prod", "max": "amax", "min": "amin"}.items():
                found = x.scatter_reduce(axis, torch.tensor(doubled), u, name).numpy()
                how = {"axis": axis, "reduction": reduction}
                yield node_check(f"{reduction}_{tag}", "ScatterElements", given, found, **how)
            for fed in (("x",), ("x", "indices")):
                given, found = {"x": data, "indices": indices}, x.gather(axis, at).numpy()
                tag = f"take_{shape}_{axis}_{len(fed)}"
                yield node_check(tag, "GatherElements", given, found, fed, axis=axis)


ADDED = {"none": None, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def scattered(data: np.ndarray, indices: np.ndarray, updates: np.ndarray, how: str) -> np.ndarray:
    """ScatterND as ONNX writes it down, one index after the other."""
    result, combine = data.copy(), ADDED[how]
    for place in np.ndindex(indices.shape[:-1]):
        at = tuple(indices[place])
        result[at] = updates[place] if combine is None else combine(result[at], updates[place])
    return result


def slices() -> Iterator[Check]:
    """ScatterND and GatherND of all depths of index."""
    for shape in SHAPES:
        for depth in range(1, len(shape) + 1):
            places = np.stack(np.unravel_index(range(np.prod(shape[:depth])), shape[:depth]), -1)
            some = NUMBERS.permutation(places)[: max(len(places) // 2, 1)]
            some = np.where(NUMBERS.uniform(size=some.shape) < 0.3, some - shape[:depth], some)
            some = some[None]
            data, updates = uniform(*shape), uniform(*some.shape[:-1], *shape[depth:])
            twice = np.concatenate([some, some[:, ::-1]], 1)
            doubled = np.concatenate([updates, 2 * updates], 1)
            for fed in (("x", "updates"), ("x", "indices", "updates")):
                tag = f"{shape}_{depth}_{len(fed)}"
                given = {"x": data, "indices": some, "updates": updates}
                found = scattered(*given.values(), "none")
                yield node_check(f"put_nd_{tag}", "ScatterND", given, found, fed)
                given = {"x": data, "indices": twice, "updates": doubled}
                found = scattered(*given.values(), "add")
                yield node_check(f"add_nd_{tag}", "ScatterND", given, found, fed, reduction="add")
            for how in ("none", "mul", "max", "min"):  # of equal ones the last
                found = scattered(*given.values(), how)
                fed = ("x", "updates")
                yield node_check(f"{how}_nd_{tag}", "ScatterND", given, found, fed, reduction=how)
            for fed in (("x",), ("x", "indices")):
                given = {"x": data, "indices": some}
                found = data[tuple(np.moveaxis(some, -1, 0))]
                yield node_check(
                    f"take_nd_{shape}_{depth}_{len(fed)}", "GatherND", given, found, fed
                )


def others() -> Iterator[Check]:
    """Batches of GatherND, other types, rows that are joined of slices, negative indices."""
    data = uniform(2, 3, 4, 5)
    indices = np.array([[[1, 2], [0, -1]], [[2, 0], [-1, 3]]])
    found = np.stack([data[b][tuple(indices[b].T)] for b in range(2)])
    for fed in (("x",), ("x", "indices")):
        given = {"x": data, "indices": indices}
        yield node_check(f"batch_{len(fed)}", "GatherND", given, found, fed, batch_dims=1)
    rows, updates = np.arange(2, 5)[:, None], uniform(3, 6)
    given = {"x": uniform(9, 6), "indices": rows, "updates": updates}
    found = scattered(*given.values(), "none")
    yield node_check("rows_in_one_run", "ScatterND", given, found, ("x", "updates"))
    yield node_check("updates_alone_are_fed", "ScatterND", given, found, ("updates",))
    for kind in (np.int32, np.int64, bool):
        numbers = {"x": (uniform(6, 4) * 3).astype(kind), "indices": np.array([[4], [0], [-1]])}
        numbers |= {"updates": (uniform(3, 4) * 3).astype(kind)}
        found = scattered(*numbers.values(), "none")
        for fed in (("x", "updates"), ("x", "indices", "updates")):
            name = f"{np.dtype(kind)}_{len(fed)}"
            yield node_check(name, "ScatterND", numbers, found, fed)
    bools = [uniform(2, 3, 4, 5) > 0 for _ in range(3)]
    chosen = dict(zip(("x", "x1", "x2"), bools, strict=True))
    yield node_check("booleans", "Where", chosen, np.where(*bools), tuple(chosen))
    given = {"x": data, "indices": np.array([[-1, 0], [2, -3]])}
    found = data.take(given["indices"], 1)
    yield node_check("rows_from_the_end", "Gather", given, found, ("x", "indices"), axis=1)


@pytest.mark.parametrize("target", ["tflite", "tfjs"])
def test_numbers_go_where_pytorch_and_onnx_put_them(target: Target, tmp_path: Path) -> None:
    checks = [*elements(), *slices(), *others()]
    assert len(checks) > 200
    assert failures(checks, target, tmp_path) == {}


def test_a_maximum_at_computed_places_is_refused() -> None:
    given = {"x": uniform(4), "indices": np.array([1, 2]), "updates": uniform(2)}
    fed = tuple(given)
    (small,) = (node_check("m", "ScatterElements", given, uniform(4), fed, reduction="max").small,)
    with pytest.raises(UnsupportedOperation, match="reduction 'max' at indices that are computed"):
        lower_small(small, "tflite")
