"""ATen's operations as ONNX: each computes what PyTorch computes, by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.graph.captured import capture_graph
from converters.graph.writing.model import onnx_model
from converters.graph.writing.table import WRITERS
from model_defs.spec import TensorSpec

SHAPE = (1, 6, 8, 10)
Case = Callable[[Tensor], Tensor | tuple[Tensor, ...]]
PLACES = torch.tensor([[0, 2], [5, 1]])
MASK = torch.tensor([True, False, True, True, False, True])

ELEMENTWISE: Mapping[str, Case] = {
    "abs": torch.abs,
    "add_scaled": lambda x: torch.add(x, x * x, alpha=3),
    "addcdiv": lambda x: torch.addcdiv(x, x, x.abs() + 1, value=0.5),
    "addcmul": lambda x: torch.addcmul(x, x, x, value=2),
    "and_or_xor": lambda x: ((x > 0) & (x < 1) | (x < -1) ^ (x > 2)).float(),
    "bool_arithmetic": lambda x: (x > 0) * x + (x < 0.5),
    "ceil_floor_round": lambda x: (x.ceil(), x.floor(), (x * 3).round()),
    "celu": lambda x: F.celu(x, 0.7),
    "clamp": lambda x: (x.clamp(-0.5, 0.7), x.clamp(min=0.1), x.clamp(max=0.2)),
    "clamp_by_tensor": lambda x: torch.clamp(x, min=x.mean(3, keepdim=True)),
    "comparisons": lambda x: torch.stack([x == 0, x != 0.5, x <= 1, x >= 0, x < 0.1]).float(),
    "cos_sin": lambda x: (torch.cos(x), torch.sin(x)),
    "div_floor": lambda x: torch.div(x, 0.7, rounding_mode="floor"),
    "div_trunc": lambda x: torch.div(x, 0.7, rounding_mode="trunc"),
    "elu": lambda x: F.elu(x, 0.6),
    "erf_exp_expm1": lambda x: (torch.erf(x), torch.exp(x), torch.expm1(x)),
    "floor_divide": lambda x: x // 0.7,
    "fmod": lambda x: torch.fmod(x, 0.7),
    "frac_trunc": lambda x: (torch.frac(x), torch.trunc(x)),
    "gelu": lambda x: (F.gelu(x), F.gelu(x, approximate="tanh")),
    "glu": lambda x: F.glu(x, 1),
    "hard": lambda x: (F.hardswish(x), F.hardsigmoid(x), F.hardtanh(x, -0.3, 0.9), F.relu6(x)),
    "in_place": lambda x: (x * 1).relu_().add_(1).mul_(2).clamp_(max=3),
    "int_division": lambda x: ((x * 5).to(torch.int64) // 3, (x * 5).to(torch.int64) % 3),
    "int_true_division": lambda x: (x * 5).to(torch.int64) / 2,
    "isnan": lambda x: torch.isnan(x / x.clamp(min=0)).float(),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.13),
    "lerp": lambda x: torch.lerp(x, x * x, 0.3),
    "logarithms": lambda x: [f(x.abs() + 0.1) for f in (torch.log, torch.log2, torch.log1p)],
    "log10": lambda x: torch.log10(x.abs() + 0.1),
    "logical": lambda x: torch.logical_not(x > 0) | torch.logical_and(x > 1, x < 2),
    "logsigmoid": F.logsigmoid,
    "masked_fill": lambda x: x.masked_fill(x > 0.5, -7.0),
    "maximum": lambda x: (torch.maximum(x, x * x), torch.minimum(x, x * x)),
    "mish_silu": lambda x: (F.mish(x), F.silu(x)),
    "neg_reciprocal": lambda x: (-x, (x + 5).reciprocal(), 3 / (x + 5)),
    "pow": lambda x: (x**2, x.abs() ** 0.5, x.abs() ** 1.7, 2**x, x**3),
    "prelu": lambda x: F.prelu(x, torch.linspace(0.1, 0.9, 6)),
    "remainder": lambda x: torch.remainder(x, 0.7),
    "remainder_of_one": lambda x: torch.remainder(x, 1.0),
    "rsqrt_sqrt_square": lambda x: (torch.rsqrt(x.abs() + 1), x.abs().sqrt(), x.square()),
    "rsub": lambda x: 1 - x,
    "selu": F.selu,
    "shrink": lambda x: (F.hardshrink(x, 0.3), F.softshrink(x, 0.3), F.tanhshrink(x)),
    "sigmoid_tanh_sign": lambda x: (x.sigmoid(), x.tanh(), x.sign()),
    "softplus": lambda x: (F.softplus(x), F.softplus(x, beta=2, threshold=3), F.softsign(x)),
    "threshold": lambda x: F.threshold(x, 0.2, -5.0),
    "where": lambda x: torch.where(x > 0, x, torch.zeros(())),
}

MOVING: Mapping[str, Case] = {
    "fold": lambda x: (
        F.fold(F.unfold(x, 3, padding=1, stride=2), (8, 10), 3, padding=1, stride=2),
        F.fold(F.unfold(x[0], (2, 3), (2, 1)), (8, 10), (2, 3), (2, 1)),
    ),
    "reshape_as": lambda x: x.transpose(1, 3).reshape_as(x),
    "broadcast": lambda x: x[:, :1].expand(-1, 4, -1, -1) + x.mean(3, keepdim=True)[:, :4],
    "cat_stack": lambda x: (torch.cat([x, x[:, :2]], 1), torch.stack([x, -x], 2)),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 3),
    "chunk": lambda x: torch.chunk(x, 4, 3),
    "constants": lambda x: x + torch.arange(10) + torch.ones_like(x) + x.new_full((8, 1), 0.5),
    "embedding": lambda x: F.embedding(PLACES, torch.linspace(0, 1, 18).reshape(6, 3)) + x.sum(),
    "flip": lambda x: x.flip(1, 3),
    "fold_out": lambda x: F.unfold(x, (3, 2), dilation=1, padding=(1, 0), stride=(2, 1)),
    "gather": lambda x: x.gather(3, torch.tensor([3, 1, 9]).expand(1, 6, 8, 3)),
    "gather_of_fewer": lambda x: x.gather(3, torch.tensor([3, 1]).expand(1, 2, 5, 2)),
    "index": lambda x: (x[:, PLACES], x[:, :, [1, 3], [2, 9]], x[..., [-1, 0]]),
    "index_computed": lambda x: x[0][x.mean((2, 3)).argmax(1)],
    "index_put": lambda x: _assigned(x),
    "index_select": lambda x: x.index_select(1, torch.tensor([5, 0, 0])),
    "mask_assignment": lambda x: _masked(x),
    "mask_increment": lambda x: _increased(x),
    "movedim_swapaxes": lambda x: (x.movedim(1, -1), x.swapaxes(1, 2), x.mT),
    "narrow_select_slice": lambda x: (x.narrow(2, 1, 4), x.select(1, -1), x[:, 1:-1:2, ::3]),
    "one_hot": lambda x: F.one_hot(x.argmax(1), 6).float(),
    "pads": lambda x: (F.pad(x, (1, 2)), F.pad(x, (1, 0, 2, 1), value=3.0), F.pad(x, (-1, -2))),
    "pads_reflected": lambda x: (
        F.pad(x, (1, 2, 3, 0), "reflect"),
        F.pad(x, (1, 2, 0, 1), "replicate"),
    ),
    "pads_circular": lambda x: F.pad(x, (1, 2, 3, 0), "circular"),
    "permute_reshape": lambda x: (
        x.permute(0, 2, 3, 1).reshape(1, 80, 6).flatten(1).unflatten(1, (8, -1))
    ),
    "pixel_shuffle": lambda x: (F.pixel_shuffle(x[:, :4], 2), F.pixel_unshuffle(x, 2)),
    "repeat": lambda x: (x.repeat(1, 2, 1, 1), x.repeat(2, 1, 1, 1, 1), x.tile(2)),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 3),
    "roll": lambda x: (x.roll(3, 2), x.roll((1, -2), (2, 3)), x.roll(5)),
    "scatter": lambda x: torch.zeros_like(x).scatter(1, x.argmax(1, keepdim=True), 1.0),
    "split_unbind": lambda x: (*x.split(4, 1), *x.split([1, 5], 1), x.unbind(2)[3]),
    "squeeze": lambda x: (x.squeeze(), x[:, :1].squeeze(1), x.unsqueeze(2)),
    "triangles": lambda x: (x.tril(1), x.triu(-1)),
    "types": lambda x: (x.to(torch.int32), x.bool(), (x > 0).to(torch.int64), x.double().float()),
    "unfold_windows": lambda x: x.unfold(3, 4, 2).unfold(2, 3, 3),
    "views_written": lambda x: _written(x),
}


def _assigned(x: Tensor) -> Tensor:
    y = x * 1
    y[:, torch.tensor([0, 2])] = 1.5
    y[:, :, torch.tensor([1, 3]), torch.tensor([0, 9])] = x[:, :, 0, :2]
    return y


def _masked(x: Tensor) -> Tensor:
    y = x * 1
    y[x > 1] = -1.0
    y[:, MASK] = 0.25
    return y


def _increased(x: Tensor) -> Tensor:
    y = x.permute(0, 2, 3, 1) * 1
    labels = y.argmax(-1)
    y[labels == 2] = 0.0
    y[labels == 2] += BIAS
    y[labels == 1] *= BIAS * 2
    return y


def _written(x: Tensor) -> Tensor:
    y = x * 1
    y[..., ::2] = 0.5
    y[:, 2] = x[:, 1]
    y[:, 0].clamp_(min=0)
    y[:, 1:3, 2:4].mul_(2)
    return y


REDUCTIONS: Mapping[str, Case] = {
    "any_all": lambda x: ((x > 2).any(3), (x > -2).all(1, keepdim=True), (x > 9).any()),
    "arg": lambda x: (x.argmax(1), x.argmin(3, keepdim=True), x.argmax()),
    "arg_flat": lambda x: (x.argmin(), x.argmax(keepdim=True)),
    "cumsum": lambda x: x.cumsum(2),
    "extremes": lambda x: (*x.max(1), x.min(3, keepdim=True)[0], x.amax((2, 3)), x.max()),
    "logsumexp": lambda x: x.logsumexp((1, 2)),
    "mean_sum_prod": lambda x: (x.mean(), x.mean((2, 3), keepdim=True), x.sum(1), x.prod(1)),
    "norms": lambda x: (x.norm(), x.norm(dim=1), x.norm(1, 2), torch.linalg.norm(x, dim=1)),
    "normalize": lambda x: F.normalize(x, dim=1),
    "softmax": lambda x: (x.softmax(1), F.log_softmax(x, -1), F.softmin(x, 2)),
    "topk_sort": lambda x: (*x.topk(3, 3), *x.sort(1), x.sort(3, descending=True)[0]),
    "variance": lambda x: (x.var(1), x.std((2, 3), unbiased=False), x.var((1, 2), keepdim=True)),
}

WEIGHT = torch.linspace(-1, 1, 4 * 6 * 3 * 3).reshape(4, 6, 3, 3)
GROUPED = torch.linspace(-1, 1, 6 * 2 * 3 * 3).reshape(6, 2, 3, 3)
BIAS = torch.linspace(-0.5, 0.5, 6)
STATISTICS = (torch.linspace(-1, 1, 6), torch.linspace(0.5, 2, 6), BIAS + 1, BIAS)
GRID = torch.linspace(-1.3, 1.3, 5 * 7 * 2).reshape(1, 5, 7, 2)

NETS: Mapping[str, Case] = {
    "adaptive": lambda x: [F.adaptive_avg_pool2d(x, s) for s in (1, (4, 5), (3, 7), (8, 3))],
    "adaptive_max": lambda x: [F.adaptive_max_pool2d(x, s) for s in (1, (4, 5), (5, 3))],
    "attention": lambda x: F.scaled_dot_product_attention(x, x * 2, x + 1),
    "attention_causal": lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    "attention_masked": lambda x: (
        F.scaled_dot_product_attention(x, x, x, x[0, 0, :, :8] > -1),
        F.scaled_dot_product_attention(x, x, x, torch.ones(8, 8).tril().bool()),
    ),
    "average_pools": lambda x: (
        F.avg_pool2d(x, 3, 2, 1),
        F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        F.avg_pool2d(x, (2, 3), ceil_mode=True),
        *(F.avg_pool2d(x, 3, n, n % 2, True, n < 5) for n in (2, 3, 4, 5, 6)),
        F.avg_pool2d(x, 2, divisor_override=5),
        F.avg_pool1d(x[0], 3),
    ),
    "batch_norm": lambda x: (
        F.batch_norm(x, *STATISTICS, eps=1e-3),
        F.batch_norm(x, None, None, STATISTICS[2], training=True),
    ),
    "conv1d": lambda x: F.conv1d(x[0].transpose(0, 1), WEIGHT[:, :, 0, :2], padding=1),
    "conv2d": lambda x: (
        F.conv2d(x, WEIGHT, stride=2, padding=(1, 0), dilation=(1, 2)),
        F.conv2d(x, GROUPED, BIAS, padding="same", groups=3),
        F.conv2d(x, GROUPED[:, :1], padding=1, groups=6),
    ),
    "convolution": lambda x: (
        torch.convolution(x, WEIGHT, None, [2], [1], [1], False, [0], 1),
        torch.convolution(x, GROUPED, BIAS[:6], [2, 1], [1], [1], True, [1, 0], 3),
    ),
    "conv_transpose": lambda x: (
        F.conv_transpose2d(x, WEIGHT.transpose(0, 1), stride=2, padding=1, output_padding=1),
        F.conv_transpose2d(x, GROUPED, groups=3),
        F.conv_transpose2d(x[0], GROUPED, groups=3),
    ),
    "einsum": lambda x: (
        torch.einsum("bchw,bkhw->bck", x, x),
        torch.einsum("ij,ij->i", x[0, 0], x[0, 1]),
    ),
    "grid_sample": lambda x: [
        F.grid_sample(x, GRID, mode, padding, corners)
        for mode in ("bilinear", "nearest")
        for padding in ("zeros", "border", "reflection")
        for corners in (False, True)
    ],
    "group_norm": lambda x: (F.group_norm(x, 3, BIAS, BIAS + 1), F.group_norm(x, 2)),
    "instance_norm": lambda x: (
        F.instance_norm(x),
        F.instance_norm(x, *STATISTICS, use_input_stats=False),
    ),
    "layer_norm": lambda x: (
        F.layer_norm(x, (8, 10)),
        F.layer_norm(x.mT.mT.transpose(1, 3), (6,), BIAS, BIAS),
    ),
    "linear": lambda x: (
        F.linear(x.transpose(1, 3), WEIGHT[:, :, 0, 0], BIAS[:4]),
        F.linear(x[0, :, 0], WEIGHT.reshape(-1)[:50].reshape(5, 10), BIAS[:5]),
    ),
    "local_response": lambda x: F.local_response_norm(x, 3),
    "max_pools": lambda x: (
        F.max_pool2d(x, 3, 2, 1),
        F.max_pool2d(x, 2, ceil_mode=True, dilation=2),
        F.max_pool2d(x, 2, 3, ceil_mode=True),
        *(F.max_pool2d(x[..., :n], 2, n // 2, 1, ceil_mode=True) for n in (4, 7, 8, 10)),
        F.max_pool1d(x[0], 2),
        F.max_pool2d(x[0], 3, 1, 1),
        F.avg_pool2d(x[0], 2),
    ),
    "products": lambda x: (
        x @ x.mT,
        torch.bmm(x[0], x[0].mT),
        torch.baddbmm(x[0, :, :, :8], x[0], x[0].mT, beta=0.5, alpha=2),
        torch.addmm(x[0, 0, :, :8], x[0, 0], x[0, 1].T),
        x[0, 0] @ x[0, 0, 0],
    ),
    "resize_bicubic": lambda x: (
        F.interpolate(x, (11, 13), mode="bicubic"),
        F.interpolate(x, scale_factor=1.5, mode="bicubic", align_corners=True),
    ),
    "resize_bilinear": lambda x: (
        F.interpolate(x, (11, 13), mode="bilinear"),
        F.interpolate(x, scale_factor=1.3, mode="bilinear"),
        F.interpolate(x[..., :2, :2], scale_factor=(1.3, 2.0), mode="bilinear"),
        F.interpolate(x[..., :2, :2], scale_factor=(0.7, 1.1), mode="bilinear"),
        F.interpolate(x, (1, 5), mode="bilinear"),
        F.interpolate(x, (5, 20), mode="bilinear", align_corners=True),
        F.interpolate(x[0], 17, mode="linear"),
    ),
    "resize_nearest": lambda x: (
        F.interpolate(x, scale_factor=2.0),
        F.interpolate(x, scale_factor=1.3),
        F.interpolate(x, scale_factor=1.6),
        F.interpolate(x, scale_factor=1.05),
        F.interpolate(x, scale_factor=(1.0, 2.05)),
        F.interpolate(x, (5, 7)),
        F.interpolate(x, (12, 15), mode="nearest-exact"),
    ),
    "rms_norm": lambda x: F.rms_norm(x, (10,), torch.linspace(0.5, 1.5, 10)),
}

SPECTRA: Mapping[str, Case] = {
    "complex_arithmetic": lambda x: _filtered(x),
    "fft": lambda x: [f(torch.fft.fft(x)) for f in (torch.abs, torch.real, torch.imag)],
    "fftshift": lambda x: (
        torch.view_as_real(
            torch.fft.ifftshift(torch.fft.fftshift(torch.fft.fft2(x), (2, 3)) * 1j, 3)
        )
        + torch.fft.fftshift(x)[..., None]
    ),
    "fft2": lambda x: torch.view_as_real(torch.fft.fft2(x, norm="ortho")),
    "ifft": lambda x: torch.view_as_real(torch.fft.ifftn(torch.fft.fftn(x, dim=(1, 3)))),
    "rfft": lambda x: torch.view_as_real(torch.fft.rfft(x, dim=2, norm="forward")),
    "rfftn": lambda x: torch.view_as_real(torch.fft.rfftn(x, dim=(-2, -1), norm="ortho")),
    "irfft": lambda x: torch.fft.irfft(torch.fft.rfft(x, dim=3), n=9, dim=3),
    "irfftn": lambda x: torch.fft.irfftn(
        torch.fft.rfftn(x, dim=(-2, -1), norm="ortho"), s=(8, 10), dim=(-2, -1), norm="ortho"
    ),
    "unit": lambda x: _spectral_unit(x),
}


def _filtered(x: Tensor) -> Tensor:
    spectrum = torch.fft.rfft2(x)
    spectrum = spectrum * torch.complex(x[..., :6], x[..., 4:]) - spectrum * 0.5 + 1.0
    return torch.fft.irfft2(spectrum.transpose(0, 1).transpose(0, 1) * 2j)


def _spectral_unit(x: Tensor) -> Tensor:
    """As LaMa's Fourier unit has it: parts as channels, and back."""
    spectrum = torch.fft.rfftn(x, dim=(-2, -1), norm="ortho")
    parts = torch.stack((spectrum.real, spectrum.imag), -1).permute(0, 1, 4, 2, 3)
    parts = F.relu(parts.reshape(1, 12, 8, 6)).view(1, 6, 2, 8, 6).permute(0, 1, 3, 4, 2)
    back = torch.complex(parts[..., 0], parts[..., 1])
    return torch.fft.irfftn(back, s=x.shape[-2:], dim=(-2, -1), norm="ortho")


