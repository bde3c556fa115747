"""Models out of files: what is read, what is refused, and what is never run."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from converters.capture import capture
from converters.files.read import kind_of, read
from converters.files.request import parsed
from model_defs.errors import BadArtifact, BadModule, BadSpec, MlshipError
from model_defs.lookup import expand, said_of

IMAGE = torch.rand(1, 3, 16, 16)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)
        nn.init.uniform_(self.norm.running_var, 0.1, 0.5)

    def forward(self, photo: Tensor) -> dict[str, Tensor]:
        x = self.norm(self.conv(photo)).relu()
        return {"map": x.mean(1, keepdim=True), "tokens": self.head(x.flatten(2).mT).softmax(-1)}


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


def saved(net: nn.Module, path: Path, *arguments: Any, **options: Any) -> Path:
    given = arguments or (IMAGE,)
    torch.export.save(torch.export.export(net, given, **options), path)
    return path


def same(name: str, net: nn.Module) -> Any:
    """The specification of a file, whose outputs are those of the net."""
    spec = read(name)
    for got, want in zip(capture(spec).module(IMAGE), net(IMAGE).values(), strict=True):
        torch.testing.assert_close(got, want, atol=1e-6, rtol=0)
    return spec


def test_a_program_of_torch_export(net: nn.Module, tmp_path: Path) -> None:
    spec = same(str(saved(net, tmp_path / "My_Net.pt2")), net)
    assert spec.name == "my-net"
    assert [(one.name, one.shape) for one in spec.inputs] == [("photo", (1, 3, 16, 16))]
    assert [one.name for one in spec.outputs] == ["map", "tokens"]


class Centred(nn.Module):
    """As NumPy makes constants: of float64."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 1 / 3, dtype=torch.float64))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": (x - self.mean).float() * 2}


