"""Every layer of the gallery, lowered for both formats and run, gives PyTorch's numbers.

All layers are outputs of one network, so that one export, one conversion and one process of
Node serve them all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from converters.tfjs.convert import convert as to_tfjs
from converters.tflite.convert import convert as to_tflite
from tests.converters.tf_checks import Arrays, Case, case, tfjs_outputs, tflite_outputs

Layer = nn.Module | Callable[[torch.Tensor], torch.Tensor]


class Norm(nn.Module):
    """A normalisation with statistics and factors far from identity."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        for name, tensor in [*norm.named_parameters(), *norm.named_buffers()]:
            if tensor.is_floating_point():
                low, high = (0.5, 2.0) if "var" in name or "weight" in name else (-1.0, 1.0)
                nn.init.uniform_(tensor, low, high)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)


class ChannelsLastNorm(nn.Module):
    """ConvNeXt's: a LayerNorm and a Linear over the channels, between two permutes."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = Norm(nn.LayerNorm(6)), nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Self-attention over the positions of a map."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        y, _ = self.attend(tokens, tokens, tokens, need_weights=False)
        return y.transpose(1, 2).reshape(n, c, h, w)


class Heads(nn.Module):
    """Self-attention as timm writes it: one matrix for all of it, five axes for a moment."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(6, 24, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        parts = self.qkv(tokens).reshape(1, 120, 3, 2, 4).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        return (query @ key.transpose(2, 3)).softmax(-1) @ value


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))).sigmoid()


class Unrolled(nn.Module):
    """A recurrent cell over the rows of a map, one step after the other."""

    def __init__(self, cell: nn.RNNCellBase) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state, rows = None, x[0].permute(1, 0, 2).flatten(1)
        for row in rows:
            state = self.cell(row[None], state)
        return state[0] if isinstance(state, tuple) else state