GROUPS = {
    "spectra": SPECTRA,
    "elementwise": ELEMENTWISE,
    "moving": MOVING,
    "reductions": REDUCTIONS,
    "nets": NETS,
}


class Several(nn.Module):
    """All cases of a group: one capture for all of them."""

    def __init__(self, cases: Mapping[str, Case]) -> None:
        super().__init__()
        self.cases = cases

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(t for case in self.cases.values() for t in tensors(case(x)))


def tensors(result: Tensor | tuple[Tensor, ...] | list[Tensor]) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else tuple(result)


def written(module: nn.Module, *inputs: Tensor) -> tuple[onnx.ModelProto, list[np.ndarray]]:
    """The module as ONNX, checked, and what ONNX Runtime makes of the inputs."""
    captured = capture_graph(module, inputs)
    names = [TensorSpec(f"x{i}", tuple(x.shape), "features") for i, x in enumerate(inputs)]
    outs = [
        TensorSpec(f"y{i}", tuple(n.meta["val"].shape) or (1,), "features", tolerance=1.0)
        for i, n in enumerate(captured.outputs)
    ]
    model = onnx_model(captured, names, outs)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    fed = {spec.name: x.numpy() for spec, x in zip(names, inputs, strict=True)}
    return model, session.run([spec.name for spec in outs], fed)