@pytest.mark.parametrize("kind", ["pt2", "torchscript"])
def test_a_file_of_float64_is_cast_and_it_is_said(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    if kind == "pt2":
        torch.export.save(torch.export.export(Centred(), (IMAGE,)), path)
        name = str(path)
    else:
        path = tmp_path / "net.pt"
        torch.jit.trace(Centred(), (IMAGE,), strict=False).save(str(path))
        name = f"{path}:1,3,{IMAGE.shape[2]},{IMAGE.shape[3]}"
    assert any("float64 numbers were cast to float32" in n for n in same(name, Centred()).notes)


def test_a_program_that_takes_keywords(net: nn.Module, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(net, (), {"photo": IMAGE}), tmp_path / "k.pt2")
    same(str(tmp_path / "k.pt2"), net)


def test_a_program_whose_batch_is_open_is_of_the_size_that_is_said(
    net: nn.Module, tmp_path: Path
) -> None:
    batch = {"photo": {0: torch.export.Dim.AUTO}}
    path = saved(net, tmp_path / "d.pt2", torch.rand(2, 3, 16, 16), dynamic_shapes=batch)
    spec = same(f"{path}:1,3,16,16", net)
    assert spec.inputs[0].shape == (1, 3, 16, 16)


def changed(path: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """A copy of an archive with its parts changed."""
    copy = path.with_name("changed.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return copy


def test_a_program_of_a_gpu_is_loaded_onto_the_cpu(net: nn.Module, tmp_path: Path) -> None:
    def move(name: str, content: bytes) -> bytes:
        if not name.endswith(".json"):
            return content
        return content.replace(b'"type": "cpu"', b'"type": "cuda"')

    same(str(changed(saved(net, tmp_path / "n.pt2"), move)), net)


HARM = {
    "an operator of anywhere": (b"torch.ops.aten.relu.default", b"torch.os.system"),
    "a library": (b"torch.ops.aten.relu.default", b"torch.ops.load_library"),
    "a name of Python": (b'"photo"', b'"photo=print(1)"'),
}


@pytest.mark.parametrize("name", HARM)
def test_what_the_loader_would_run_is_refused(name: str, net: nn.Module, tmp_path: Path) -> None:
    old, new = HARM[name]
    path = changed(saved(net, tmp_path / "n.pt2"), lambda _, content: content.replace(old, new))
    with pytest.raises(BadArtifact, match="the program holds"):
        read(str(path))


def test_an_expression_that_is_no_size_is_refused(net: nn.Module, tmp_path: Path) -> None:
    batch = {"photo": {0: torch.export.Dim.AUTO}}
    path = saved(net, tmp_path / "d.pt2", torch.rand(2, 3, 16, 16), dynamic_shapes=batch)

    def evil(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        return content.replace(b'"expr_str": "', b'"expr_str": "exec(1) + ')

    with pytest.raises(BadArtifact, match="an expression that is no size"):
        read(str(changed(path, evil)))


class Running:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


def test_a_pickled_part_is_not_unpickled(net: nn.Module, tmp_path: Path) -> None:
    import io

    pickled, trace = io.BytesIO(), tmp_path / "ran"
    torch.save(Running(trace), pickled)

    def put(name: str, content: bytes) -> bytes:
        return pickled.getvalue() if "sample_inputs" in name else content

    path = changed(saved(net, tmp_path / "n.pt2"), put)
    with pytest.raises(BadArtifact, match=r"pickled Python objects(.|\n)*--trust-pickle"):
        read(str(path))
    assert not trace.exists()


def test_torchscript_is_exported_in_another_process(
    net: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.pt"
    torch.jit.save(torch.jit.trace(net, IMAGE, strict=False), path)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("TorchScript is loaded in our own process")

    monkeypatch.setattr(torch.jit, "load", never)
    with pytest.raises(BadSpec, match="--example 1,3,224,224"):
        read(str(path))
    spec = same(f"{path}:1,3,16,16", net)
    assert spec.inputs[0].name == "photo"
    assert next(name for name, _ in spec.build().named_parameters()) == "program.net.conv.weight"


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if bool(x.sum() > 0):
            return x + 1
        return x * 2


def test_torchscript_that_depends_on_data_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(Branches()), tmp_path / "b.ts")
    with pytest.raises(BadModule, match="depends on data"):
        read(f"{tmp_path}/b.ts:1,3,16,16")


def test_a_pickled_module_is_read_where_it_is_trusted(net: nn.Module, tmp_path: Path) -> None:
    torch.save(net, tmp_path / "net.pth")
    with pytest.raises(BadArtifact, match=r"--trust-pickle"):
        read(f"{tmp_path}/net.pth:1,3,16,16")
    same(f"{tmp_path}/net.pth:1,3,16,16:trust-pickle", net)


def test_weights_alone_are_no_model(net: nn.Module, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "w.pt")
    with pytest.raises(BadArtifact, match=r"weights alone(.|\n)*--weights"):
        read(f"{tmp_path}/w.pt")


BAD: dict[str, tuple[bytes, str]] = {
    "e.pt2": (b"", "the file is empty"),
    "t.pt": (b"not a model at all, but some text", "of no kind that is known"),
    "z.pt2": (b"PK\x05\x06" + bytes(18), "a zip archive"),
    "c.pt2": (b"PK\x03\x04" + bytes(100), "of no kind"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_model_is_refused_in_words(name: str, tmp_path: Path) -> None:
    content, words = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MlshipError, match=words) as caught:
        read(str(tmp_path / name))
    assert caught.value.exit_code == 2


def test_a_name_says_sizes_and_trust() -> None:
    request = parsed("a/net.pt:photo=1,3,4,5:1,2:trust-pickle")
    assert [(one.name, one.shape) for one in request.examples] == [
        ("photo", (1, 3, 4, 5)),
        ("", (1, 2)),
    ]
    assert request.trust_pickle
    with pytest.raises(BadSpec, match="'big' says no shapes"):
        parsed("net.pt2:big")
    assert said_of("net.pt2", ("1,3,4,4",), True) == "net.pt2:1,3,4,4:trust-pickle"
    assert said_of("portrait", ("1,3,4,4",), True) == "portrait"
    assert expand("net.pt2:1,3,4,4") == (f"{Path.cwd()}/net.pt2:1,3,4,4",)


def segformer(folder: Path, **rules: Any) -> nn.Module:
    """A small SegFormer with random weights, saved as transformers saves it."""
    from converters.files.transformers import offline

    with offline():
        transformers = pytest.importorskip("transformers")
        config = transformers.SegformerConfig(
            depths=[1, 1, 1, 1],
            hidden_sizes=[8, 16, 24, 32],
            decoder_hidden_size=16,
            num_labels=3,
            num_attention_heads=[1, 2, 3, 4],
        )
        net: nn.Module = transformers.SegformerForSemanticSegmentation(config).eval()
        net.save_pretrained(folder)  # type: ignore[operator]
    if rules:
        (folder / "preprocessor_config.json").write_text(json.dumps(rules))
    return net


RULES = {
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "rescale_factor": 1 / 255,
    "resample": 3,
    "size": {"height": 32, "width": 64},
}


def test_a_folder_of_transformers(tmp_path: Path) -> None:
    net = segformer(tmp_path, **RULES)
    assert kind_of(tmp_path) == "transformers"
    spec = read(str(tmp_path))
    (photo,) = spec.inputs
    assert (photo.name, photo.shape, photo.kind) == ("pixel_values", (1, 3, 32, 64), "image")
    assert photo.preprocess is not None
    assert photo.preprocess.mean == pytest.approx((123.675, 116.28, 103.53))
    assert photo.preprocess.std == pytest.approx((58.395, 57.12, 57.375))
    assert photo.preprocess.filter == "bicubic"
    assert (photo.low, photo.high) == pytest.approx((-2.117904, 2.64))
    assert [one.name for one in spec.outputs] == ["logits"]
    x = torch.rand(photo.shape)
    torch.testing.assert_close(capture(spec).module(x)[0], net(x).logits)


def test_a_folder_without_sizes_wants_an_example(tmp_path: Path) -> None:
    segformer(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "image_size": None}))
    with pytest.raises(BadSpec, match="--example 1,3,224,224"):
        read(str(tmp_path))
    assert read(f"{tmp_path}:1,3,32,32").inputs[0].shape == (1, 3, 32, 32)


def test_code_of_a_folder_s_own_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("open('ran', 'w')")
    own = {"architectures": ["Own"], "auto_map": {"AutoModel": "net.Own"}}
    (tmp_path / "config.json").write_text(json.dumps(own))
    with pytest.raises(BadArtifact, match=r"auto_map(.|\n)*--trust-pickle"):
        read(str(tmp_path))
