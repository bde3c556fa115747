"""Biases that make up for what the rounding of kernels shifts outputs by; which ones must not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from converters.api import Program
from converters.capture import capture
from model_defs.spec import ModelSpec, Preprocess, TensorSpec
from toolchain.data import calibration
from toolchain.passes.weights_fp16 import WeightsFp16
from toolchain.passes.weights_uint8 import WeightsUint8
from toolchain.passes.weights_uint16 import WeightsUint16
from toolchain.quantization.gptq import collect_means
from toolchain.quantization.grids import affine, average_loss, quantize_kernels

SIDE = 16


def program_of(module: nn.Module) -> Program:
    """A program that takes pictures; numbers of which one is large, so that a scale is coarse."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        parameter.data.uniform_(-0.1, 0.1)
        parameter.data.flatten()[0] = 20.0
    image = TensorSpec("image", (1, 3, SIDE, SIDE), "image", low=0, high=1, preprocess=Preprocess())
    shape = tuple(module.eval()(torch.zeros(image.shape)).shape)
    result = TensorSpec("y", shape, "map", tolerance=0.1)
    return capture(ModelSpec("tiny", lambda: module, (image,), (result,)))


def mean_outputs(program: Program) -> Tensor:
    """Of each channel, over the pictures."""
    given = [torch.from_numpy(i["image"]) for i in calibration.inputs_for(program)]
    return torch.stack([program.module(image).mean((0, 2, 3)) for image in given]).mean(0)


def bias_of(program: Program, layer: str = "0") -> Tensor:
    return program.module.get_parameter(f"{layer}.bias")


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(3, 8, 3), nn.Conv2d(3, 6, 3, stride=2, groups=3), nn.Conv2d(3, 8, 1)],
    ids=["conv", "depthwise", "pointwise"],
)
def test_the_mean_of_each_channel_stays(layer: nn.Module) -> None:
    before = program_of(nn.Sequential(layer))
    plain, corrected = quantize_kernels(before, affine("uint8")), WeightsUint8()(before)
    drift = [(mean_outputs(p) - mean_outputs(before)).abs().max() for p in (plain, corrected)]
    assert drift[0] > 0.01
    assert drift[1] < 0.001 * drift[0]
    assert torch.equal(bias_of(plain), bias_of(before))
    assert WeightsUint8()(corrected) is corrected


def test_what_a_channel_loses_is_its_errors_times_the_means() -> None:
    kernel = np.array([[1.25, 2.0], [3.0, 4.5]], np.float32)
    nearest = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    assert average_loss(kernel, nearest, np.array([[8.0, 2.0]])).tolist() == [2.0, -1.0]
    in_groups = np.array([[8.0, 2.0], [4.0, 6.0]])
    assert average_loss(kernel, nearest, in_groups).tolist() == [2.0, -3.0]


class Twice(nn.Module):
    """One layer, that reads two things."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.conv(x + 1)


def test_means_are_of_all_that_a_layer_reads() -> None:
    program = program_of(Twice())
    pictures = [given["image"] for given in calibration.inputs_for(program)]
    want = np.mean([image.mean((0, 2, 3)) for image in pictures], axis=0) + 0.5
    np.testing.assert_allclose(collect_means(program)["conv.weight"][0], want, rtol=1e-5)


class Unbiased(nn.Sequential):
    """Beside a layer without a bias, one whose means are not known: it is transposed."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 1, bias=False), nn.ConvTranspose2d(8, 4, 2, 2))


def test_layers_without_a_bias_and_transposed_ones_stay() -> None:
    before = program_of(Unbiased())
    after = WeightsUint8()(before)
    assert after.encodings.keys() == {"0.weight", "1.weight"}
    assert after.module.get_submodule("0").bias is None
    assert torch.equal(bias_of(after, "1"), bias_of(before, "1"))


def test_a_layer_that_is_kept_keeps_its_bias() -> None:
    before = program_of(nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)))
    after = WeightsUint8(keep=("0",))(before)
    assert torch.equal(bias_of(after, "0"), bias_of(before, "0"))
    assert not torch.equal(bias_of(after, "1"), bias_of(before, "1"))


def test_a_bias_that_is_encoded_stays() -> None:
    program = program_of(nn.Sequential(nn.Conv2d(3, 8, 1)))
    halved = WeightsFp16()(program)
    only_bias = {name: e for name, e in halved.encodings.items() if name.endswith("bias")}
    before = Program(halved.spec, halved.module, only_bias)
    assert torch.equal(bias_of(WeightsUint8()(before)), bias_of(before))


def test_sixteen_bits_need_no_correction() -> None:
    before = program_of(nn.Sequential(nn.Conv2d(3, 8, 1)))
    assert torch.equal(bias_of(WeightsUint16()(before)), bias_of(before))
