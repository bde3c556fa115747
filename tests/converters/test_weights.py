"""Weights as people have them: in containers, below prefixes, in half precision, or no weights."""

from __future__ import annotations

from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from converters.weights import load_weights, read_weights
from model_defs.errors import BadWeights


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4)))


def below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


STATE = net(1).state_dict()
OTHER = net(2).state_dict()

FILES: dict[str, tuple[Any, list[str]]] = {
    "plain": (STATE, []),
    "lightning": (
        {
            "epoch": 3,
            "state_dict": {**below("model.", STATE), "loss.weight": torch.ones(2)},
            "pytorch-lightning_version": "2.5",
            "optimizer_states": [{"state": {}}],
        },
        [
            "weights: 'state_dict' of the file was taken",
            "weights: not below model., and not taken: loss.weight",
            "weights: what is below model. was taken",
        ],
    ),
    "data parallel": (
        {"model_state_dict": below("module.", STATE)},
        [
            "weights: 'model_state_dict' of the file was taken",
            "weights: what is below module. was taken",
        ],
    ),
    "compiled": (
        below("_orig_mod.", STATE),
        ["weights: _orig_mod. was taken out of the names (of torch.compile)"],
    ),
    "compiled inside": (
        {"model": below("module.model._orig_mod.", STATE)},
        [
            "weights: 'model' of the file was taken",
            "weights: _orig_mod. was taken out of the names (of torch.compile)",
            "weights: what is below module.model. was taken",
        ],
    ),
    "averaged": (
        {"params": OTHER, "params_ema": STATE},
        ["weights: 'params_ema' of the file was taken (params not)"],
    ),
    "two containers": (
        {"model": {"state_dict": STATE, "epoch": 3}},
        ["weights: 'model.state_dict' of the file was taken"],
    ),
    "another net beside": (
        {"ema": {"decay": torch.ones(1)}, "model": STATE},
        ["weights: 'model' of the file was taken (ema not)"],
    ),
    "half": (
        {k: v.half() if v.is_floating_point() else v for k, v in STATE.items()},
        ["weights: 6 tensors of float16 were cast to float32"],
    ),
    "double": (
        {k: v.double() if v.is_floating_point() else v for k, v in STATE.items()},
        [
            "weights: 6 tensors of float64 were cast to float32, "
            "which keeps 7 of float64's 16 digits"
        ],
    ),
    "brain": (
        {"params": {k: v.bfloat16() if v.ndim == 4 else v for k, v in STATE.items()}},
        [
            "weights: 'params' of the file was taken",
            "weights: 1 tensors of bfloat16 were cast to float32",
        ],
    ),
    "old": ({k: v for k, v in STATE.items() if "num_batches" not in k}, []),
}


@pytest.mark.parametrize("name", FILES)
def test_is_unwrapped_and_said(name: str, tmp_path: Path) -> None:
    content, notes = FILES[name]
    path = tmp_path / "w.ckpt"
    torch.save(content, path)
    module = net()
    assert load_weights(module, path) == notes
    for key, tensor in module.state_dict().items():
        kind = {"half": torch.float16, "brain": torch.bfloat16}.get(name)
        rounded = STATE[key].to(kind).float() if kind and key == "conv.weight" else STATE[key]
        torch.testing.assert_close(tensor, rounded, rtol=0, atol=1e-3 if kind else 0)


def test_names_of_the_module_s_own_are_not_prefixes(tmp_path: Path) -> None:
    module = nn.Sequential(OrderedDict(model=net()))
    torch.save(below("model.", STATE), tmp_path / "w.pt")
    assert load_weights(module, tmp_path / "w.pt") == []
    assert torch.equal(module.model.conv.weight, STATE["conv.weight"])


def test_what_fits_nowhere_is_refused_as_it_stands(tmp_path: Path) -> None:
    torch.save({"model": below("model.", {"conv.weight": torch.ones(1)})}, tmp_path / "w.pt")
    with pytest.raises(BadWeights, match=r"5 missing: conv.bias, norm.bias"):
        load_weights(net(), tmp_path / "w.pt")


class Thing:
    """What only a pickle holds."""


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is empty: it has 0 bytes"),
    "text": (
        lambda path: path.write_text("<!DOCTYPE html>\n<p>not found"),
        "is a text, which begins with '<!DOCTYPE html>'",
    ),
    "lfs": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1"),
        "is a text, which begins with 'version https://git-lfs",
    ),
    "noise": (lambda path: path.write_bytes(bytes(range(256)) * 8), "cannot be read"),
    "cut": (
        lambda path: (torch.save(STATE, path), path.write_bytes(path.read_bytes()[:900])),
        "cannot be read",
    ),
    "sparse": (
        lambda path: torch.save({"conv.weight": torch.eye(3).to_sparse()}, path),
        "conv.weight is sparse",
    ),
    "meta": (
        lambda path: torch.save({"conv.weight": torch.empty(3, device="meta")}, path),
        "conv.weight is on the device meta",
    ),
    "complex": (
        lambda path: torch.save({"conv.weight": torch.ones(3) * 1j}, path),
        r"conv.weight is complex \(complex64\)",
    ),
    "integer keys": (lambda path: torch.save({101: torch.ones(1)}, path), r"by a int \(101\)"),
    "a tensor": (lambda path: torch.save(torch.ones(3), path), "it is a Tensor"),
    "a list": (lambda path: torch.save([torch.ones(3)], path), "it is a list"),
    "an empty dict": (lambda path: torch.save({}, path), "it is an empty dict"),
    "a number": (lambda path: torch.save({"step": 3}, path), "its 'step' is a int"),
    "pickled": (
        lambda path: torch.save({"state_dict": STATE, "args": Namespace(lr=1)}, path),
        r"holds pickled objects beside tensors: argparse.Namespace\n.*\n.*--trust-pickle",
    ),
    "a module": (lambda path: torch.save(net(), path), "--trust-pickle"),
    "our own": (lambda path: torch.save({"a": Thing()}, path), r"test_weights\.Thing"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_weights_is_refused_in_words(name: str, tmp_path: Path) -> None:
    write, words = BAD[name]
    path = tmp_path / "w.pt"
    write(path)
    with pytest.raises(BadWeights, match=words) as caught:
        load_weights(net(), path)
    assert caught.value.where == str(path)
    assert caught.value.exit_code == 2


def test_a_file_of_safetensors_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.ones(3)}, path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(BadWeights, match="cannot be read"):
        read_weights(path)


def test_a_pickle_is_read_where_it_is_trusted(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"model": net(1), "args": Namespace(lr=1)}, path)
    module = net()
    notes = load_weights(module, path, trust_pickle=True)
    assert notes == ["weights: 'model' of the file was taken"]
    assert torch.equal(module.conv.weight, STATE["conv.weight"])


def test_a_pickle_that_is_not_trusted_is_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "w.pt", tmp_path / "ran"
    torch.save({"state_dict": STATE, "hook": Running(str(trace))}, path)
    with pytest.raises(BadWeights):
        load_weights(net(), path)
    assert not trace.exists()


class Running:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


class Calls:
    """Pickled as a call of `eval`, which nobody is to run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("1 / 0",)


def test_what_would_be_called_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "net.ckpt"
    torch.save({"state_dict": nn.Linear(2, 2).state_dict(), "callbacks": Calls()}, path)
    with pytest.raises(BadWeights, match="pickled objects beside tensors") as caught:
        read_weights(path)
    assert "--trust-pickle" in caught.value.do
