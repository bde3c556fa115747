"""Where training starts: weights drawn for it, or those of another net."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from converters.capture import example_of
from converters.weights import read_weights
from model_defs.blocks import tent
from model_defs.errors import BadWeights
from model_defs.spec import TensorSpec

QUIET = 0.1
"""How much the last convolution's kernel is made smaller."""


@torch.no_grad()
def draw(net: nn.Module) -> None:
    """Kernels for rectified activations (He 2015), BatchNorm that changes nothing yet.

    Transposed kernels enlarge bilinearly, each channel by itself. Of dilated kernels only the
    middle is drawn, the rest is 0: what lies beyond small pictures then stays 0 for large ones,
    instead of noise that nothing ever taught. The last convolution says little, and has the
    bias that the net was built with: what saturates, or is cut off, does not learn. Draws from
    torch's global generator.
    """
    convs = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    for layer in net.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.zeros_(layer.weight)
            for channel in range(min(layer.weight.shape[:2])):
                layer.weight[channel, channel] = tent(layer)
        elif isinstance(layer, nn.Conv2d):
            _draw_kernel(layer)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer not in convs[-1:]:
            nn.init.zeros_(layer.bias if layer.bias is not None else torch.empty(0))
    if convs:
        convs[-1].weight.mul_(QUIET)


def _draw_kernel(conv: nn.Conv2d) -> None:
    if max(conv.dilation) == 1:
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        return
    middle = torch.empty(*conv.weight.shape[:2], 1, 1)
    nn.init.kaiming_normal_(middle, nonlinearity="relu")
    nn.init.zeros_(conv.weight)
    rows, columns = conv.kernel_size
    conv.weight[:, :, rows // 2, columns // 2] = middle[:, :, 0, 0]


def narrow(net: nn.Module, path: Path, inputs: tuple[TensorSpec, ...]) -> None:
    """Takes channels out of a net where the file is of the same net, pruned."""
    from converters.channels.fit import narrowed

    narrowed(net.eval(), example_of(inputs), read_weights(path).tensors)


@torch.no_grad()
def load(net: nn.Module, path: Path) -> int:
    """Copies into a net what fits of another's weights; returns how many tensors that were.

    A name fits one that it ends with, or that ends with it: `stage2.0` fits `net.stage2.0`.
    Of a kernel that sees more channels than the other's, those beyond are 0. Raises BadWeights
    where nothing fits.
    """
    theirs, copied = read_weights(path).tensors, 0
    for name, mine in net.state_dict().items():
        match = next((k for k in theirs if _same_name(k, name) and _fits(theirs[k], mine)), None)
        if match is not None:
            _copy(theirs[match], mine)
            copied += 1
    if not copied:
        raise BadWeights(
            "no tensor of the file fits the net", where=str(path), do="start --from a related model"
        )
    return copied


def _same_name(one: str, other: str) -> bool:
    return f".{one}".endswith(f".{other}") or f".{other}".endswith(f".{one}")


def _fits(theirs: Tensor, mine: Tensor) -> bool:
    """Of the same shape, or a kernel (O, I, H, W) with fewer inputs."""
    if theirs.shape == mine.shape:
        return True
    wider = theirs.ndim == mine.ndim == 4 and theirs.shape[1] < mine.shape[1]
    return wider and theirs.shape[0] == mine.shape[0] and theirs.shape[2:] == mine.shape[2:]


def _copy(theirs: Tensor, mine: Tensor) -> None:
    if theirs.shape == mine.shape:
        mine.copy_(theirs)
        return
    mine.zero_()
    mine[:, : theirs.shape[1]] = theirs
