"""Operators over grids of their arguments, against PyTorch, on LiteRT and on TF.js.

All cases of a file are one conversion and one process a format.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from converters.lowering.call import Target
from tests.converters.lowering.batches import Check, failures, node_check


def spread(*shape: int) -> torch.Tensor:
    return torch.rand(shape) * 4 - 2


def convolutions() -> Iterator[Check]:
    """Strides with dilations, which TF.js refuses together."""
    strides, dilations = ((2, 2), (3, 1), (2, 3), (1, 2)), ((2, 2), (1, 2), (3, 3), (4, 6))
    for stride, dilation, groups, padding in product(strides, dilations, (1, 2, 4), (0, (3, 2))):
        x, weight, bias = spread(1, 4, 15, 17), spread(8, 4 // groups, 3, 2), spread(8)
        found = F.conv2d(x, weight, bias, stride, padding, dilation, groups)
        pads = (0, 0) if padding == 0 else padding
        yield node_check(
            f"conv_{stride}_{dilation}_{groups}_{pads}",
            "Conv",
            {"x": x.numpy(), "w": weight.numpy(), "b": bias.numpy()},
            found.numpy(),
            tolerance=3e-6,
            strides=stride,
            dilations=dilation,
            pads=(*pads, *pads),
            group=groups,
        )
    x, weight = spread(2, 3, 20), spread(5, 3, 3)
    given = {"x": x.numpy(), "w": weight.numpy()}
    found = F.conv1d(x, weight, stride=2, dilation=2).numpy()
    yield node_check("conv_1d", "Conv", given, found, tolerance=3e-6, strides=[2], dilations=[2])


def quotients() -> Iterator[Check]:
    """Quotients and remainders of numbers of both signs, by what is whole and what is not."""
    numbers = torch.arange(-12, 13)
    for kind, divisors in ((torch.int32, (3, -4, 1)), (torch.int64, (5, -2))):
        for divisor in divisors:
            x = numbers.to(kind)
            y = torch.full_like(x, divisor)
            y[::5] = -divisor
            given = {"x": x.numpy(), "y": y.numpy()}
            for fed in (("x",), ("x", "y")):
                tag = f"{kind}_{divisor}_{len(fed)}"
                found = torch.div(x, y, rounding_mode="trunc").numpy()
                yield node_check(f"div_{tag}", "Div", given, {"q": found}, fed)
                yield node_check(f"mod_{tag}", "Mod", given, {"q": (x % y).numpy()}, fed)
                found = torch.fmod(x, y).numpy()
                yield node_check(f"fmod_{tag}", "Mod", given, {"q": found}, fed, fmod=1)
    x = torch.cat([torch.linspace(-3, 3, 25), torch.tensor([0.7, -0.7, 1.4, -2.1])])
    for divisor in (0.7, -0.7, 1.0, 2.5):
        y = torch.full_like(x, divisor)
        given = {"x": x.numpy(), "y": y.numpy()}
        for fed in (("x",), ("x", "y")):
            tag = f"float_{divisor}_{len(fed)}"
            found = torch.fmod(x, y).numpy()
            yield node_check(f"fmod_{tag}", "Mod", given, {"q": found}, fed, fmod=1)


def enlargements() -> Iterator[Check]:
    """PyTorch's nearest by a scale, which ONNX holds in float32."""
    for scale, size in product((1.6, 1.3, 0.7, 2.5, 1 / 3, 1.1, 2.0, 0.55, 1.75), (5, 8, 10, 13)):
        if int(size * scale) == size:
            continue  # PyTorch copies the map there, whatever the scale; ONNX does not
        x = torch.arange(3.0 * size * size).view(1, 3, size, size)
        found = F.interpolate(x, scale_factor=scale, mode="nearest").numpy()
        scales = np.array([1, 1, scale, scale], np.float32)
        yield node_check(
            f"nearest_{scale:.3f}_{size}",
            "Resize",
            {"x": x.numpy(), "none": np.zeros(0), "scales": scales},
            found,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
    for size, wanted in product((5, 7, 10), (3, 11, 16, 49)):
        x = torch.arange(3.0 * size * size).view(1, 3, size, size)
        found = F.interpolate(x, size=wanted, mode="nearest").numpy()
        sizes = np.array([1, 3, wanted, wanted])
        yield node_check(
            f"nearest_to_{wanted}_{size}",
            "Resize",
            {"x": x.numpy(), "none1": sizes, "none2": sizes, "sizes": sizes},
            found,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )


def norms() -> Iterator[Check]:
    for shape, axis in (((2, 5, 8), -1), ((1, 3, 4, 6), 3), ((1, 3, 4, 6), 1), ((2, 7), 1)):
        x, weight = spread(*shape) * 3 + 1, spread(*shape[axis:])
        for epsilon in (1e-5, 0.5):
            found = F.rms_norm(x, shape[axis:], weight, epsilon).numpy()
            given = {"x": x.numpy(), "scale": weight.numpy()}
            how = {"axis": axis, "epsilon": epsilon, "opset": 23, "tolerance": 3e-6}
            name = f"rms_{shape}_{axis}_{epsilon}"
            yield node_check(name, "RMSNormalization", given, found, **how)


def attentions() -> Iterator[Check]:
    """As scaled_dot_product_attention has it: masks of both kinds, causal, heads that share."""
    for length, heads, shared in product((5, 7), (2, 4), (1, 2)):
        query = spread(1, heads, length, 4)
        key, value = spread(1, heads // shared, 6, 4), spread(1, heads // shared, 6, 3)
        given = {"x": query.numpy(), "k": key.numpy(), "v": value.numpy()}
        floats, truths = spread(length, 6), spread(1, heads, length, 6) > -1
        truths[..., 0] = True
        masks: tuple[torch.Tensor | None, ...] = (None, floats, truths)
        for (which, mask), scale in product(enumerate(masks), (None, 0.3)):
            found = F.scaled_dot_product_attention(
                query, key, value, mask, scale=scale, enable_gqa=shared > 1
            )
            masked = {} if mask is None else {"m": mask.numpy()}
            yield node_check(
                f"attention_{length}_{heads}_{shared}_{which}_{scale}",
                "Attention",
                given | masked,
                found.numpy(),
                (*given, *masked),
                opset=23,
                tolerance=3e-6,
                **({} if scale is None else {"scale": scale}),
            )
        causal = F.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=shared > 1
        )
        yield node_check(
            f"attention_{length}_{heads}_{shared}_causal",
            "Attention",
            given,
            causal.numpy(),
            tuple(given),
            opset=23,
            tolerance=3e-6,
            is_causal=1,
        )


def dropouts() -> Iterator[Check]:
    x = spread(2, 3, 4, 5).numpy()
    wanted = {"y": x, "mask": np.ones(x.shape, bool)}
    yield node_check("dropout_with_its_mask", "Dropout", {"x": x}, wanted)


def volumes() -> Iterator[Check]:
    """Windows in three dimensions."""
    for stride, padding, dilation, groups in product(
        (1, (2, 1, 2)), (0, (1, 0, 1)), (1, 2), (1, 2)
    ):
        x, weight, bias = spread(2, 4, 6, 7, 5), spread(6, 4 // groups, 2, 3, 2), spread(6)
        found = F.conv3d(x, weight, bias, stride, padding, dilation, groups).numpy()
        steps = (stride,) * 3 if isinstance(stride, int) else stride
        pads = (padding,) * 3 if isinstance(padding, int) else padding
        how = {"strides": steps, "pads": (*pads, *pads), "dilations": (dilation,) * 3}
        tag = f"{stride}_{padding}_{dilation}_{groups}"
        given = {"x": x.numpy(), "w": weight.numpy(), "b": bias.numpy()}
        how |= {"group": groups, "tolerance": 3e-6}
        yield node_check(f"conv_3d_{tag}", "Conv", given, found, **how)
        weight, bias = spread(4, 3, 2, 3, 2), spread(3 * groups)
        found = F.conv_transpose3d(
            x, weight, bias, stride, padding, groups=groups, dilation=dilation
        ).numpy()
        given = {"x": x.numpy(), "w": weight.numpy(), "b": bias.numpy()}
        yield node_check(f"conv_transpose_3d_{tag}", "ConvTranspose", given, found, **how)
    for stride, padding, ceil, counted in product((1, 2, (2, 1, 3)), (0, 1), (0, 1), (0, 1)):
        x = spread(1, 3, 6, 7, 8)
        steps = (stride,) * 3 if isinstance(stride, int) else stride
        how = {"kernel_shape": (3, 2, 3), "strides": steps, "pads": (padding,) * 6}
        tag, how = f"{stride}_{padding}_{ceil}_{counted}", how | {"ceil_mode": ceil}
        pooled = F.max_pool3d(x, (3, 2, 3), stride, padding, ceil_mode=bool(ceil)).numpy()
        yield node_check(f"max_pool_3d_{tag}", "MaxPool", {"x": x.numpy()}, pooled, **how)
        found = F.avg_pool3d(x, (3, 2, 3), stride, padding, bool(ceil), bool(counted)).numpy()
        how = how | {"count_include_pad": counted}
        yield node_check(f"mean_pool_3d_{tag}", "AveragePool", {"x": x.numpy()}, found, **how)


def equations() -> Iterator[Check]:
    """Diagonals, sums, products of three, batches by `...`."""
    sizes = {"i": 3, "j": 4, "k": 5, "b": 2}
    for equation in (
        *("iij->ij", "ii->i", "ij->ji", "ij->i", "bij,bjk->bik", "...ij,...jk->...ik"),
        *("iji,ijk->ik", "bij,bjk,bk->bi", "ij,jk", "ij,k->kj", "...i->...", "bi,bi->b"),
        *("bij,ij->b", "b...i,bi->b..."),
    ):
        terms = equation.split("->")[0].split(",")
        tensors = [spread(*(sizes[label] for label in t.replace("...", "bi"))) for t in terms]
        given = {f"x{n}": tensor.numpy() for n, tensor in enumerate(tensors)}
        found = torch.einsum(equation, *tensors).numpy()
        how = {"equation": equation, "tolerance": 3e-6}
        yield node_check(f"einsum_{equation}", "Einsum", given, found, tuple(given), **how)


def transforms() -> Iterator[Check]:
    for shape, axis, length in (((2, 9, 5, 1), 1, 9), ((2, 4, 8, 2), 2, 6), ((1, 5, 2), 1, 8)):
        x = spread(*shape)
        parts = torch.view_as_complex(x) if shape[-1] == 2 else x[..., 0]
        given = {"x": x.numpy(), "n": np.array(length), "axis": np.array(axis)}
        found = torch.view_as_real(torch.fft.fft(parts, length, axis).resolve_conj()).numpy()
        how = {"tolerance": 3e-6, "opset": 20}
        yield node_check(f"dft_{shape}", "DFT", given, found, **how)
        back = torch.view_as_real(torch.fft.ifft(parts, length, axis).resolve_conj()).numpy()
        yield node_check(f"dft_back_{shape}", "DFT", given, back, inverse=1, **how)
        if shape[-1] == 1:
            half = torch.view_as_real(torch.fft.rfft(parts, length, axis).resolve_conj()).numpy()
            yield node_check(f"dft_half_{shape}", "DFT", given, half, onesided=1, **how)


def many_axes() -> Iterator[Check]:
    """Seven axes, which runtimes cut, reduce, move and broadcast only where some are merged."""
    shape = (1, 2, 2, 4, 2, 4, 3)
    x = spread(*shape)
    low = np.iinfo(np.int64).min
    for axes in ((3,), (1, 5), (0, 6), (2, 3, 4)):
        given = {"x": x.numpy(), "starts": np.full(len(axes), -1)}
        given |= {"ends": np.full(len(axes), low), "axes": np.array(axes)}
        given |= {"steps": np.full(len(axes), -1)}
        yield node_check(f"flip_{axes}", "Slice", given, x.flip(axes).numpy())
        given = {"x": x.numpy(), "axes": np.array(axes)}
        for keep in (0, 1):
            found = x.mean(axes, keepdim=bool(keep)).numpy()
            yield node_check(f"mean_{axes}_{keep}", "ReduceMean", given, found, keepdims=keep)
        other = x.mean(axes, keepdim=True)
        given = {"x": x.numpy(), "y": other.numpy()}
        yield node_check(f"add_{axes}", "Add", given, {"z": (x + other).numpy()}, ("x", "y"))
    for order in ((0, 2, 1, 5, 4, 3, 6), (6, 0, 1, 2, 3, 4, 5), (0, 1, 2, 5, 6, 3, 4)):
        found = x.permute(order).contiguous().numpy()
        yield node_check(f"move_{order}", "Transpose", {"x": x.numpy()}, found, perm=order)


CHECKS = (
    *(convolutions, quotients, enlargements, norms, attentions, dropouts),
    *(volumes, equations, transforms, many_axes),
)


@pytest.mark.parametrize("target", ["tflite", "tfjs"])
def test_computes_what_pytorch_does(target: Target, tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = failures([check for make in CHECKS for check in make()], target, tmp_path)
    assert found == {}
