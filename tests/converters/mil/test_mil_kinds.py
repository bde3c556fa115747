"""Packages of other kinds: several functions, states, flexible shapes, pictures, blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mil_mutation import constant, edit, operation
from mil_packages import build, convert, op_types
from torch import Tensor, nn

from converters import mil
from converters.coreml.tools import coremltools, quiet
from converters.mil.images import run_images
from model_defs.errors import BadArtifact, BadPicture

RNG = np.random.default_rng(3)


class Trunk(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.trunk = nn.Conv2d(3, 8, 3, padding=1)
        torch.manual_seed(channels)
        self.head = nn.Conv2d(8, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.trunk(x)))


def test_several_functions_share_weights_and_run_apart(tmp_path: Path) -> None:
    ct = coremltools()
    x = torch.rand(1, 3, 6, 6)
    descriptor = ct.utils.MultiFunctionDescriptor()
    for name, channels in (("depth", 1), ("parts", 4)):
        path = tmp_path / f"{name}.mlpackage"
        convert(Trunk(channels), [x], path, [name], "iOS18")
        descriptor.add_function(str(path), src_function_name="main", target_function_name=name)
    descriptor.default_function_name = "parts"
    with quiet():
        ct.utils.save_multifunction(descriptor, str(tmp_path / "both.mlpackage"))
    package = mil.open_package(tmp_path / "both.mlpackage")
    assert set(package.functions) == {"depth", "parts"}
    assert package.main is package["parts"]
    for name, channels in (("depth", 1), ("parts", 4)):
        ours = package[name].run({"in_0": x.numpy()})[name]
        np.testing.assert_allclose(ours, Trunk(channels)(x).detach().numpy(), atol=1e-6)


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(2, 3, dtype=torch.float16))

    def forward(self, x: Tensor) -> Tensor:
        self.total.mul_(0.5).add_(x.half())
        return self.total * 2


@pytest.fixture(scope="module")
def stateful(tmp_path_factory: pytest.TempPathFactory) -> mil.Package:
    ct = coremltools()
    path = tmp_path_factory.mktemp("state") / "counter.mlpackage"
    states = [
        ct.StateType(wrapped_type=ct.TensorType(shape=(2, 3), dtype=np.float16), name="total")
    ]
    convert(Counter(), [torch.rand(2, 3)], path, ["y"], "iOS18", "FLOAT16", states=states)
    return mil.open_package(path)


def test_a_state_lives_from_call_to_call(stateful: mil.Package) -> None:
    assert "read_state" in op_types(stateful)
    assert "write_state" in op_types(stateful)
    theirs = Counter()
    state = stateful.main.interpreter().new_state()
    for _ in range(3):
        x = RNG.random((2, 3), np.float32)
        ours = stateful.main.run({"in_0": x}, state=state)["y"]
        np.testing.assert_allclose(ours, theirs(torch.from_numpy(x)).float().numpy(), atol=2e-3)
    assert state["total"].value.abs().max() > 0.5


def test_without_a_state_each_call_begins_anew(stateful: mil.Package) -> None:
    x = RNG.random((2, 3), np.float32)
    first = stateful.main.run({"in_0": x})["y"]
    np.testing.assert_array_equal(stateful.main.run({"in_0": x})["y"], first)


class Flexible(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.interpolate(torch.relu(self.conv(x)), scale_factor=2, mode="nearest")
        return y.flatten(1).mean(1, keepdim=True) + y.mean((2, 3))


@pytest.mark.parametrize("kind", ["range", "enumerated"])
def test_flexible_shapes(kind: str, tmp_path: Path) -> None:
    ct = coremltools()
    if kind == "range":
        side = ct.RangeDim(4, 32, default=8)
        shape: Any = ct.Shape((1, 3, side, side))
    else:
        shape = ct.EnumeratedShapes([(1, 3, 8, 8), (1, 3, 6, 10), (1, 3, 16, 16)])
    inputs = [ct.TensorType("in_0", shape, dtype=np.float32)]
    path = tmp_path / "flexible.mlpackage"
    convert(Flexible(), [torch.rand(1, 3, 8, 8)], path, ["y"], "iOS17", inputs=inputs)
    package = mil.open_package(path)
    for height, width in ((8, 8), (6, 10), (16, 16), (8, 8)):
        x = RNG.random((1, 3, height, width), np.float32)
        ours = package.main.run({"in_0": x})["y"]
        theirs = Flexible()(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    with pytest.raises(BadArtifact, match="shape"):
        package.main.run({"in_0": np.zeros((1, 4, 8, 8), np.float32)})


class Tint(nn.Module):
    """Different for each channel, so that a wrong colour order shows."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.tensor([1.0, 0.5, 0.25]).reshape(1, 3, 1, 1)