def wrong_ones(cases: Mapping[str, Case]) -> list[str]:
    """What ONNX Runtime computes otherwise than PyTorch."""
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        want = [(name, t) for name, case in cases.items() for t in tensors(case(x))]
        _, got = written(Several(cases).eval(), x)
    wrong = []
    for (name, theirs), ours in zip(want, got, strict=True):
        expected = theirs.numpy()
        if ours.shape != expected.shape or ours.dtype != expected.dtype:
            wrong.append(f"{name}: {ours.dtype}{ours.shape}, not {expected.dtype}{expected.shape}")
        elif not np.allclose(ours, expected, rtol=1e-4, atol=2e-5, equal_nan=True):
            wrong.append(f"{name}: off by {np.abs(ours - expected).max()}")
    return wrong


@pytest.mark.parametrize("group", GROUPS)
def test_each_operation_computes_what_pytorch_computes(group: str) -> None:
    assert not wrong_ones(GROUPS[group])


def test_a_wrong_row_of_the_table_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WRITERS, torch.ops.aten.abs, WRITERS[torch.ops.aten.neg])  # type: ignore[arg-type]
    (found,) = wrong_ones({"neg": torch.neg, "abs": torch.abs})
    assert found.startswith("abs: off by")


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            kind(7, 5, layers, bidirectional=both, batch_first=first, bias=bias)
            for kind in (nn.LSTM, nn.GRU, nn.RNN)
            for layers, both, first, bias in ((1, False, True, True), (2, True, False, False))
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        for part in self.parts:
            y, state = part(x)
            found += [y, *(state if isinstance(state, tuple) else (state,))]
        return tuple(found)


def test_recurrent_layers_stay_whole() -> None:
    module = Recurrent().eval()
    x = torch.randn(3, 4, 7)
    model, got = written(module, x)
    kinds = [node.op_type for node in model.graph.node]
    assert [kinds.count(kind) for kind in ("LSTM", "GRU", "RNN")] == [3, 3, 3]
    with torch.no_grad():
        for ours, theirs in zip(got, module(x), strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)


class Projecting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.part = nn.LSTM(7, 5, proj_size=3, bidirectional=True)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y, (h, c) = self.part(x)
        return y, h, c


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_a_projecting_lstm_is_written_step_by_step() -> None:
    module, x = Projecting().eval(), torch.randn(3, 1, 7)
    _, got = written(module, x)
    with torch.no_grad():
        for ours, theirs in zip(got, module(x), strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)
