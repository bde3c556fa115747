"""Operations as coremltools emits them for PyTorch, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mil_packages import Battery, Case
from torch import Tensor, nn


def noise(*shape: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def positive(*shape: int, seed: int = 1) -> Tensor:
    return noise(*shape, seed=seed).abs() + 0.1


def module(
    layer: nn.Module, *inputs: Tensor, ops: tuple[str, ...], tolerance: float = 1e-5
) -> Case:
    """A layer whose statistics and weights are far from their initial values."""
    generator = torch.Generator().manual_seed(7)
    layer = layer.eval()
    with torch.no_grad():
        for name, tensor in [*layer.named_parameters(), *layer.named_buffers()]:
            if tensor.is_floating_point():
                values = torch.randn(tensor.shape, generator=generator)
                tensor.copy_(values.abs() + 0.2 if "var" in name else values)
    return Case(layer, inputs, ops, tolerance, (layer,))


X = noise(1, 4, 9, 7)
Y = noise(1, 4, 9, 7, seed=3)

UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "atan": torch.atan,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "erf": torch.erf,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "floor": torch.floor,
    "round": torch.round,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": F.silu,
    "sin": torch.sin,
    "sinh": torch.sinh,
    "square": torch.square,
    "softplus": F.softplus,
    "tan": lambda x: torch.tan(x / 4),
    "tanh": torch.tanh,
    "relu": torch.relu,
    "relu6": F.relu6,
}

ELEMENTWISE: dict[str, Case] = {
    **{name: Case(f, (X,), (name,)) for name, f in UNARY.items() if name != "square"},
    "square": Case(torch.square, (X,)),
    "acos": Case(lambda x: torch.acos(x / 10), (X,), ("acos",)),
    "asin": Case(lambda x: torch.asin(x / 10), (X,), ("asin",)),
    "atanh": Case(lambda x: torch.atanh(x / 10), (X,), ("atanh",)),
    "add": Case(torch.add, (X, Y), ("add",)),
    "add-broadcast": Case(torch.add, (X, noise(4, 1, 1)), ("add",)),
    "sub": Case(torch.sub, (X, Y), ("sub",)),
    "mul": Case(torch.mul, (X, Y), ("mul",)),
    "real-div": Case(torch.div, (X, positive(1, 4, 9, 7)), ("real_div",)),
    "floor-div": Case(
        lambda x, y: torch.floor_divide(x, y), (X, positive(1, 4, 9, 7)), ("floor_div",)
    ),
    "mod": Case(torch.remainder, (X, positive(1, 4, 9, 7))),
    "pow": Case(lambda x: torch.pow(x, 1.7), (positive(1, 4, 9, 7),), ("pow",)),
    "maximum": Case(torch.maximum, (X, Y), ("maximum",)),
    "minimum": Case(torch.minimum, (X, Y), ("minimum",)),
    "log": Case(torch.log, (positive(1, 4, 9, 7),), ("log",)),
    "log1p": Case(torch.log1p, (positive(1, 4, 9, 7),), ("log",)),
    "sqrt": Case(torch.sqrt, (positive(1, 4, 9, 7),), ("sqrt",)),
    "rsqrt-tiny": Case(torch.rsqrt, (positive(1, 4, 9, 7) * 1e-9,), ("real_div", "sqrt")),
    "reciprocal-tiny": Case(lambda x: 3 / x, (positive(1, 4, 9, 7) * 1e-4,), ("real_div",)),
    "clamp": Case(lambda x: x.clamp(-0.5, 1.25), (X,), ("clip",)),
    "clamp-min": Case(lambda x: x.clamp(min=-0.5), (X,)),
    "hardtanh-integers": Case(lambda x: F.hardtanh(x, 0, 1), (X,), ("clip",)),
    "elu": Case(lambda x: F.elu(x, 0.7), (X,), ("elu",)),
    "selu": Case(F.selu, (X,), ("elu",)),
    "leaky-relu": Case(lambda x: F.leaky_relu(x, 0.2), (X,), ("leaky_relu",)),
    "prelu": module(nn.PReLU(4), X, ops=("prelu",)),
    "gelu": Case(F.gelu, (X,), ("gelu",)),
    "gelu-tanh": Case(lambda x: F.gelu(x, approximate="tanh"), (X,), ("gelu",)),
    "hardsigmoid": Case(F.hardsigmoid, (X,), ("sigmoid_hard",)),
    "hardswish": Case(F.hardswish, (X,)),
    "mish": Case(F.mish, (X,)),
    "softsign": Case(F.softsign, (X,)),
    "threshold": Case(lambda x: F.threshold(x, 0.3, 0.3), (X,)),
    "greater": Case(lambda x, y: x > y, (X, Y), ("greater",)),
    "greater-equal": Case(lambda x, y: x >= y, (X, Y), ("greater_equal",)),
    "less": Case(lambda x, y: x < y, (X, Y), ("less",)),
    "less-equal": Case(lambda x, y: x <= y, (X, Y), ("less_equal",)),
    "equal": Case(lambda x, y: x.round() == y.round(), (X, Y), ("equal",)),
    "not-equal": Case(lambda x, y: x.round() != y.round(), (X, Y), ("not_equal",)),
    "logical": Case(
        lambda x, y: torch.logical_or(torch.logical_and(x > 0, y > 0), ~(x > -1)),
        (X, Y),
        ("logical_and", "logical_or", "logical_not"),
    ),
    "logical-xor": Case(lambda x, y: torch.logical_xor(x > 0, y > 0), (X, Y), ("logical_xor",)),
    "where": Case(lambda x, y: torch.where(x > 0, x, y), (X, Y), ("select",)),
    "masked-fill": Case(lambda x, y: x.masked_fill(y > 0, 0.25), (X, Y), ("select",)),
    "where-zeros-like": Case(
        lambda x, y: torch.where(x > 0, y, torch.zeros_like(y)), (X, Y), ("fill_like", "select")
    ),
    "cast-to-integer": Case(lambda x: (x * 3).int().float() / 2, (X,), ("cast",)),
}


def conv(*args: Any, **kwargs: Any) -> nn.Module:
    return nn.Conv2d(*args, **kwargs)


LAYERS: dict[str, Case] = {
    "conv": module(conv(4, 6, 3), X, ops=("conv",)),
    "conv-strided-padded": module(conv(4, 6, (3, 5), (2, 1), (1, 2)), X, ops=("conv",)),
    "conv-dilated": module(conv(4, 6, 3, padding=2, dilation=2), X, ops=("conv",)),
    "conv-depthwise": module(conv(4, 8, 3, padding=1, groups=4), X, ops=("conv",)),
    "conv-grouped-no-bias": module(conv(4, 6, 1, groups=2, bias=False), X, ops=("conv",)),
    "conv-same-even-kernel": module(conv(4, 6, 4, padding="same"), X, ops=("conv",)),
    "conv-reflect": module(
        conv(4, 6, 3, padding=1, padding_mode="reflect"), X, ops=("conv", "pad")
    ),
    "conv-1d": module(nn.Conv1d(4, 3, 3, 2, 1), noise(1, 4, 11), ops=("conv",)),
    "conv-3d": module(nn.Conv3d(2, 3, 3, 1, 1), noise(1, 2, 4, 5, 6), ops=("conv",)),
    "conv-dynamic-weight": Case(F.conv2d, (X, noise(6, 4, 3, 3)), ("conv",)),
    "deconv": module(nn.ConvTranspose2d(4, 3, 3), X, ops=("conv_transpose",)),
    "deconv-strided": module(nn.ConvTranspose2d(4, 3, 4, 2, 1), X, ops=("conv_transpose",)),
    "deconv-output-padding": module(
        nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1), X, ops=("conv_transpose",)
    ),
    "deconv-grouped": module(nn.ConvTranspose2d(4, 6, 3, 2, groups=2), X, ops=("conv_transpose",)),
    "deconv-dilated": module(nn.ConvTranspose2d(4, 3, 3, dilation=2), X, ops=("conv_transpose",)),
    "deconv-1d": module(nn.ConvTranspose1d(4, 3, 4, 2, 1), noise(1, 4, 6), ops=("conv_transpose",)),
    "linear": module(nn.Linear(7, 5), X, ops=("linear",)),
    "matmul": Case(torch.matmul, (noise(2, 3, 4), noise(2, 4, 5)), ("matmul",)),
    "einsum": Case(
        lambda a, b: torch.einsum("bhwc,bcvh->bhwv", a, b),
        (noise(1, 3, 4, 5), noise(1, 5, 6, 3)),
    ),
    "max-pool": Case(lambda x: F.max_pool2d(x, 3, 2, 1), (X,), ("max_pool",)),
    "max-pool-no-stride": Case(lambda x: F.max_pool2d(x, 2), (X,), ("max_pool",)),
    "max-pool-ceil": Case(lambda x: F.max_pool2d(x, 2, 2, ceil_mode=True), (X,), ("max_pool",)),
    "max-pool-ceil-padded": Case(
        lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), (noise(1, 2, 8, 10),), ("max_pool",)
    ),
    "max-pool-ceil-clipped": Case(
        lambda x: F.max_pool2d(x, 2, 3, 1, ceil_mode=True), (noise(1, 2, 6, 9),), ("max_pool",)
    ),
    "avg-pool": Case(lambda x: F.avg_pool2d(x, 3, 2), (X,), ("avg_pool",)),
    "avg-pool-padded": Case(lambda x: F.avg_pool2d(x, 3, 2, 1), (X,), ("avg_pool",)),
    "avg-pool-exclude": Case(
        lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), (X,), ("avg_pool",)
    ),
    "avg-pool-ceil": Case(
        lambda x: F.avg_pool2d(x, 2, 2, 0, ceil_mode=True, count_include_pad=False),
        (X,),
        ("avg_pool",),
    ),
    "avg-pool-ceil-padded": Case(
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        (noise(1, 2, 8, 10),),
        ("avg_pool",),
    ),
    "avg-pool-1d": Case(lambda x: F.avg_pool1d(x, 3, 2, 1), (noise(1, 4, 9),), ("avg_pool",)),
    "adaptive-avg-pool": Case(lambda x: F.adaptive_avg_pool2d(x, 1), (X,), ("reduce_mean",)),
    "adaptive-max-pool": Case(lambda x: F.adaptive_max_pool2d(x, (3, 7)), (X,), ("max_pool",)),
    "batch-norm": module(nn.BatchNorm2d(4), X, ops=("batch_norm",)),
    "batch-norm-plain": module(nn.BatchNorm2d(4, eps=0.01, affine=False), X, ops=()),
    "batch-norm-1d": module(nn.BatchNorm1d(4), noise(1, 4, 6), ops=("batch_norm",)),
    "instance-norm": module(nn.InstanceNorm2d(4, affine=True), X, ops=("instance_norm",)),
    "layer-norm": module(nn.LayerNorm(7), X, ops=("layer_norm",)),
    "layer-norm-two-axes": module(nn.LayerNorm((9, 7)), X, ops=("layer_norm",)),
    "group-norm": module(nn.GroupNorm(2, 4), X, ops=()),
    "local-response-norm": module(nn.LocalResponseNorm(3), X, ops=("avg_pool", "pow")),
    "softmax": Case(lambda x: F.softmax(x, 1), (X,), ("softmax",)),
    "log-softmax": Case(lambda x: F.log_softmax(x, 1), (X,)),
    "normalize": Case(lambda x: F.normalize(x, dim=1), (X,)),
}

SHAPES: dict[str, Case] = {
    "reshape": Case(lambda x: x.reshape(4, -1), (X,), ("reshape",)),
    "flatten": Case(lambda x: x.flatten(1), (X,)),
    "transpose": Case(lambda x: x.permute(0, 2, 3, 1), (X,), ("transpose",)),
    "expand-dims": Case(lambda x: x.unsqueeze(1), (X,), ("expand_dims",)),
    "squeeze": Case(lambda x: x.squeeze(0), (X,), ("squeeze",)),
    "concat": Case(lambda x, y: torch.cat([x, y, x], 1), (X, Y), ("concat",)),
    "stack": Case(lambda x, y: torch.stack([x, y], 1), (X, Y), ("stack",)),
    "split": Case(lambda x: torch.split(x, [1, 3], 1), (X,), ("split",)),
    "chunk": Case(lambda x: torch.chunk(x, 2, 1), (X,), ("split",)),
    "unbind": Case(lambda x: torch.unbind(x, 1), (X,)),
    "slice": Case(lambda x: x[:, 1:3, 2:, ::2], (X,), ("slice_by_index",)),
    "slice-negative": Case(lambda x: x[:, -2:, :-3], (X,), ("slice_by_index",)),
    "select-index": Case(lambda x: x[:, 2], (X,), ("slice_by_index",)),
    "narrow": Case(lambda x: x.narrow(2, 3, 4), (X,)),
    "slice-assign": Case(lambda x: _assigned(x), (X,)),
    "flip": Case(lambda x: x.flip(3), (X,), ("reverse",)),
    "roll": Case(lambda x: torch.roll(x, 2, 3), (X,)),
    "tile": Case(lambda x: x.repeat(1, 2, 1, 3), (X,), ("tile",)),
    "expand": Case(lambda x: x[:, :1].expand(1, 4, 9, 7), (X,), ("tile",)),
    "pixel-shuffle": Case(lambda x: F.pixel_shuffle(x, 2), (X,), ("pixel_shuffle",)),
    "pixel-unshuffle": Case(
        lambda x: F.pixel_unshuffle(x, 2), (noise(1, 2, 6, 8),), ("pixel_unshuffle",)
    ),
    "pad-constant": Case(lambda x: F.pad(x, (1, 2, 0, 3), value=0.5), (X,), ("pad",)),
    "pad-reflect": Case(lambda x: F.pad(x, (3, 2, 1, 4), mode="reflect"), (X,), ("pad",)),
    "pad-replicate": Case(lambda x: F.pad(x, (3, 2, 1, 4), mode="replicate"), (X,), ("pad",)),
    "unfold": Case(lambda x: F.unfold(x, 3, padding=1), (X,)),
    "tril": Case(lambda x: torch.tril(x, -1), (X,), ("band_part",)),
    "triu": Case(lambda x: torch.triu(x, 1), (X,)),
    "diff": Case(lambda x: x[:, :, 1:] - x[:, :, :-1], (X,), ("slice_by_index", "sub")),
}


def _assigned(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 1:3] = 0.5
    return y


REDUCTIONS: dict[str, Case] = {
    "sum": Case(lambda x: x.sum((2, 3)), (X,), ("reduce_sum",)),
    "mean-keep": Case(lambda x: x.mean((2, 3), keepdim=True), (X,), ("reduce_mean",)),
    "amax": Case(lambda x: x.amax(1), (X,), ("reduce_max",)),
    "amin": Case(lambda x: x.amin((1, 3), keepdim=True), (X,), ("reduce_min",)),
    "max-with-indices": Case(lambda x: tuple(torch.max(x, 1)), (X,), ("reduce_argmax",)),
    "norm-l1": Case(lambda x: torch.norm(x, 1, 1), (X,)),
    "norm-l2": Case(lambda x: torch.norm(x, 2, 1), (X,), ("reduce_l2_norm",)),
    "logsumexp": Case(lambda x: torch.logsumexp(x, 1), (X,), ("reduce_log_sum_exp",)),
    "std": Case(lambda x: x.std((2, 3)), (X,)),
    "var": Case(lambda x: x.var(1, unbiased=False), (X,)),
    "argmax": Case(lambda x: x.argmax(1), (X,), ("reduce_argmax",)),
    "argmin": Case(lambda x: x.argmin(2, keepdim=True), (X,), ("reduce_argmin",)),
    "cumsum": Case(lambda x: torch.cumsum(x, 2), (X,), ("cumsum",)),
    "topk": Case(lambda x: tuple(torch.topk(x, 3, 2)), (X,), ("topk",)),
    "topk-smallest": Case(lambda x: tuple(torch.topk(x, 2, 3, largest=False)), (X,), ("topk",)),
    "sort": Case(lambda x: tuple(torch.sort(x, 3, descending=True)), (X,)),
    "argsort": Case(lambda x: torch.argsort(x, 3), (X,), ("argsort",)),
}

RESIZES: dict[str, Case] = {
    "nearest-2": Case(
        lambda x: F.interpolate(x, scale_factor=2), (X,), ("upsample_nearest_neighbor",)
    ),
    "nearest-size": Case(
        lambda x: F.interpolate(x, (18, 21)), (X,), ("upsample_nearest_neighbor",)
    ),
    "bilinear-2": Case(
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), (X,), ("upsample_bilinear",)
    ),
    "bilinear-corners": Case(
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
        (X,),
        ("upsample_bilinear",),
    ),
    "bilinear-half": Case(
        lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear"),
        (noise(1, 3, 8, 12),),
        ("upsample_bilinear",),
    ),
    "bilinear-size": Case(
        lambda x: F.interpolate(x, (13, 20), mode="bilinear"), (X,), ("upsample_bilinear",)
    ),
    "bilinear-size-corners": Case(
        lambda x: F.interpolate(x, (13, 20), mode="bilinear", align_corners=True), (X,)
    ),
    "bilinear-recomputed": Case(
        lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear", recompute_scale_factor=True),
        (X,),
    ),
}

INDICES: dict[str, Case] = {
    "index-select": Case(lambda x: x.index_select(1, torch.tensor([2, 0, 3])), (X,), ("gather",)),
    "gather": Case(
        lambda x: torch.gather(x, 3, torch.tensor([[[[6, 0, 3]]]]).expand(1, 4, 9, 3)),
        (X,),
        ("gather_along_axis",),
    ),
    "embedding": module(
        nn.Embedding(5, 3), torch.tensor([[0, 4, 2]], dtype=torch.int32), ops=("gather",)
    ),
    "index-pairs": Case(lambda x: x[0, [1, 2], [3, 4]], (X,)),
    "scatter": Case(
        lambda x, y: x.scatter(3, torch.tensor([[[[1, 5]]]]).expand(1, 4, 9, 2), y[..., :2]),
        (X, Y),
        ("scatter_along_axis",),
    ),
    "scatter-add": Case(
        lambda x, y: x.scatter_add(3, torch.tensor([[[[1, 1]]]]).expand(1, 4, 9, 2), y[..., :2]),
        (X, Y),
        ("scatter_along_axis",),
    ),
    "one-hot": Case(lambda x: F.one_hot(x.argmax(1), 4), (X,), ("one_hot",)),
    "nan-to-num": Case(lambda x: torch.nan_to_num(x), (X,)),
    "grid": Case(lambda x: x + torch.linspace(-1, 1, 7), (X,)),
    "attention": Case(
        F.scaled_dot_product_attention, (noise(1, 2, 5, 4), noise(1, 2, 6, 4), noise(1, 2, 6, 3))
    ),
}

SEQUENCE = noise(5, 1, 3)


def first(layer: nn.Module) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """The outputs of a recurrent layer, flattened."""

    def run(x: Tensor) -> tuple[Tensor, ...]:
        outputs, last = layer(x)
        return (outputs, *last) if isinstance(last, tuple) else (outputs, last)

    return run


def recurrent(layer: nn.Module, *ops: str) -> Case:
    return Case(first(layer.eval()), (SEQUENCE,), ops, 1e-5, (layer,))


GRID = torch.tensor([[-1.2, -1, -0.3, 0.1], [0.4, 0.77, 1, 1.3]]).reshape(1, 2, 2, 2)


def sampled(mode: str, padding: str, align: bool) -> Case:
    return Case(
        lambda x, g: F.grid_sample(x, g, mode, padding, align_corners=align),
        (X, GRID),
        ("resample",),
    )


RARE: dict[str, Case] = {
    "lstm": recurrent(nn.LSTM(3, 4), "lstm"),
    "lstm-bidirectional": recurrent(nn.LSTM(3, 4, bidirectional=True), "lstm"),
    "lstm-two-layers": recurrent(nn.LSTM(3, 4, num_layers=2), "lstm"),
    "rnn": recurrent(nn.RNN(3, 4), "rnn"),
    "rnn-relu": recurrent(nn.RNN(3, 4, nonlinearity="relu"), "rnn"),
    "gru-as-a-loop": recurrent(nn.GRU(3, 4), "while_loop"),
    "grid-sample": sampled("bilinear", "zeros", False),
    "grid-sample-corners": sampled("bilinear", "zeros", True),
    "grid-sample-border": sampled("bilinear", "border", False),
    "grid-sample-reflection": sampled("bilinear", "reflection", True),
    "grid-sample-nearest": sampled("nearest", "zeros", True),
}

BATTERIES: dict[str, Battery] = {
    "rare": Battery(RARE),
    "elementwise": Battery(ELEMENTWISE),
    "layers": Battery(LAYERS),
    "shapes": Battery(SHAPES),
    "reductions": Battery(REDUCTIONS),
    "resizes": Battery(RESIZES),
    "indices": Battery(INDICES),
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return lambda name: tmp_path_factory.mktemp(name)


@pytest.mark.parametrize(
    ("battery", "case"), [(b, c) for b, battery in BATTERIES.items() for c in battery.cases]
)
def test_equals_pytorch(battery: str, case: str, folder: Callable[[str], Path]) -> None:
    BATTERIES[battery].check(case, folder(battery))