PICTURE = RNG.integers(0, 256, (5, 7, 3), np.uint8)


@pytest.mark.parametrize("layout", ["RGB", "BGR"])
def test_a_picture_in_with_scale_and_bias(layout: str, tmp_path: Path) -> None:
    ct = coremltools()
    path = tmp_path / "tint.mlpackage"
    image = ct.ImageType(
        "in_0",
        (1, 3, 5, 7),
        scale=1 / 127.5,
        bias=[-1, -1.25, -1.5],
        color_layout=ct.colorlayout[layout],
    )
    convert(Tint(), [torch.rand(1, 3, 5, 7)], path, ["y"], "iOS16", inputs=[image])
    ours = run_images(mil.open_package(path), {"in_0": PICTURE})["y"]
    planes = PICTURE.astype(np.float32).transpose(2, 0, 1)
    planes = planes if layout == "RGB" else planes[::-1]
    normal = planes / 127.5 + np.array([-1, -1.25, -1.5], np.float32).reshape(3, 1, 1)
    np.testing.assert_allclose(
        ours[0], normal * np.array([1, 0.5, 0.25]).reshape(3, 1, 1), atol=1e-5
    )


@pytest.mark.parametrize("layout", ["RGB", "BGR"])
def test_a_picture_out(layout: str, tmp_path: Path) -> None:
    ct = coremltools()
    path = tmp_path / "tint.mlpackage"
    convert(
        Tint(),
        [torch.rand(1, 3, 5, 7)],
        path,
        None,
        "iOS16",
        inputs=[ct.ImageType("in_0", (1, 3, 5, 7), color_layout=ct.colorlayout[layout])],
        image_outputs=[ct.ImageType("y", color_layout=ct.colorlayout[layout])],
    )
    ours = run_images(mil.open_package(path), {"in_0": PICTURE})["y"]
    factors = np.array([1, 0.5, 0.25] if layout == "RGB" else [0.25, 0.5, 1])
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, np.rint(PICTURE * factors).astype(np.uint8))


class Gray(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True) * 2.3 - 120.3


@pytest.mark.parametrize("layout", ["GRAYSCALE", "GRAYSCALE_FLOAT16"])
def test_a_gray_picture_out(layout: str, tmp_path: Path) -> None:
    ct = coremltools()
    path = tmp_path / "gray.mlpackage"
    convert(
        Gray(),
        [torch.rand(1, 3, 5, 7)],
        path,
        None,
        "iOS16",
        inputs=[ct.ImageType("in_0", (1, 3, 5, 7), color_layout=ct.colorlayout.RGB)],
        image_outputs=[ct.ImageType("y", color_layout=ct.colorlayout[layout])],
    )
    ours = run_images(mil.open_package(path), {"in_0": PICTURE})["y"]
    theirs = PICTURE.astype(np.float32).mean(2) * 2.3 - 120.3
    assert theirs.min() < 0
    assert theirs.max() > 255
    if layout == "GRAYSCALE":
        np.testing.assert_array_equal(ours, np.rint(theirs.clip(0, 255)).astype(np.uint8))
    else:
        assert ours.dtype == np.float16
        np.testing.assert_allclose(ours, theirs, rtol=1e-3)


def test_a_picture_of_another_size_or_type_is_refused(tmp_path: Path) -> None:
    ct = coremltools()
    path = tmp_path / "gray.mlpackage"
    image = ct.ImageType("in_0", (1, 3, 5, 7), color_layout=ct.colorlayout.RGB)
    convert(Gray(), [torch.rand(1, 3, 5, 7)], path, ["y"], "iOS16", inputs=[image])
    package = mil.open_package(path)
    for wrong in (PICTURE[:4], PICTURE.astype(np.float32), PICTURE[..., 0]):
        with pytest.raises(BadPicture, match=r"takes uint8\[5, 7, 3\]"):
            run_images(package, {"in_0": wrong})


