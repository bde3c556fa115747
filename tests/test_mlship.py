"""`import mlship`: what it offers, how light it is, and that it does what the commands do."""

from __future__ import annotations

import ast
import hashlib
import importlib
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

import mlship
from converters.describe import ULPS, first_tolerance
from model_defs.errors import ERRORS
from toolchain.cli.main import main
from toolchain.recipes import mixed_precision

HEAVY = ("torch", "tensorflow", "coremltools", "onnx", "numpy", "pydantic", "rich", "PIL", "click")
LISTED = """
from torch import nn


class PaintNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.out = nn.Conv2d(8, 1, 1)

    def forward(self, image):
        return self.out(self.up(self.norm(self.down(image)).relu())).sigmoid()
"""


class Pair(NamedTuple):
    shade: Tensor
    scores: Tensor


class PairNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, Photo: Tensor, _gain: Tensor) -> Pair:  # noqa: N803 - as users write it
        shade = self.conv(Photo) * _gain
        return Pair(shade, shade.mean((2, 3)))


def paint_net() -> nn.Module:
    """The module of LISTED, as a training leaves it."""
    names: dict[str, Any] = {}
    exec(LISTED, names)
    torch.manual_seed(7)
    net: nn.Module = names["PaintNet"]()
    nn.init.uniform_(net.norm.running_var, 0.5, 2.0)  # type: ignore[union-attr, arg-type]
    return net.train()