class Pixels(nn.Module):
    """Pixel shuffle of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 12, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


def resized(**options: object) -> Layer:
    return lambda x: F.interpolate(x, **options)


def channel_shuffle(x: torch.Tensor) -> torch.Tensor:
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def conv(*args: int, **options: object) -> Layer:
    return nn.Conv2d(*args, **options)


LAYERS: dict[str, Layer] = {
    "conv": conv(6, 4, 3, padding=1),
    "conv_without_bias": conv(6, 4, 3, bias=False),
    "conv_stride_2": conv(6, 4, 3, stride=2, padding=1),
    "conv_stride_2_of_7": conv(6, 4, 7, stride=2, padding=3),
    "conv_unlike_strides": conv(6, 4, (3, 1), stride=(2, 1), padding=(1, 0)),
    "conv_dilated": conv(6, 4, 3, padding=4, dilation=4),
    "conv_grouped": conv(6, 8, 3, padding=1, groups=2),
    "conv_depthwise": conv(6, 6, 3, padding=1, groups=6),
    "conv_depthwise_multiplied": conv(6, 12, 3, padding=1, groups=6),
    "conv_depthwise_stride_2": conv(6, 6, 5, stride=2, padding=2, groups=6),
    "conv_depthwise_dilated": conv(6, 6, 3, padding=2, dilation=2, groups=6),
    "conv_asymmetric_padding": lambda x: F.conv2d(F.pad(x, (1, 0, 0, 2)), torch.ones(2, 6, 3, 3)),
    "conv_relu": nn.Sequential(nn.Conv2d(6, 4, 3, padding=1), nn.ReLU()),
    "conv_relu6": nn.Sequential(nn.Conv2d(6, 4, 3, padding=1), nn.ReLU6()),
    "conv_elu": nn.Sequential(nn.Conv2d(6, 4, 3, padding=1), nn.ELU()),
    "conv_leaky_relu": nn.Sequential(nn.Conv2d(6, 4, 3, padding=1), nn.LeakyReLU(0.2)),
    "conv_depthwise_leaky_relu": nn.Sequential(
        nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.LeakyReLU(0.1)
    ),
    "linear_leaky_relu": nn.Sequential(nn.Flatten(), nn.Linear(720, 9), nn.LeakyReLU(0.1)),
    "conv_sigmoid": nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.Sigmoid()),
    "conv_1d": lambda x: F.conv1d(x.flatten(2), torch.ones(4, 6, 3) / 9, stride=2, padding=1),
    "transposed": nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1),
    "transposed_output_padding": nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1),
    "transposed_all": nn.ConvTranspose2d(6, 4, 3, stride=2),
    "transposed_stride_1": nn.ConvTranspose2d(6, 4, 3, padding=1),
    "transposed_grouped": nn.ConvTranspose2d(6, 4, 4, 2, 1, groups=2),
    "transposed_depthwise": nn.ConvTranspose2d(6, 6, 4, 2, 1, groups=6, bias=False),
    "transposed_dilated": nn.ConvTranspose2d(6, 4, 3, 2, 2, dilation=2),
    "transposed_times_8": nn.ConvTranspose2d(6, 2, 16, stride=8),
    "max_pool": nn.MaxPool2d(2),
    "max_pool_padded": nn.MaxPool2d(3, 2, 1),
    "max_pool_padded_after_relu": nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
    "max_pool_ceil": nn.MaxPool2d(3, 2, ceil_mode=True),
    "max_pool_dilated": nn.MaxPool2d(3, 1, 1, dilation=2),
    "mean_pool": nn.AvgPool2d(2),
    "mean_pool_padded": nn.AvgPool2d(3, 2, 1),
    "mean_pool_padding_not_counted": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "mean_pool_same": nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    "mean_pool_ceil": nn.AvgPool2d(3, 2, ceil_mode=True),
    "mean_pool_adaptive": nn.AdaptiveAvgPool2d((3, 2)),
    "mean_of_all": nn.AdaptiveAvgPool2d(1),
    "max_of_all": nn.AdaptiveMaxPool2d(1),
    "nearest_times_2": resized(scale_factor=2, mode="nearest"),
    "nearest_times_3_and_2": resized(size=(36, 20), mode="nearest"),
    "nearest_to_odd": resized(size=(17, 23), mode="nearest"),
    "nearest_half": resized(scale_factor=0.5, mode="nearest"),
    "bilinear_times_2": resized(scale_factor=2, mode="bilinear"),
    "bilinear_corners": resized(scale_factor=2, mode="bilinear", align_corners=True),
    "bilinear_corners_to_odd": resized(size=(17, 23), mode="bilinear", align_corners=True),
    "bilinear_to_odd": resized(size=(17, 23), mode="bilinear"),
    "bilinear_fractional_scale": resized(scale_factor=0.4, mode="bilinear"),
    "bilinear_fractional_growth": resized(scale_factor=1.7, mode="bilinear"),
    "bicubic": resized(scale_factor=2, mode="bicubic"),
    "bicubic_corners": resized(size=(17, 23), mode="bicubic", align_corners=True),
    "linear_1d": lambda x: F.interpolate(x.flatten(2), scale_factor=2.0, mode="linear"),
    "pad_zero": nn.ZeroPad2d((1, 2, 3, 0)),
    "pad_constant": nn.ConstantPad2d(2, 0.7),
    "pad_negative": lambda x: F.pad(x, (-1, 2, 0, -3)),
    "pad_reflect": nn.ReflectionPad2d(2),
    "pad_reflect_far": nn.ReflectionPad2d((9, 9, 7, 7)),
    "pad_replicate": nn.ReplicationPad2d(1),
    "pad_replicate_far": nn.ReplicationPad2d(3),
    "pad_circular": nn.CircularPad2d(2),
    "batch_norm": Norm(nn.BatchNorm2d(6)),
    "batch_norm_before_conv": nn.Sequential(Norm(nn.BatchNorm2d(6)), nn.Conv2d(6, 4, 3, padding=1)),
    "instance_norm": Norm(nn.InstanceNorm2d(6, affine=True)),
    "group_norm": Norm(nn.GroupNorm(3, 6)),
    "layer_norm_all": Norm(nn.LayerNorm((6, 12, 10))),
    "layer_norm_width": Norm(nn.LayerNorm(10)),
    "channels_last_norm": ChannelsLastNorm(),
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
    "leaky_relu": nn.LeakyReLU(0.1),
    "prelu": nn.PReLU(6, init=0.3),
    "prelu_of_one": nn.PReLU(init=0.3),
    "elu": nn.ELU(),
    "elu_alpha": nn.ELU(0.5),
    "selu": nn.SELU(),
    "celu": nn.CELU(0.7),
    "silu": nn.SiLU(),
    "hard_swish": nn.Hardswish(),
    "hard_sigmoid": nn.Hardsigmoid(),
    "hard_tanh": nn.Hardtanh(-0.5, 0.7),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU(approximate="tanh"),
    "mish": nn.Mish(),
    "softplus": nn.Softplus(),
    "softsign": nn.Softsign(),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "log_sigmoid": nn.LogSigmoid(),
    "clamp": lambda x: x.clamp(-0.3, 0.4),
    "clamp_above": lambda x: x.clamp(max=0.4),
    "abs_sqrt": lambda x: (x.abs() + 1e-6).sqrt(),
    "powers": lambda x: x**2 + x**3 - x.abs() ** 1.7,
    "exp_log": lambda x: (x.exp() + 1).log(),
    "sin_cos": lambda x: x.sin() * x.cos(),
    "reciprocal": lambda x: 1 / (x.abs() + 0.5),
    "erf": torch.erf,
    "round_floor_ceil": lambda x: (3 * x).round() + (3 * x).floor() + (3 * x).ceil(),
    "sign": torch.sign,
    "where": lambda x: torch.where(x > 0.1, x, x * 0.2 - 1),
    "logic": lambda x: ((x > 0) & ~(x > 0.5) | (x <= -0.7)).float() * 2,
    "minimum": lambda x: torch.minimum(torch.maximum(x, x.flip(3)), x * 0.5 + 0.2),
    "broadcast_channels": lambda x: x * torch.arange(6.0).view(1, 6, 1, 1) + torch.ones(10),
    "broadcast_rows": lambda x: x + torch.linspace(0, 1, 12).view(12, 1),
    "broadcast_batch": lambda x: x * x.mean(dim=(0, 1), keepdim=False),
    "constant_map": lambda x: x + torch.linspace(0, 1, 120).view(1, 1, 12, 10),
    "zeros_like": lambda x: torch.cat([x, torch.zeros_like(x[:, :2])], 1),
    "softmax_channels": nn.Softmax(1),
    "softmax_width": nn.Softmax(3),
    "softmax_positions": lambda x: x.flatten(2).softmax(-1).view_as(x),
    "log_softmax": nn.LogSoftmax(1),
    "log_sum_exp": lambda x: x.logsumexp(1, keepdim=True),
    "sum_rows": lambda x: x.sum(2),
    "mean_channels": lambda x: x.mean(1, keepdim=True),
    "max_positions": lambda x: x.amax((2, 3)),
    "min_all": lambda x: x.amin((1, 2), keepdim=True),
    "l2_norm": lambda x: x.norm(dim=1, keepdim=True),
    "normalize": lambda x: F.normalize(x, dim=1),
    "variance": lambda x: x.var((2, 3), unbiased=False),
    "argmax": lambda x: x.argmax(1).float(),
    "argmax_rows": lambda x: x.argmax(2, keepdim=True).float(),
    "cumsum": lambda x: x.cumsum(3),
    "concat": lambda x: torch.cat([x, x * 2, -x], 1),
    "concat_rows": lambda x: torch.cat([x, x * 2], 2),
    "concat_many": lambda x: torch.cat([x * i for i in range(1, 9)], 1),
    "chunk": lambda x: torch.cat([c * (i + 1) for i, c in enumerate(x.chunk(3, 1))], 1),
    "split_of_five": lambda x: torch.cat(x.view(1, 2, 3, 12, 10).split([1, 2], 2)[::-1], 2),
    "split": lambda x: torch.cat(x.split([1, 2, 3], 1)[::-1], 1),
    "slice": lambda x: x[:, 1:5, 2:-1, ::2],
    "flip": lambda x: x.flip(2),
    "select": lambda x: x[:, 2],
    "index": lambda x: x[:, [4, 0, 2]],
    "transpose": lambda x: x.transpose(2, 3),
    "permute": lambda x: x.permute(0, 2, 3, 1) * torch.arange(6.0),
    "flatten": lambda x: x.flatten(1),
    "view": lambda x: x.view(1, 2, 3, 120).sum(1),
    "stack": lambda x: torch.stack([x, x * 2], 2).amax(2),
    "expand": lambda x: x[:, :1].expand(-1, 4, -1, -1) + 1,
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "channel_shuffle": channel_shuffle,
    "pixel_shuffle": nn.Sequential(nn.Conv2d(6, 8, 1), nn.PixelShuffle(2)),
    "pixel_shuffle_of_conv": Pixels(),
    "pixel_unshuffle": nn.PixelUnshuffle(2),
    "linear": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)),
    "linear_flattened": nn.Sequential(nn.Flatten(), nn.Linear(720, 3)),
    "linear_width": nn.Linear(10, 7),
    "matmul": lambda x: x @ x.transpose(2, 3),
    "matmul_positions": lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2),
    "einsum": lambda x: torch.einsum("nchw,ncwk->nchk", x, x.transpose(2, 3)),
    "attention": Attention(),
    "attention_of_one_matrix": Heads(),
    "scaled_attention": lambda x: F.scaled_dot_product_attention(x, x * 2, x - 1),
    "squeeze_excite": SqueezeExcite(),
    "lstm_cell": Unrolled(nn.LSTMCell(60, 7)),
    "gru_cell": Unrolled(nn.GRUCell(60, 7)),
    "rnn_cell": Unrolled(nn.RNNCell(60, 7)),
    "top_values": lambda x: x.topk(3, 1)[0],
    "low_places": lambda x: x.topk(2, 3, largest=False)[1].float(),
    "triangle": lambda x: x.tril(1) + x.triu(2) * 3,
    "gather": lambda x: x.gather(3, torch.arange(60).view(1, 6, 1, 10).expand(1, 6, 12, 10) % 10),
    "one_hot": lambda x: F.one_hot(x.argmax(1), 6).float() * x.permute(0, 2, 3, 1),
    "remainder": lambda x: x % 0.7 + torch.fmod(x, 0.4),
}


class Gallery(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({k: v for k, v in LAYERS.items() if isinstance(v, nn.Module)})

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(layer(x) for layer in LAYERS.values())


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Case:
    torch.manual_seed(0)
    x = torch.rand(1, 6, 12, 10) * 3 - 1.5
    names = [f"y_{name}" for name in LAYERS]
    return case(tmp_path_factory.mktemp("gallery"), Gallery(), [x], names)


@pytest.fixture(scope="module")
def on_tflite(gallery: Case, tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    artifact = to_tflite(gallery.export, tmp_path_factory.mktemp("tflite"))
    assert artifact.notes == ()
    return tflite_outputs(artifact, gallery.inputs)


@pytest.fixture(scope="module")
def on_tfjs(gallery: Case, tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    artifact = to_tfjs(gallery.export, tmp_path_factory.mktemp("tfjs"))
    assert artifact.notes == ()
    return tfjs_outputs(artifact, gallery.inputs)


def check(name: str, outputs: Arrays, wanted: Arrays) -> None:
    found, want = outputs[f"y_{name}"], wanted[f"y_{name}"]
    assert found.shape == want.shape
    assert np.isfinite(found).all()
    assert want.std() > 0, "a constant result shows nothing"
    assert np.abs(found - want).max() <= 1e-5 * max(np.abs(want).max(), 1)


@pytest.mark.parametrize("name", LAYERS)
def test_tflite_computes_what_pytorch_does(name: str, on_tflite: Arrays, gallery: Case) -> None:
    check(name, on_tflite, gallery.outputs)


@pytest.mark.parametrize("name", LAYERS)
def test_tfjs_computes_what_pytorch_does(name: str, on_tfjs: Arrays, gallery: Case) -> None:
    check(name, on_tfjs, gallery.outputs)


def test_conversion_loads_neither_keras_nor_the_whole_of_tensorflow(on_tflite: Arrays) -> None:
    assert on_tflite
    assert "keras" not in sys.modules
    assert "tensorflow._api.v2.v2" not in sys.modules