def branching() -> Any:
    """One value of two blocks, and a list that a loop fills."""
    from coremltools.converters.mil import Builder
    from coremltools.converters.mil.mil import types

    ct = coremltools()

    @Builder.program(
        input_specs=[Builder.TensorSpec((3,)), Builder.TensorSpec((1,), dtype=types.int32)],
        opset_version=ct.target.iOS17,
    )
    def program(x: Any, n: Any) -> Any:
        positive = Builder.squeeze(x=Builder.greater(x=n, y=np.int32(0)))
        chosen = Builder.cond(
            pred=positive,
            _true_fn=lambda: Builder.add(x=x, y=np.float32(10)),
            _false_fn=lambda: Builder.mul(x=x, y=np.float32(-1)),
            name="chosen",
        )
        ls = Builder.make_list(init_length=2, dynamic_length=True, elem_shape=(3,), dtype="fp32")
        _, filled = Builder.while_loop(
            _cond=lambda i, ls: Builder.squeeze(x=Builder.less(x=i, y=np.int32(4))),
            _body=lambda i, ls: (
                Builder.add(x=i, y=np.int32(1)),
                Builder.list_write(
                    ls=ls,
                    index=Builder.squeeze(x=i),
                    value=Builder.mul(x=x, y=Builder.cast(x=i, dtype="fp32")),
                ),
            ),
            loop_vars=(Builder.sub(x=n, y=n), ls),
        )
        length = Builder.list_length(ls=filled, name="length")
        gathered = Builder.list_gather(ls=filled, indices=np.array([3, 1]), name="gathered")
        return (
            chosen,
            length,
            gathered,
            Builder.list_read(ls=filled, index=np.int32(2), name="read"),
        )

    return program


@pytest.fixture
def blocks(tmp_path: Path) -> Path:
    build(branching, tmp_path / "blocks.mlpackage")
    return tmp_path / "blocks.mlpackage"


def test_branches_loops_and_lists(blocks: Path) -> None:
    package = mil.open_package(blocks)
    assert {"cond", "while_loop", "list_write", "list_gather"} <= set(all_types(package))
    x = np.array([1, 2, 3], np.float32)
    yes = package.main.run({"x": x, "n": np.array([1], np.int32)})
    no = package.main.run({"x": x, "n": np.array([0], np.int32)})
    np.testing.assert_array_equal(yes["chosen"], x + 10)
    np.testing.assert_array_equal(no["chosen"], -x)
    assert yes["length"] == 4
    np.testing.assert_array_equal(yes["gathered"], [3 * x, x])
    np.testing.assert_array_equal(yes["read"], 2 * x)


def all_types(package: mil.Package) -> list[str]:
    found: list[str] = []

    def look(block: Any) -> None:
        for op in block.operations:
            found.append(op.type)
            for inner in op.blocks:
                look(inner)

    look(package.main.block)
    return found


def test_an_endless_loop_ends(blocks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converters.mil.runtime.MOST_TURNS", 50)

    def change(model: Any) -> None:
        loop = operation(model, "while_loop")
        for candidate in loop.blocks[0].operations:
            if candidate.type == "const":
                candidate.attributes["val"].immediateValue.tensor.ints.values[0] = 10**6

    edit(blocks, change)
    with pytest.raises(BadArtifact, match="not ended after 50 turns"):
        mil.open_package(blocks).main.run({"x": np.ones(3, np.float32), "n": np.ones(1, np.int32)})


def test_a_place_before_the_first_is_not_the_last(blocks: Path) -> None:
    def change(model: Any) -> None:
        loop = operation(model, "while_loop")
        (step,) = (o for o in loop.blocks[1].operations if o.type == "add")
        step.type = "sub"

    edit(blocks, change)
    with pytest.raises(BadArtifact, match="place -1 of a list"):
        mil.open_package(blocks).main.run({"x": np.ones(3, np.float32), "n": np.ones(1, np.int32)})


def test_a_place_that_was_not_written(blocks: Path) -> None:
    def change(model: Any) -> None:
        name = operation(model, "list_read").inputs["index"].arguments[0].name
        constant(model, name).ints.values[0] = 9

    edit(blocks, change)
    with pytest.raises(BadArtifact, match="place 9 of a list of 4"):
        mil.open_package(blocks).main.run({"x": np.ones(3, np.float32), "n": np.ones(1, np.int32)})


@pytest.mark.parametrize("kind", ["cond", "while_loop"])
def test_a_block_less_is_refused(kind: str, blocks: Path) -> None:
    edit(blocks, lambda m: operation(m, kind).blocks.pop())
    with pytest.raises(BadArtifact, match=f"{kind} has 1 blocks, not 2"):
        mil.open_package(blocks).main.run({"x": np.ones(3, np.float32), "n": np.ones(1, np.int32)})