def artifact_digests(out: Path) -> dict[str, str]:
    """The digest of every file of every artifact below a folder."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and len(path.relative_to(out).parts) > 1 and _is_artifact(path)
    }


def _is_artifact(path: Path) -> bool:
    names = [*path.parts]
    return any(name.endswith((".mlpackage", ".tflite", ".tfjs")) for name in names)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, list[mlship.Built]]:
    out = tmp_path_factory.mktemp("converted")
    net = paint_net()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSHIP_CACHE", str(out / "cache"))
        built = mlship.convert(net, (torch.rand(1, 3, 32, 48),), targets="all", out=out / "dist")
    return net, built


def bundle_of(converted: tuple[nn.Module, list[mlship.Built]], target: str) -> mlship.Bundle:
    return next(one for one in converted[1] if one.target == target).shipped()


# What it offers ------------------------------------------------------------------------------


def test_importing_it_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import mlship; "
        "took = time.perf_counter() - start; "
        f"print(took, *[m for m in {HEAVY!r} if m in sys.modules])"
    )
    said = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(5)
    ]
    words = [one.stdout.split() for one in said]
    assert all(len(one) == 1 for one in words), words
    assert min(float(one[0]) for one in words) < 0.1


def test_the_file_is_the_program() -> None:
    asked = [sys.executable, mlship.__file__, "build", "no-such-model", "--target", "ios"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no-such-model" in done.stderr


def test_all_names_are_there_and_no_others() -> None:
    assert len(set(mlship.__all__)) == len(mlship.__all__)
    for name in mlship.__all__:
        assert getattr(mlship, name).__name__ == name
    lazy = {name for names in mlship.HOMES.values() for name in names}
    functions = {
        name
        for name, value in vars(mlship).items()
        if callable(value) and getattr(value, "__module__", "") == "mlship" and name[0] != "_"
    }
    assert set(mlship.__all__) == lazy | (functions - {"main"})
    assert dir(mlship) == sorted(mlship.__all__)


def test_a_type_checker_sees_the_same_types() -> None:
    """A name that is imported lazily is also imported for type checkers, from the same place."""
    tree = ast.parse(Path(mlship.__file__).read_text(encoding="utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {
        (node.module or "", alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    assert seen == {(home, name) for home, names in mlship.HOMES.items() for name in names}


def test_all_errors_are_there() -> None:
    assert set(ERRORS) <= set(mlship.__all__)


def test_a_name_that_it_does_not_have() -> None:
    with pytest.raises(AttributeError, match="module 'mlship' has no attribute 'convrt'"):
        mlship.convrt  # noqa: B018


# From a module to bundles --------------------------------------------------------------------


def test_a_module_becomes_three_bundles(converted: tuple[nn.Module, list[mlship.Built]]) -> None:
    _, built = converted
    assert [(one.model, one.target, one.ok) for one in built] == [
        ("paint-net", "ios", True),
        ("paint-net", "android", True),
        ("paint-net", "web", True),
    ]
    bundle = built[0].shipped()
    assert [(spec.name, spec.shape) for spec in bundle.inputs] == [("image", (1, 3, 32, 48))]
    assert [(spec.name, spec.shape) for spec in bundle.outputs] == [("output", (1, 1, 32, 48))]


def test_a_module_stays_as_it_was(converted: tuple[nn.Module, list[mlship.Built]]) -> None:
    net, before = converted[0], paint_net().state_dict()
    assert all(part.training for part in net.modules())
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_file_with_its_specification_gives_the_same_bytes(
    converted: tuple[nn.Module, list[mlship.Built]], tmp_path: Path
) -> None:
    net, built = converted
    spec = mlship.describe(net, torch.rand(1, 3, 32, 48))
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    tolerance = built[0].shipped().outputs[0].tolerance
    lines = [
        "from mlship import ModelSpec, TensorSpec, Preprocess, Postprocess",
        f"inputs = {spec.inputs!r}",
        f"output = TensorSpec('output', (1, 1, 32, 48), 'map', tolerance={tolerance!r})",
        "spec = ModelSpec('paint-net', PaintNet, inputs, (output,))",
    ]
    (tmp_path / "my_net.py").write_text(LISTED + "\n".join(lines))
    asked = ("build", f"{tmp_path}/my_net.py:spec", "--weights", f"{tmp_path}/weights.pt")
    out = tmp_path / "dist"
    result = CliRunner().invoke(main, [*asked, "--target", "all", "--out", str(out)])
    assert result.exit_code == 0, result.output
    theirs = artifact_digests(out)
    assert len(theirs) >= 5
    assert theirs == artifact_digests(built[0].shipped().directory.parent)


def test_nothing_is_printed_and_progress_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[tuple[str, str]] = []
    net = nn.Sequential(nn.Conv2d(3, 2, 1))
    (built,) = mlship.convert(
        net,
        torch.rand(1, 3, 8, 8),
        targets="ios",
        out=tmp_path,
        name="one",
        say=lambda what, stage: said.append((what, stage)),
    )
    assert built.ok
    assert ("one", "capturing") in said
    assert ("one-ios", "proving") in said
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_what_is_not_equal_is_returned_with_its_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixed_precision, "may_mix", lambda *_: False)
    example = torch.rand(1, 3, 32, 48)
    (built,) = mlship.convert(paint_net(), example, targets=["ios"], tolerance=1e-12, out=tmp_path)
    assert not built.ok
    assert built.bundle is None
    assert built.error is None
    assert "output" in built.problems[0]
    with pytest.raises(mlship.ParityFailed):
        mlship.size(built)


def test_what_concerns_all_targets_is_raised(tmp_path: Path) -> None:
    with pytest.raises(mlship.UnknownName, match="unknown target 'iso'"):
        mlship.build("depth", targets="iso", out=tmp_path)
    with pytest.raises(mlship.UnknownName, match="did you mean 'depth'"):
        mlship.build("deptj", targets="ios", out=tmp_path)
    with pytest.raises(mlship.BadWeights):
        mlship.build("depth", targets="ios", weights="none.pt", out=tmp_path)


def test_a_specification_says_its_inputs_itself() -> None:
    with pytest.raises(mlship.BadSpec, match="for a module that is in memory"):
        mlship.convert("depth", torch.rand(1, 3, 8, 8), targets="ios")


def test_a_module_needs_an_example() -> None:
    with pytest.raises(mlship.BadSpec, match="what the module takes is not known"):
        mlship.convert(nn.Identity(), targets="ios")


def test_a_class_is_no_module() -> None:
    with pytest.raises(mlship.BadSpec, match="a type is no model"):
        mlship.convert(PairNet, torch.rand(1, 3, 8, 8), targets="ios")  # type: ignore[arg-type]


# What is found by running a module once ------------------------------------------------------


def test_names_and_shapes_are_found() -> None:
    spec = mlship.describe(PairNet(), (torch.rand(1, 3, 8, 8), torch.ones(1, 1, 1, 1)))
    assert spec.name == "pair-net"
    assert [(s.name, s.shape, s.kind) for s in spec.inputs] == [
        ("photo", (1, 3, 8, 8), "image"),
        ("gain", (1, 1, 1, 1), "features"),
    ]
    assert [(s.name, s.shape, s.kind) for s in spec.outputs] == [
        ("shade", (1, 1, 8, 8), "map"),
        ("scores", (1, 1), "features"),
    ]


def test_what_was_found_is_said() -> None:
    notes = mlship.describe(nn.Conv2d(3, 1, 1), torch.rand(1, 3, 8, 8)).notes
    assert notes[0].endswith("input input (1, 3, 8, 8) is a picture whose pixels become 0 to 1")
    assert "a first guess" in notes[1]
    given = mlship.describe(nn.Conv2d(3, 1, 1), torch.rand(1, 3, 8, 8), tolerance=0.5).notes
    assert given[1].endswith("it may be off by 0.5, as given")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("UNet", "u-net"), ("MobileNetV3", "mobile-net-v3"), ("_My_Net", "my-net"), ("Ü", "model")],
)
def test_a_class_names_its_model(kind: str, name: str) -> None:
    net = type(kind, (nn.Conv2d,), {})(3, 1, 1)
    assert mlship.describe(net, torch.rand(1, 3, 8, 8)).name == name


@pytest.mark.parametrize(
    ("least", "most", "bounds"),
    [(0, 1, (0, 1)), (-0.5, 1, (-1, 1)), (0, 200, (0, 255)), (-2.2, 2.6, (-3, 3)), (0, 0, (0, 1))],
)
def test_bounds_hold_the_example(least: float, most: float, bounds: tuple[float, float]) -> None:
    example = torch.linspace(least, most, 192).reshape(1, 3, 8, 8)
    (spec,) = mlship.describe(nn.Conv2d(3, 1, 1), example).inputs
    assert (spec.low, spec.high) == bounds
    rule = spec.preprocess
    assert rule is not None
    found = [(pixel - rule.mean[0]) / rule.std[0] for pixel in (0, 255)]
    assert found == pytest.approx(bounds)


def test_of_a_batch_the_first_is_taken() -> None:
    spec = mlship.describe(nn.Conv2d(3, 1, 1), torch.rand(8, 3, 8, 8))
    assert spec.inputs[0].shape == (1, 3, 8, 8)
    assert spec.outputs[0].shape == (1, 1, 8, 8)


def test_the_first_tolerance_is_a_hundredth_of_the_range() -> None:
    assert first_tolerance(torch.tensor([-1.0, 1.0])) == 0.02
    assert first_tolerance(torch.tensor([0.0, 0.1234])) == 0.0013


DIGITS = ", which keeps 7 of float64's 16 digits"


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precision_is_cast_and_said(kind: torch.dtype) -> None:
    net = nn.Sequential(nn.Conv2d(3, 1, 1), nn.BatchNorm2d(1)).to(kind)
    spec = mlship.describe(net, torch.rand(1, 3, 8, 8))
    name = str(kind).removeprefix("torch.")
    lost = DIGITS if kind is torch.float64 else ""
    assert spec.notes[0] == f"the module's {name} numbers were cast to float32{lost}"
    assert {p.dtype for p in spec.build().parameters()} == {torch.float32}
    assert {p.dtype for p in net.parameters()} == {kind}


def test_a_forward_that_wants_the_precision_which_was_cast_is_refused_with_the_cause() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 1, 1).double()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x.double()).float()

    with pytest.raises(mlship.BadModule, match=r"float64 numbers were cast.*RuntimeError"):
        mlship.describe(Wide(), torch.rand(1, 3, 8, 8))


def test_the_first_tolerance_is_never_less_than_float16_needs() -> None:
    assert first_tolerance(torch.tensor([1000.0, 1000.5])) >= ULPS * 1000.5 / 2048
    assert first_tolerance(torch.zeros(3)) > 0


def test_a_tolerance_by_name() -> None:
    example = (torch.rand(1, 3, 8, 8), torch.ones(1, 1, 1, 1))
    spec = mlship.describe(PairNet(), example, tolerance={"scores": 3.0})
    assert spec.outputs[1].tolerance == 3
    assert spec.outputs[0].tolerance != 3
    with pytest.raises(mlship.UnknownName, match="did you mean 'scores'"):
        mlship.describe(PairNet(), example, tolerance={"score": 3.0})


def test_an_output_named_as_an_input_is_renamed() -> None:
    class Net(nn.Module):
        def forward(self, output: Tensor) -> Tensor:
            return output * 2

    spec = mlship.describe(Net(), torch.rand(1, 3, 8, 8))
    assert [spec.inputs[0].name, spec.outputs[0].name] == ["output", "output_out"]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
def test_weights_that_a_hook_computes_are_copied() -> None:
    net = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 2, 1)))
    net(torch.rand(1, 3, 8, 8))
    built = mlship.describe(net, torch.rand(1, 3, 8, 8)).build()
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(built(image), net(image))


def test_each_build_is_a_module_of_its_own() -> None:
    net = nn.Conv2d(3, 1, 1)
    spec = mlship.describe(net, torch.rand(1, 3, 8, 8))
    first, second = spec.build(), spec.build()
    assert first is not second
    nn.init.zeros_(net.weight)
    assert not torch.equal(first.weight, net.weight)  # type: ignore[arg-type]
    assert torch.equal(first.weight, second.weight)  # type: ignore[arg-type]


class Fault(nn.Module):
    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result

    def forward(self, image: Tensor) -> Any:
        return self.result(image)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda x: {"out": "x"}, "forward returned dict"),
        (lambda x: x.to(torch.uint8), "output 'output' is torch.uint8"),
        (lambda x: x.sum(), "output 'output' of shape .* holds no numbers"),
        (lambda x: x / 0, "output 'output' is not finite"),
        (lambda x: x @ torch.rand(5, 5), "the module does not run on the example"),
    ],
)
def test_a_module_that_cannot_be_described(result: Any, message: str) -> None:
    with pytest.raises(mlship.BadModule, match=message):
        mlship.describe(Fault(result), torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize(
    "example",
    [
        torch.ones(1, 3, 8, 8, dtype=torch.uint8),
        torch.ones(1, 3, 8, 8, dtype=torch.complex64),
        [np.ones((1, 3))],
        (),
        OrderedDict(x=1),
        {"input": 1},
        {"input": object()},
    ],
)
def test_an_example_that_is_no_float_tensor(example: Any) -> None:
    with pytest.raises(mlship.BadSpec, match="not tensors|does not take|not such tensors"):
        mlship.describe(nn.Identity(), example)


class Locked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def forward(self, image: Tensor) -> Tensor:
        return image * 2


@pytest.mark.parametrize(
    ("example", "do"),
    [
        (torch.rand(1, 3, 0, 8), "at least 1 along each axis"),
        (torch.rand(0, 3, 8, 8), "at least 1 along each axis"),
        (5, "pass a tensor, or a tuple"),
        ("ab", "pass a tensor, or a tuple"),
        (np.ones((1, 3, 8, 8)), r"torch\.from_numpy"),
        ([np.ones((1, 3, 8, 8))], r"torch\.from_numpy"),
        ({"image": np.ones((1, 3, 8, 8))}, r"torch\.from_numpy"),
        (torch.ones(1, 9, dtype=torch.int8), r"tensor\.long\(\)"),
        (torch.full((1, 9), 7), "least and the largest"),
        (torch.rand(1, 3, 8, 8, device="meta"), "pass a tensor, or a tuple"),
        (torch.full((1, 3, 8, 8), 300.0), "whose numbers differ"),
        (torch.full((1, 3, 8, 8), float("nan")), "pass finite ones"),
    ],
)
def test_what_to_do_about_an_example(example: Any, do: str) -> None:
    with pytest.raises(mlship.BadSpec, match=f"do: .*{do}"):
        mlship.convert(nn.Identity(), example, targets="ios")


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (lambda: torch.jit.script(nn.Conv2d(3, 1, 1)), "pass the nn.Module that it was made of"),
        (lambda: nn.Conv2d(3, 1, 1, device="meta"), "weight is on the device meta"),
        (
            lambda: nn.Conv2d(3, 1, 1).to(torch.float8_e5m2),
            r"weight is float8_e5m2, not float32\s+do: .*\.float\(\)",
        ),
        (lambda: nn.Sequential(Locked()), r"_thread\.lock.*\s+where: its attribute 0\.lock\s+do: "),
        (lambda: Fault(lambda x: x[:, :0]), r"output 'output' .* holds no numbers"),
    ],
)
def test_a_module_that_cannot_be_taken(net: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(mlship.BadModule, match=message):
        mlship.describe(net(), torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize("count", [1, 3])
def test_too_few_or_too_many_inputs_are_refused_at_the_user_s_line(count: int) -> None:
    example = (torch.rand(1, 3, 8, 8),) * count
    where = r"where: .*test_mlship\.py:\d+: def forward\(self, Photo.*\s+do: .*forward\(Photo"
    with pytest.raises(mlship.BadSpec, match=where):
        mlship.describe(PairNet(), example)


def test_where_a_module_fails_is_never_a_line_of_ours() -> None:
    with pytest.raises(mlship.BadModule, match="does not run on the example") as layer:
        mlship.describe(nn.Conv2d(3, 1, 1), torch.rand(1, 4, 8, 8))
    assert layer.value.where == ""
    with pytest.raises(mlship.BadModule) as own:
        mlship.describe(Fault(lambda x: x @ torch.rand(5, 5)), torch.rand(1, 3, 8, 8))
    assert Path(__file__).name in own.value.where


@pytest.mark.parametrize("name", ["", "a" * 101, 5])
def test_a_name_that_is_none(name: Any) -> None:
    with pytest.raises(mlship.BadSpec, match="name"):
        mlship.describe(nn.Conv2d(3, 1, 1), torch.rand(1, 3, 8, 8), name=name)


@pytest.mark.parametrize("tolerance", ["1%", {"output": "1%"}, True])
def test_a_tolerance_that_is_no_number(tolerance: Any) -> None:
    with pytest.raises(mlship.BadSpec, match=r"is no number\s+do: "):
        mlship.describe(nn.Conv2d(3, 1, 1), torch.rand(1, 3, 8, 8), tolerance=tolerance)


# What is done with bundles -------------------------------------------------------------------


@pytest.mark.parametrize("target", ["ios", "android", "web"])
def test_a_loaded_bundle_computes_what_the_module_does(
    converted: tuple[nn.Module, list[mlship.Built]], target: str
) -> None:
    net, image = converted[0], torch.rand(1, 3, 32, 48)
    with mlship.load(bundle_of(converted, target)) as model:
        found = model.run({"image": image})
    with torch.no_grad():
        wanted = mlship.describe(net, image).build()(image)
    assert found.keys() == {"output"}
    tolerance = bundle_of(converted, target).outputs[0].tolerance or 0
    assert np.abs(found["output"] - wanted.numpy()).max() < tolerance
    assert found["output"].dtype == np.float32


def test_arrays_that_do_not_fit_are_refused(
    converted: tuple[nn.Module, list[mlship.Built]],
) -> None:
    with mlship.load(bundle_of(converted, "ios").directory) as model:
        with pytest.raises(mlship.UnknownName, match="did you mean 'image'"):
            model.run({"imag": np.zeros((1, 3, 32, 48))})
        with pytest.raises(
            mlship.BadPicture, match=r"has shape \(3, 32, 48\), not \(1, 3, 32, 48\)"
        ):
            model.run({"image": np.zeros((3, 32, 48))})
        with pytest.raises(mlship.BadPicture, match="input 'image' is missing"):
            model.run({})
        with pytest.raises(mlship.BadPicture, match="which input"):
            model.run(np.zeros((1, 3, 32, 48)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        ("7", "no array of numbers"),
        (1j, "no array of numbers"),
        ({}, "no array of numbers"),
        (None, "holds NaN"),
        (np.nan, "holds NaN"),
        (-np.inf, "holds NaN, or numbers beyond float32"),
        (1e300, "holds NaN, or numbers beyond float32"),
    ],
)
def test_what_is_no_number_is_not_run(
    converted: tuple[nn.Module, list[mlship.Built]], fill: Any, message: str
) -> None:
    array = np.full((1, 3, 32, 48), fill)
    with mlship.load(bundle_of(converted, "ios")) as model:
        with pytest.raises(mlship.BadPicture, match=message):
            model.run({"image": array})
        with pytest.raises(mlship.BadPicture, match="no array of numbers"):
            model.run({"image": [[1.0], [1.0, 2.0]]})
        with pytest.raises(mlship.BadPicture, match="no array of numbers: .*grad"):
            model.run({"image": torch.rand(1, 3, 32, 48, requires_grad=True)})


def test_a_closed_model_says_that_it_is(converted: tuple[nn.Module, list[mlship.Built]]) -> None:
    model = mlship.load(bundle_of(converted, "ios"))
    model.close()
    model.close()
    with pytest.raises(mlship.BackendUnavailable, match="the model paint-net is closed"):
        model.run({"image": np.zeros((1, 3, 32, 48))})


COMMANDS = (mlship.size, mlship.audit, mlship.bench, mlship.parity, mlship.blame)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("wrong", [5, None, [5], PairNet(), nn.Sequential(nn.ReLU()), b"depth"])
def test_what_is_no_subject_is_refused(command: Callable[..., Any], wrong: Any) -> None:
    with pytest.raises(mlship.BadSpec, match=r"is neither a bundle nor a model\s+do: .*ModelSpec"):
        command(wrong)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("nothing", [[], (), iter(())])
def test_no_subject_is_no_success(command: Callable[..., Any], nothing: Any) -> None:
    with pytest.raises(mlship.BadSpec, match="no bundle or model was named"):
        command(nothing)


@pytest.mark.parametrize("command", [mlship.size, mlship.bench, mlship.parity, mlship.blame])
def test_no_target_is_no_success(command: Callable[..., Any]) -> None:
    with pytest.raises(mlship.BadSpec, match="no target .*\n.*'ios', 'android', 'web', 'all'"):
        command("depth", targets=[])


def test_a_build_of_nothing_is_refused() -> None:
    with pytest.raises(mlship.BadSpec, match="no target was named"):
        mlship.build("depth", targets=())
    with pytest.raises(mlship.BadSpec, match="a int is no target"):
        mlship.build("depth", targets=[5])  # type: ignore[list-item]
    with pytest.raises(mlship.BadSpec, match="no model was named"):
        mlship.build([], targets="ios")
    with pytest.raises(mlship.BadSpec, match="a int is no model"):
        mlship.build(5, targets="ios")  # type: ignore[arg-type]


def test_what_is_no_bundle_is_not_loaded() -> None:
    with pytest.raises(mlship.BadSpec, match="a ModelSpec is no bundle"):
        mlship.load(mlship.describe(nn.ReLU(), torch.rand(1, 3, 8, 8)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("command", "runs"),
    [
        (mlship.size, "toolchain.bench.size.measure_all"),
        (mlship.audit, "toolchain.debug.audit.run"),
        (mlship.bench, "toolchain.bench.run.run"),
        (mlship.parity, "toolchain.build.judge.run"),
        (mlship.blame, "toolchain.debug.blame_run.run"),
    ],
)
def test_all_that_may_be_a_subject_is_looked_at(
    converted: tuple[nn.Module, list[mlship.Built]],
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[..., Any],
    runs: str,
) -> None:
    asked: list[Any] = []
    empty = ([], []) if command in (mlship.audit, mlship.blame) else []
    monkeypatch.setattr(runs, lambda names, *_, **__: asked.append(names) or empty)
    spec = mlship.describe(nn.ReLU(), torch.rand(1, 3, 8, 8))
    pair = mlship.Product("pair", ("depth", "inpaint"))
    bundle = bundle_of(converted, "ios")
    with mlship.load(bundle) as model:
        command([spec, pair, model, bundle, bundle.directory, "depth"])
        command(spec)
        command(model)
    folder = str(bundle.directory)
    assert asked == [
        (spec, "depth", "inpaint", folder, folder, folder, "depth"),
        (spec,),
        (folder,),
    ]


def test_a_specification_is_weighed_and_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLSHIP_CACHE", str(tmp_path))
    spec = mlship.describe(nn.Conv2d(3, 1, 1), torch.rand(1, 3, 8, 8), name="tiny-conv")
    ((weighed, row),) = mlship.size(spec, targets="ios")
    assert weighed.name == "tiny-conv"
    assert row.disk > 0
    (outcome,) = mlship.parity(spec, targets=["ios"], require=["mil"]).outcomes
    assert outcome.subject.name == "tiny-conv-ios"


def test_a_picture_is_the_command_s(
    converted: tuple[nn.Module, list[mlship.Built]], tmp_path: Path
) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photo)
    bundle = bundle_of(converted, "ios")
    with mlship.load(bundle) as model:
        made = model.picture(photo)
    assert made.size == (70, 40)
    result = CliRunner().invoke(main, ["run", str(bundle.directory), str(photo), "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert np.array_equal(np.asarray(made), np.asarray(Image.open(out)))


def test_what_the_commands_find_is_returned(
    converted: tuple[nn.Module, list[mlship.Built]],
    write_tiny: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = bundle_of(converted, "ios")
    spec = mlship.describe(converted[0], torch.rand(1, 3, 32, 48), name="paint-net")
    ran = mlship.parity(bundle, model=spec, require=["mil"])
    assert ran.exit_code == 0
    assert [one.subject.reference.name for one in ran.outcomes] == ["PyTorch"]
    (audited,) = mlship.audit([bundle])
    assert audited.exit_code == 0
    ((weighed, row),) = mlship.size(bundle.directory)
    assert weighed.name == "paint-net"
    assert row.disk > 1000
    timed = mlship.bench(bundle, runtimes=["mil-1"])
    assert [entry.runtime.name for entry in timed.rows] == ["mil-1"]
    (blamed,) = mlship.blame(write_tiny(), targets="ios", backends=["mil"])
    assert blamed.exit_code == 0
    assert capsys.readouterr().out == ""


def test_every_import_in_its_functions_finds_what_it_names() -> None:
    tree = ast.parse(Path(mlship.__file__).read_text(encoding="utf-8"))
    named = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    assert len(named) > 30
    for node in named:
        module = importlib.import_module(str(node.module))
        for alias in node.names:
            if not hasattr(module, alias.name):  # a module of the package, else an ImportError
                importlib.import_module(f"{node.module}.{alias.name}")


class Writes(nn.Module):
    """Writes into what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.conv(image.sub_(0.5))


def test_a_forward_that_writes_into_its_input_is_fed_copies(tmp_path: Path) -> None:
    image = torch.rand(1, 3, 32, 32)
    before = image.clone()
    net = Writes().eval()
    (built,) = mlship.convert(net, image, targets="android", recipe="fp32", out=tmp_path)
    with mlship.load(built.shipped()) as model:
        (found,) = model.run({"image": before.numpy()}).values()
    assert torch.equal(image, before)
    want = net.conv(before - 0.5).detach().numpy()
    assert abs(found - want).max() < 1e-4
