"""The networks that every tool is given, with the same weights and the same inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from model_defs import zoo
from model_defs.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

TIMM = ("mobilenetv3_large_100", "efficientnet_lite0", "convnext_atto", "mobilevit_xxs")
TIMM_FILE = Path(__file__).with_name("timm_nets.py")
JUDGED = 1
"""The seed of the inputs that outputs are compared on, and that files are timed on. The tools
trace with seed 0: a number that a tracer has baked in does not fit these."""


def names() -> tuple[str, ...]:
    """Every model of the zoo that is shipped, then timm's."""
    return (*(name for name in zoo.MODELS if not zoo.load(name).baseline), *TIMM)


def address(name: str) -> str:
    """What `mlship build` is told."""
    return f"{TIMM_FILE}:{name}" if name in TIMM else name


def spec_of(name: str) -> ModelSpec:
    """The specification of one of `names`; UnknownName for any other."""
    if name not in TIMM:
        return zoo.load(name)
    from benchmarks.studies.peers import timm_nets

    found: ModelSpec = getattr(timm_nets, name)
    return found


def given(name: str) -> tuple[ModelSpec, nn.Module, tuple[Tensor, ...]]:
    """The specification, the module in eval mode with its weights, and inputs to trace with.

    The module is as its author wrote it: nothing is repaired that `mlship build` would repair.
    """
    import torch

    from converters.capture import SEED, example
    from converters.weights import load_weights

    spec = spec_of(name)
    torch.manual_seed(SEED)
    module = spec.build().eval()
    if spec.weights is not None:
        load_weights(module, spec.weights, spec.part)
    return spec, module, example(spec)
